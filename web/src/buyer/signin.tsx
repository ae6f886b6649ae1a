// Logging in, signing up, a forgotten password.

import { useState } from "preact/hooks";
import { call } from "../api/client";
import { beginSession } from "../api/session";
import { t } from "../language";
import { Button, Field, Notice, Title, Trouble, explain, fieldError } from "../parts/basics";
import { useAction } from "../parts/load";
import { go, path, place } from "../router";

function values(event: Event): Record<string, string> {
  event.preventDefault();
  return Object.fromEntries([...new FormData(event.target as HTMLFormElement)].map(([name, value]) => [name, String(value)]));
}

/** Where to go after logging in: only within this page. */
function destination(returnTo: string | undefined): string {
  const wanted = returnTo ?? place.value.query.get("to") ?? "/";
  return wanted.startsWith("/") && !/^\/(login|signup|reset)/.test(wanted) ? wanted : "/";
}

const isDemo = call("GET /concerts", { query: { limit: 1 }, anonymous: true })
  .then(() => fetch("/api-docs/openapi.json"))
  .then((response) => response.text())
  .then((text) => text.includes("demo-password-1"))
  .catch(() => false);

async function logIn(email: string, password: string): Promise<void> {
  beginSession(await call("POST /auth/login", { body: { email, password }, anonymous: true }));
}

export function SignIn({ returnTo }: { returnTo?: string }) {
  const text = t().login;
  const to = destination(returnTo);
  const [demo, setDemo] = useState(false);
  void isDemo.then(setDemo);
  const { run, busy, error } = useAction(async (email: string, password: string) => {
    await logIn(email, password);
    // Who has gone elsewhere meanwhile stays there.
    if (path().startsWith("/login")) go(to);
  });
  const onSubmit = (event: Event): void => {
    const { email = "", password = "" } = values(event);
    void run(email, password);
  };
  return (
    <div class="narrow card">
      <Title>{text.title}</Title>
      {returnTo && <p class="muted">{text.needed}</p>}
      <form onSubmit={onSubmit}>
        <Field label={text.email} name="email" type="email" autocomplete="username" required />
        <Field label={text.password} name="password" type="password" autocomplete="current-password" required />
        {error ? <Notice kind="bad">{explain(error)}</Notice> : null}
        <Button kind="primary" type="submit" busy={busy}>{text.submit}</Button>
      </form>
      <p class="below">
        {text.newHere} <a href={`#/signup?to=${encodeURIComponent(to)}`}>{text.signUp}</a>
        <br />
        <a href="#/reset">{text.forgotten}</a>
      </p>
      {demo && <p class="hint">{text.demo}</p>}
    </div>
  );
}

export function SignUp() {
  const text = t().login;
  const to = destination(undefined);
  const { run, busy, error } = useAction(async (name: string, email: string, password: string) => {
    await call("POST /users", { body: { name, email, password }, anonymous: true });
    await logIn(email, password);
    go(to);
  });
  const onSubmit = (event: Event): void => {
    const { name = "", email = "", password = "" } = values(event);
    void run(name, email, password);
  };
  const ofField = ["name", "email", "password"].some((field) => fieldError(error, field));
  return (
    <div class="narrow card">
      <Title>{text.signUpTitle}</Title>
      <form onSubmit={onSubmit}>
        <Field label={text.name} name="name" autocomplete="name" required maxLength={200} error={fieldError(error, "name")} />
        <Field label={text.email} name="email" type="email" autocomplete="username" required error={fieldError(error, "email")} />
        <Field label={text.password} name="password" type="password" autocomplete="new-password" required minLength={10}
          maxLength={128} hint={t().account.passwordRule} error={fieldError(error, "password")} />
        {error && !ofField ? <Trouble error={error} /> : null}
        <Button kind="primary" type="submit" busy={busy}>{text.signUp}</Button>
      </form>
      <p class="below">{text.known} <a href={`#/login?to=${encodeURIComponent(to)}`}>{text.submit}</a></p>
    </div>
  );
}

export function Reset() {
  return <p>…</p>;
}

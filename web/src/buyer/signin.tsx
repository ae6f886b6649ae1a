// Logging in, signing up, a forgotten password.

import { useEffect, useState } from "preact/hooks";
import { call } from "../api/client";
import { beginSession, isLoggedIn } from "../api/session";
import { t } from "../language";
import { Button, Field, Notice, Title, Trouble, explain, fieldError } from "../parts/basics";
import { useAction } from "../parts/load";
import { place, replace } from "../router";

function values(event: Event): Record<string, string> {
  event.preventDefault();
  return Object.fromEntries([...new FormData(event.target as HTMLFormElement)].map(([name, value]) => [name, String(value)]));
}

/** Where to go after logging in: only within this page. */
function destination(returnTo: string | undefined): string {
  const wanted = returnTo ?? place.value.query.get("to") ?? "/";
  return wanted.startsWith("/") && !/^\/(login|signup|reset)/.test(wanted) ? wanted : "/";
}

/** Whether to name the demo accounts. The document that lists them is large, so only a visitor on the same machine asks. */
async function namesDemoAccounts(): Promise<boolean> {
  if (!["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) return false;
  const response = await fetch("/api-docs/openapi.json");
  return (await response.text()).includes("demo-password-1");
}

/** Leaves a form that is of no use with a login, also one of another tab. The way back doesn't lead to the form again. */
function useLeaving(to: string | null): void {
  const isIn = isLoggedIn.value;
  useEffect(() => {
    if (isIn && to !== null) replace(to);
  }, [isIn]);
}

async function logIn(email: string, password: string): Promise<void> {
  beginSession(await call("POST /auth/login", { body: { email, password }, anonymous: true }));
}

export function SignIn({ returnTo }: { returnTo?: string }) {
  const text = t().login;
  const to = destination(returnTo);
  const [demo, setDemo] = useState(false);
  useEffect(() => void namesDemoAccounts().then(setDemo, () => {}), []);
  // In front of a view, the login lets the view through by itself.
  useLeaving(returnTo === undefined ? to : null);
  const { run, busy, error } = useAction(logIn);
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
  useLeaving(to);
  const { run, busy, error } = useAction(async (name: string, email: string, password: string) => {
    await call("POST /users", { body: { name, email, password }, anonymous: true });
    await logIn(email, password);
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

/** A forgotten password: a code by mail, then a new one. */
export function Reset() {
  const text = t().login;
  const [hasCode, setHasCode] = useState(place.value.query.has("code"));
  const asking = useAction(async (email: string) => {
    await call("POST /auth/password-reset", { body: { email }, anonymous: true });
    setHasCode(true);
  });
  const confirming = useAction(async (code: string, newPassword: string) => {
    await call("POST /auth/password-reset/confirm", { body: { code, newPassword }, anonymous: true });
  });
  const onAsk = (event: Event): void => void asking.run(values(event).email ?? "");
  const onConfirm = (event: Event): void => {
    const { code = "", password = "" } = values(event);
    void confirming.run(code.trim(), password);
  };
  return (
    <div class="narrow card">
      <Title>{text.resetTitle}</Title>
      {confirming.done ? (
        <>
          <Notice kind="good">{text.resetDone}</Notice>
          <a class="button primary" href="#/login">{text.submit}</a>
        </>
      ) : hasCode ? (
        <>
          {asking.done && <Notice>{text.resetSent}</Notice>}
          <form key="confirm" onSubmit={onConfirm}>
            <Field label={t().account.code} name="code" defaultValue={place.value.query.get("code") ?? ""} autocomplete="one-time-code" required
              error={fieldError(confirming.error, "code")} />
            <Field label={t().account.newPassword} name="password" type="password" autocomplete="new-password" required minLength={10}
              maxLength={128} hint={t().account.passwordRule} error={fieldError(confirming.error, "newPassword")} />
            {confirming.error && !fieldError(confirming.error, "newPassword") ? <Notice kind="bad">{explain(confirming.error)}</Notice> : null}
            <Button kind="primary" type="submit" busy={confirming.busy}>{t().account.change}</Button>
          </form>
        </>
      ) : (
        <>
          <p>{text.resetText}</p>
          <form key="ask" onSubmit={onAsk}>
            <Field label={text.email} name="email" type="email" autocomplete="username" required />
            {asking.error ? <Trouble error={asking.error} /> : null}
            <Button kind="primary" type="submit" busy={asking.busy}>{text.resetSend}</Button>
          </form>
          <p class="below"><button type="button" class="link" onClick={() => setHasCode(true)}>{text.haveCode}</button></p>
        </>
      )}
    </div>
  );
}

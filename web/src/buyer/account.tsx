// Profile, e-mail address, password, devices, and the end of an account.

import { useEffect, useRef, useState } from "preact/hooks";
import { Failure, call, type Schemas } from "../api/client";
import { endSession } from "../api/session";
import { moment, points, t } from "../language";
import { Button, Field, Notice, Skeleton, Sure, Title, Trouble, explain, fieldError } from "../parts/basics";
import { useAction } from "../parts/load";
import { ListState, usePages } from "../parts/pages";
import { go } from "../router";
import { loadProfile, logOut, profile, profileFailure } from "./profile";

export function Account() {
  const text = t().account;
  useEffect(() => void loadProfile().catch(() => {}), []);
  const current = profile.value;
  const leaving = useAction(async () => {
    await logOut();
    go("/");
  });
  return (
    <div class="column">
      <div class="title-row">
        <Title>{text.title}</Title>
        <Button busy={leaving.busy} onClick={() => void leaving.run()}>{text.logOut}</Button>
      </div>
      {leaving.error ? <Trouble error={leaving.error} /> : null}
      {current ? <Profile profile={current} /> : <ProfileState />}
      {current && !current.emailVerified && <Verification />}
      <Password />
      <Sessions />
      <Deletion />
    </div>
  );
}

/** What stands in place of what needs the profile. */
export function ProfileState() {
  const error = profileFailure.value;
  if (!error || (error instanceof Failure && error.passes)) return <Skeleton />;
  return <Trouble error={error} retry={() => void loadProfile().catch(() => {})} />;
}

/** Deletes the account. Points that are left are given up only by a second answer, which names them. */
function Deletion() {
  const text = t().account;
  const [left, setLeft] = useState<string | null>(null);
  const question = useRef<HTMLParagraphElement>(null);
  useEffect(() => question.current?.focus(), [left]);
  const remove = useAction(async (forfeitBalance: boolean) => {
    try {
      await call("DELETE /users/me", { query: forfeitBalance ? { forfeitBalance } : {} });
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== "BALANCE_NOT_ZERO") throw error;
      setLeft(String(error.problem.balance));
      return;
    }
    endSession("logged-out");
    go("/");
  });
  return (
    <section class="card">
      <h2>{text.delete}</h2>
      <p>{text.deleteText}</p>
      {remove.error ? <Notice kind="bad">{explain(remove.error)}</Notice> : null}
      {left === null ? (
        <Sure kind="danger" label={text.delete} question={text.deleteSure} act={() => remove.run(false)} />
      ) : (
        <Notice kind="warn">
          <p tabIndex={-1} ref={question}>{text.forfeitText(points(left))}</p>
          <div class="buttons">
            <Button kind="danger" busy={remove.busy} onClick={() => void remove.run(true)}>{text.forfeit(points(left))}</Button>
            <Button kind="quiet" onClick={() => (remove.reset(), setLeft(null))}>{t().common.back}</Button>
          </div>
        </Notice>
      )}
    </section>
  );
}

function Profile({ profile: { email, name, emailVerified } }: { profile: Schemas["ProfileResponse"] }) {
  const text = t().account;
  const [value, setValue] = useState(name);
  const saving = useAction(async () => {
    profile.value = await call("PATCH /users/me", { body: { name: value } });
  });
  return (
    <section class="card">
      <h2>{text.profile}</h2>
      <dl class="sums">
        <dt>{text.email}</dt>
        <dd>{email} <span class={emailVerified ? "tag confirmed" : "tag"}>{emailVerified ? text.verified : text.unverified}</span></dd>
      </dl>
      <form class="inline" onSubmit={(event) => (event.preventDefault(), void saving.run())}>
        <Field label={text.name} value={value} required maxLength={200} autocomplete="name"
          onInput={(event) => setValue(event.currentTarget.value)} error={fieldError(saving.error, "name")} />
        <Button type="submit" busy={saving.busy} disabled={value.trim() === name}>{t().common.save}</Button>
      </form>
      {saving.done && <Notice kind="good">{t().common.saved}</Notice>}
      {saving.error && !fieldError(saving.error, "name") ? <Trouble error={saving.error} /> : null}
    </section>
  );
}

/** Confirms the e-mail address with the code that was mailed. */
function Verification() {
  const text = t().account;
  const sending = useAction(() => call("POST /users/me/email-verification"));
  const confirming = useAction(async (code: string) => {
    await call("POST /users/me/email-verification/confirm", { body: { code } });
    await loadProfile();
  });
  const onSubmit = (event: Event): void => {
    event.preventDefault();
    void confirming.run(String(new FormData(event.target as HTMLFormElement).get("code")).trim());
  };
  return (
    <section class="card">
      <h2>{text.verify}</h2>
      <p>{text.verifyText}</p>
      <form class="inline" onSubmit={onSubmit}>
        <Field label={text.code} name="code" autocomplete="one-time-code" required />
        <Button kind="primary" type="submit" busy={confirming.busy}>{text.confirm}</Button>
      </form>
      {confirming.error ? <Notice kind="bad">{explain(confirming.error)}</Notice> : null}
      <div class="buttons">
        <Button kind="quiet" busy={sending.busy} onClick={() => void sending.run()}>{text.sendCode}</Button>
      </div>
      {sending.done && <Notice>{text.codeSent}</Notice>}
      {sending.error ? <Trouble error={sending.error} /> : null}
    </section>
  );
}

function Password() {
  const text = t().account;
  const [round, setRound] = useState(0);
  const changing = useAction(async (currentPassword: string, newPassword: string) => {
    await call("POST /users/me/password", { body: { currentPassword, newPassword } });
    setRound(round + 1);
  });
  const onSubmit = (event: Event): void => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    void changing.run(String(form.get("current")), String(form.get("new")));
  };
  return (
    <section class="card">
      <h2>{text.password}</h2>
      <form key={round} onSubmit={onSubmit}>
        <Field label={text.current} name="current" type="password" autocomplete="current-password" required />
        <Field label={text.newPassword} name="new" type="password" autocomplete="new-password" required minLength={10} maxLength={128}
          hint={text.passwordRule} error={fieldError(changing.error, "newPassword")} />
        {changing.error && !fieldError(changing.error, "newPassword") ? <Notice kind="bad">{explain(changing.error)}</Notice> : null}
        {changing.done && <Notice kind="good">{text.changed}</Notice>}
        <Button type="submit" busy={changing.busy}>{text.change}</Button>
      </form>
    </section>
  );
}

/** A browser and its system, as far as its name tells. */
function device(userAgent: string | null | undefined): string {
  if (!userAgent) return t().account.unknownDevice;
  const browser = /(Edg|OPR|Firefox|Chrome|Safari|curl|python)[/\w]*/.exec(userAgent)?.[1] ?? userAgent.slice(0, 40);
  const system = /(Android|iPhone|iPad|Windows|Mac OS X|Linux)/.exec(userAgent)?.[1];
  const names: Record<string, string> = { Edg: "Edge", OPR: "Opera", "Mac OS X": "macOS" };
  return [names[browser] ?? browser, system && (names[system] ?? system)].filter(Boolean).join(", ");
}

function Sessions() {
  const text = t().account;
  const pages = usePages("sessions", (cursor, signal) => call("GET /users/me/sessions", { query: { cursor, limit: 20 }, signal }));
  const { items, reload, more } = pages;
  const ending = useAction(async (sessionId: string) => {
    await call("DELETE /users/me/sessions/{sessionId}", { path: { sessionId } });
    reload();
  });
  const everywhere = async (): Promise<void> => {
    await call("DELETE /users/me/sessions");
    endSession("logged-out");
    go("/login");
  };
  return (
    <section class="card">
      <h2>{text.sessions}</h2>
      <ListState of={pages} />
      <ul class="devices">
        {items?.map((it) => (
          <li key={it.sessionId}>
            <div>
              <strong>{device(it.userAgent)}</strong> {it.current && <span class="tag confirmed">{text.thisOne}</span>}
              <span class="muted">{text.lastUsed(moment(it.lastUsedAt))}</span>
            </div>
            {!it.current && (
              <Button kind="quiet" busy={ending.busy} onClick={() => void ending.run(it.sessionId)}
                aria-label={`${text.end}: ${device(it.userAgent)}`}>{text.end}</Button>
            )}
          </li>
        ))}
      </ul>
      {more}
      {ending.error ? <Trouble error={ending.error} /> : null}
      <Sure label={text.endAll} question={text.endAll} act={everywhere} />
    </section>
  );
}

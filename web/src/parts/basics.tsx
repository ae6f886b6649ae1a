// Buttons, fields, notices: what every view is made of.

import type { ComponentChildren, JSX } from "preact";
import { signal } from "@preact/signals";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Failure } from "../api/client";
import { duration, t } from "../language";
import { useAction } from "./load";

export function Icon({ name }: { name: keyof typeof ICONS }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={ICONS[name]} />
    </svg>
  );
}

const ICONS = {
  concerts: "M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zm10-2a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z",
  bookings: "M4 8a1 1 0 0 1 1-1h14a1 1 0 0 1 1 1v2.500a1.5 1.5 0 0 0 0 3V16a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1v-2.500a1.5 1.5 0 0 0 0-3zM14.5 7v2m0 2v2m0 2v2",
  points: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM10 16V8h2.7a2.4 2.400 0 0 1 0 4.800H10",
  account: "M12 12a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM5 19.500c.8-3 3.6-4.5 7-4.500s6.200 1.5 7 4.5",
  operator: "M4 19V11m5.3 8V5m5.4 14v-6m5.3 6V8",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zm4.700-1.800L20 20",
  plus: "M12 6v12M6 12h12",
  minus: "M6 12h12",
  fit: "M9 5H5v4m10-4h4v4M9 19H5v-4m10 4h4v-4",
  close: "M7 7l10 10M17 7L7 17",
  check: "M6 12.500l4 4 8-9",
  back: "M14 6l-6 6 6 6",
  area: "M7.5 3.5v13h13M3.5 7.5h13v13",
} as const;

type ButtonProps = {
  kind?: "primary" | "plain" | "quiet" | "danger";
  busy?: boolean;
  children: ComponentChildren;
} & Omit<JSX.IntrinsicElements["button"], "loading">;

export function Button({ kind = "plain", busy = false, children, ...rest }: ButtonProps) {
  return (
    <button type="button" {...rest} class={`button ${kind}`} aria-busy={busy} disabled={busy || rest.disabled === true}>
      {children}
    </button>
  );
}

type FieldProps = { label: string; hint?: string | undefined; error?: string | undefined } & JSX.IntrinsicElements["input"];

export function Field({ label, hint, error, ...input }: FieldProps) {
  const id = useId();
  const described = error ? `${id}-error` : hint ? `${id}-hint` : undefined;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input id={id} {...input} aria-invalid={error ? true : undefined} aria-describedby={described} />
      {error ? (
        <p class="field-error" id={`${id}-error`}>{error}</p>
      ) : (
        hint && <p class="hint" id={`${id}-hint`}>{hint}</p>
      )}
    </div>
  );
}

type SelectProps = { label: string; options: readonly (readonly [string, string])[] } & JSX.IntrinsicElements["select"];

export function Select({ label, options, ...select }: SelectProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} {...select}>
        {options.map(([value, text]) => (
          <option key={value} value={value}>{text}</option>
        ))}
      </select>
    </div>
  );
}

export function Notice({ kind = "info", children }: { kind?: "info" | "good" | "bad" | "warn"; children: ComponentChildren }) {
  return <div class={`notice ${kind}`} role={kind === "bad" ? "alert" : "status"}>{children}</div>;
}

/** What a failure means, in the visitor's language. */
export function explain(error: unknown): string {
  if (!(error instanceof Failure)) return t().trouble.unknown;
  return t().problems[error.code] ?? error.problem.detail ?? error.problem.title ?? t().trouble.unknown;
}

/** The message for one field of a refused form or search. */
export function fieldError(error: unknown, name: string): string | undefined {
  if (!(error instanceof Failure) || error.code !== "VALIDATION_FAILED") return undefined;
  const errors = (error.problem.errors ?? []) as { pointer?: string; parameter?: string; message: string }[];
  const message = errors.find((it) => it.pointer === `/${name}` || it.parameter === name)?.message;
  return message && t().trouble.field(message);
}

/** A failure, and a way to try again where that can help. */
export function Trouble({ error, retry }: { error: unknown; retry?: (() => void) | undefined }) {
  const failure = error instanceof Failure ? error : null;
  const requestId = failure && failure.status >= 500 ? failure.problem.requestId : undefined;
  return (
    <Notice kind="bad">
      <p>{explain(error)}</p>
      {requestId && <p class="hint">{t().trouble.request(requestId)}</p>}
      {retry && !failure?.isFinal && <Button onClick={retry}>{t().common.retry}</Button>}
    </Notice>
  );
}

/** In place of a view for an address that names none. */
export function Unknown({ to, label }: { to: string; label: string }) {
  return (
    <div class="narrow">
      <Title>{t().trouble.notFound}</Title>
      <a class="button primary" href={`#${to}`}>{label}</a>
    </div>
  );
}

/** In place of a view that can't be shown: why, and where to go on. */
export function Unavailable({ error, retry, to, label }: {
  error: unknown;
  retry?: (() => void) | undefined;
  to: string;
  label: string;
}) {
  const text = t().trouble;
  const isUnknown = error instanceof Failure && error.status === 404;
  return (
    <div class="narrow">
      <Title>{isUnknown ? text.notFound : text.title}</Title>
      <Trouble error={error} retry={retry} />
      <a class={`button ${isUnknown ? "primary" : "plain"}`} href={`#${to}`}>{label}</a>
    </div>
  );
}

export function Skeleton({ lines = 3 }: { lines?: number }) {
  return (
    <div class="skeleton" role="status" aria-label={t().common.loading}>
      {Array.from({ length: lines }, (_, at) => <span key={at} />)}
    </div>
  );
}

/** What the shown view is about, for the browser's tab. */
export const heading = signal("");

let isFirst = true;

/** A heading that takes the focus when its view appears, so that a screen reader begins there. */
export function Title({ children, tab = children }: {
  children: string;
  /** What the browser's tab says instead. */
  tab?: string;
}) {
  const element = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // The first view is read from the top of the page, as any page.
    if (!isFirst) element.current?.focus({ preventScroll: true });
    isFirst = false;
  }, []);
  useEffect(() => {
    heading.value = tab;
  }, [tab]);
  return <h1 tabIndex={-1} ref={element}>{children}</h1>;
}

/** Says to a screen reader how much time is left, now and then: a clock that is read each second can't be listened to. */
export function Reminder({ left, children }: { left: number; children: (time: string) => string }) {
  const mark = [10, 30, 60, 120].find((it) => left <= it);
  return <p class="visually-hidden" role="status">{left > 0 && mark !== undefined ? children(duration(mark)) : ""}</p>;
}

/** A button that asks once more, in place, before it does what can't be undone. */
export function Sure({ label, question, confirm, act, kind = "quiet" }: {
  label: string;
  question: string;
  confirm?: string;
  act: () => Promise<unknown> | void;
  kind?: "quiet" | "danger" | "plain";
}) {
  const [isAsking, setAsking] = useState(false);
  const { run, busy, error, reset } = useAction(async () => {
    await act();
    setAsking(false);
  });
  const id = useId();
  const wasAsking = useRef(false);
  // What was pressed is gone: the focus goes to what came in its place.
  useEffect(() => {
    if (isAsking !== wasAsking.current) document.getElementById(id)?.focus();
    wasAsking.current = isAsking;
  }, [isAsking]);
  const close = (): void => (reset(), setAsking(false));
  if (!isAsking) return <Button id={id} kind={kind} onClick={() => setAsking(true)}>{label}</Button>;
  return (
    <div class="sure" role="group" aria-label={label} onKeyDown={(event) => event.key === "Escape" && close()}>
      <p id={id} tabIndex={-1}>{question}</p>
      {error ? <Trouble error={error} /> : null}
      <div class="buttons">
        <Button kind="danger" busy={busy} onClick={() => void run()}>{confirm ?? label}</Button>
        <Button kind="quiet" onClick={close}>{t().common.back}</Button>
      </div>
    </div>
  );
}

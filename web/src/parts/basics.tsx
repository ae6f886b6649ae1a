// Buttons, fields, notices: what every view is made of.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Failure } from "../api/client";
import { t } from "../language";

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

/** The message for one field of a refused form. */
export function fieldError(error: unknown, pointer: string): string | undefined {
  if (!(error instanceof Failure) || error.code !== "VALIDATION_FAILED") return undefined;
  const errors = (error.problem.errors ?? []) as { pointer?: string; message: string }[];
  const message = errors.find((it) => it.pointer === `/${pointer}`)?.message;
  return message && t().trouble.field(message);
}

export function Trouble({ error, retry }: { error: unknown; retry?: (() => void) | undefined }) {
  const requestId = error instanceof Failure && error.status >= 500 ? error.problem.requestId : undefined;
  return (
    <Notice kind="bad">
      <p>{explain(error)}</p>
      {requestId && <p class="hint">{t().trouble.request(requestId)}</p>}
      {retry && <Button onClick={retry}>{t().common.retry}</Button>}
    </Notice>
  );
}

export function Skeleton({ lines = 3 }: { lines?: number }) {
  return (
    <div class="skeleton" role="status" aria-label={t().common.loading}>
      {Array.from({ length: lines }, (_, at) => <span key={at} />)}
    </div>
  );
}

let hasNavigated = false;
addEventListener("hashchange", () => (hasNavigated = true));

/** What may be wider than the screen: it scrolls, also by keyboard. */
export function Wide({ label, children }: { label: string; children: ComponentChildren }) {
  return <div class="scroll" role="region" aria-label={label} tabIndex={0}>{children}</div>;
}

/** A heading that takes the focus when its view appears, so that a screen reader begins there. */
export function Title({ children }: { children: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // The first view is read from the top of the page, as any page.
    if (hasNavigated) heading.current?.focus({ preventScroll: true });
  }, []);
  return <h1 tabIndex={-1} ref={heading}>{children}</h1>;
}

/** A button that asks once more, in place, before it does what can't be undone. */
export function Sure({ label, question, confirm, act, kind = "quiet" }: {
  label: string;
  question: string;
  confirm?: string;
  act: () => Promise<unknown> | void;
  kind?: "quiet" | "danger" | "plain";
}) {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  if (!asking) return <Button kind={kind} onClick={() => setAsking(true)}>{label}</Button>;
  const run = async (): Promise<void> => {
    setBusy(true);
    try {
      await act();
    } finally {
      setBusy(false);
      setAsking(false);
    }
  };
  return (
    <div class="sure" role="group" aria-label={label}>
      <p>{question}</p>
      <div class="buttons">
        <Button kind="danger" busy={busy} onClick={run}>{confirm ?? label}</Button>
        <Button kind="quiet" onClick={() => setAsking(false)}>{t().common.back}</Button>
      </div>
    </div>
  );
}

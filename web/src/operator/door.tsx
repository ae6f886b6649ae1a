// The door: a ticket's code, typed or read by a scanner that types, admits once.

import { useRef, useState } from "preact/hooks";
import { Failure, call, type Schemas } from "../api/client";
import { moment, t } from "../language";
import { Button, Field, Notice, Title, explain } from "../parts/basics";
import { useAction } from "../parts/load";

export function Door() {
  const text = t().operator;
  const form = useRef<HTMLFormElement>(null);
  const [admitted, setAdmitted] = useState<Schemas["AdmissionResponse"] | null>(null);
  const admit = useAction(async (code: string) => {
    setAdmitted(null);
    setAdmitted(await call("POST /admin/admissions", { body: { code } }));
    form.current?.reset();
  });
  const onSubmit = (event: Event): void => {
    event.preventDefault();
    const code = String(new FormData(event.target as HTMLFormElement).get("code")).trim();
    void admit.run(code).then(() => form.current?.querySelector("input")?.select());
  };
  const usedAt = admit.error instanceof Failure ? (admit.error.problem.admittedAt as string | undefined) : undefined;
  return (
    <div class="column">
      <Title>{text.doorTitle}</Title>
      <form class="inline" ref={form} onSubmit={onSubmit}>
        <Field label={text.doorCode} name="code" required autocomplete="off" spellcheck={false} />
        <Button kind="primary" type="submit" busy={admit.busy}>{text.admit}</Button>
      </form>
      <div aria-live="assertive">
        {admitted && (
          <Notice kind="good">
            <strong>{text.admittedNow}</strong>
            <span>{t().common.seat(admitted.seat.section, admitted.seat.row, admitted.seat.number)} · {admitted.seat.grade}</span>
          </Notice>
        )}
        {admit.error ? (
          <Notice kind="bad"><strong>{explain(admit.error)}</strong>{usedAt && <span>{moment(usedAt)}</span>}</Notice>
        ) : null}
      </div>
    </div>
  );
}

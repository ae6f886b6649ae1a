// The queue's mode and rates. The mode is one press; the rates are applied together.

import { useEffect, useState } from "preact/hooks";
import { call, type Schemas } from "../api/client";
import { t } from "../language";
import { Button, Field, Notice, Trouble, fieldError } from "../parts/basics";
import { useAction } from "../parts/load";

type Settings = Schemas["QueueSettingsResponse"];
type Mode = Settings["mode"];

const RATES = ["admitCount", "admitIntervalSeconds", "maxActive", "activeSeconds", "claimSeconds"] as const;
const MOST = { admitCount: 100_000, admitIntervalSeconds: 3_600, maxActive: 1_000_000, activeSeconds: 86_400, claimSeconds: 3_600 };

const localInput = (instant: string | null | undefined): string => {
  if (!instant) return "";
  const at = new Date(instant);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};

export function QueueForm({ settings, applied }: { settings: Settings; applied: (settings: Settings) => void }) {
  const text = t().operator;
  const [draft, setDraft] = useState<Record<string, string>>({});
  const put = useAction(async (changes: Partial<Settings>) => {
    const { mode, admitCount, admitIntervalSeconds, maxActive, activeSeconds, claimSeconds, salesOpenAt } = settings;
    const body = { mode, admitCount, admitIntervalSeconds, maxActive, activeSeconds, claimSeconds, salesOpenAt, ...changes };
    applied(await call("PUT /admin/concerts/{concertId}/queue", { path: { concertId: settings.concertId }, body }));
    setDraft({});
  });
  useEffect(() => {
    if (!put.done) return;
    const timer = setTimeout(put.reset, 4000);
    return () => clearTimeout(timer);
  }, [put.done]);
  const labels = {
    admitCount: text.admitCount,
    admitIntervalSeconds: text.admitInterval,
    maxActive: text.maxActive,
    activeSeconds: text.activeSeconds,
    claimSeconds: text.claimSeconds,
  };
  const changes = (): Partial<Settings> => {
    const numbers = Object.fromEntries(RATES.filter((it) => draft[it] !== undefined).map((it) => [it, Number(draft[it])]));
    const opening = draft.salesOpenAt === undefined ? {} : { salesOpenAt: draft.salesOpenAt ? new Date(draft.salesOpenAt).toISOString() : null };
    return { ...numbers, ...opening };
  };
  return (
    <section class="card">
      <h2>{text.queue}</h2>
      <div class="tabs modes" role="group" aria-label={text.mode}>
        {(["QUEUE", "OPEN", "PAUSED"] as Mode[]).map((mode) => (
          <button key={mode} type="button" aria-pressed={settings.mode === mode} disabled={put.busy} onClick={() => void put.run({ mode })}>
            {text.modeOf[mode]}
          </button>
        ))}
      </div>
      <p class="hint">{text.modeText[settings.mode]}</p>
      <form class="rates" onSubmit={(event) => (event.preventDefault(), void put.run(changes()))}>
        {RATES.map((name) => (
          <Field key={name} label={labels[name]} type="number" min={1} max={MOST[name]} required
            value={draft[name] ?? String(settings[name])} error={fieldError(put.error, name)}
            onInput={(event) => setDraft({ ...draft, [name]: event.currentTarget.value })} />
        ))}
        <Field label={text.salesOpenAt} type="datetime-local" value={draft.salesOpenAt ?? localInput(settings.salesOpenAt)}
          error={fieldError(put.error, "salesOpenAt")}
          onInput={(event) => setDraft({ ...draft, salesOpenAt: event.currentTarget.value })} />
        <Button kind="primary" type="submit" busy={put.busy} disabled={Object.keys(draft).length === 0}>{text.apply}</Button>
      </form>
      <div aria-live="polite">{put.done && <Notice kind="good">{text.applied}</Notice>}</div>
      {put.error ? <Trouble error={put.error} /> : null}
    </section>
  );
}

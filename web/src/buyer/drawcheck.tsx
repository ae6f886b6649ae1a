// The draw, checked by the visitor's own browser.

import { useState } from "preact/hooks";
import { call, failureOf } from "../api/client";
import { session } from "../api/session";
import { checkDraw, type DrawResult } from "../draw";
import { number, percent, t } from "../language";
import { Button, Icon, Trouble } from "../parts/basics";
import { useAction, useLoad } from "../parts/load";

export function DrawCheck({ concertId }: { concertId: number }) {
  const text = t().draw;
  const draw = useLoad(`${concertId}`, (signal) =>
    call("GET /concerts/{concertId}/queue/draw", { path: { concertId }, anonymous: true, signal }), { onReturn: true });
  const [share, setShare] = useState(0);
  const [result, setResult] = useState<DrawResult | null>(null);
  const check = useAction(async () => {
    setResult(null);
    setShare(0);
    const latest = await call("GET /concerts/{concertId}/queue/draw", { path: { concertId }, anonymous: true });
    const response = await fetch(`/api/v1/concerts/${concertId}/queue/draw/entrants`);
    if (!response.ok) throw await failureOf(response);
    const entrants = (await response.text()).split("\n").filter(Boolean);
    const { commitment, seed, entrantCount } = latest;
    const token = session.value?.queueTokens[concertId] ?? null;
    setResult(await checkDraw({ commitment, seed: seed ?? "", entrantCount: entrantCount ?? 0 }, entrants, token, setShare));
  });
  if (!draw.data) return null;
  const { commitment, seed } = draw.data;
  return (
    <section class="card draw" aria-labelledby="draw">
      <h2 id="draw">{text.title}</h2>
      <p>{seed ? text.intro : text.before}</p>
      <dl>
        <dt>{text.commitment}</dt>
        <dd><code>{commitment}</code></dd>
        {seed && <><dt>{text.seed}</dt><dd><code>{seed}</code></dd></>}
      </dl>
      {!seed && <p class="muted">{text.notYet}</p>}
      {seed && (
        <Button kind="primary" busy={check.busy} onClick={() => void check.run()}>
          {check.busy ? text.checking(percent(share)) : text.check}
        </Button>
      )}
      {check.error ? <Trouble error={check.error} /> : null}
      {result && <Findings result={result} joined={Boolean(session.value?.queueTokens[concertId])} />}
    </section>
  );
}

function Findings({ result, joined }: { result: DrawResult; joined: boolean }) {
  const text = t().draw;
  const fair = result.seedFits && result.countFits && result.orderFits;
  const line = (good: boolean, yes: string, no: string) => (
    <li class={good ? "good" : "bad"}><Icon name={good ? "check" : "close"} />{good ? yes : no}</li>
  );
  return (
    <div role="status">
      <ul class="findings">
        {line(result.seedFits, text.seedFits, text.seedWrong)}
        {line(result.countFits, text.countFits(number(result.entrantCount)), text.countWrong)}
        {line(result.orderFits, text.orderFits, text.orderWrong)}
      </ul>
      <p><strong>{fair ? text.fair : text.unfair}</strong></p>
      {fair && joined && (
        <p>{result.place ? text.place(number(result.place), number(result.entrantCount)) : text.notIn}</p>
      )}
    </div>
  );
}

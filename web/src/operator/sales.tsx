// All sales, to pick one.

import { call } from "../api/client";
import { day, dayShort, t } from "../language";
import { Skeleton, Title, Trouble } from "../parts/basics";
import { usePages } from "../parts/pages";

export function Sales() {
  const text = t().operator;
  const { items, first, reload, more } = usePages("sales", (cursor, signal) =>
    call("GET /concerts", { query: { cursor, limit: 50 }, signal }));
  return (
    <>
      <Title>{text.sales}</Title>
      <p class="muted intro">{text.pick}</p>
      {first.error && !items ? <Trouble error={first.error} retry={reload} /> : null}
      {first.loading && <Skeleton />}
      <ul class="rows">
        {items?.map((it) => (
          <li key={it.concertId}>
            <a class="row" href={`#/operator/concerts/${it.concertId}`}>
              <div>
                <strong>{it.title}</strong>
                <span class="muted">{it.artist}</span>
              </div>
              <div class="row-end">
                {it.firstPerformanceAt && it.lastPerformanceAt && (
                  <span>{dayShort(it.firstPerformanceAt)} – {day(it.lastPerformanceAt)}</span>
                )}
                {it.soldOut && <span class="tag">{t().concerts.soldOut}</span>}
              </div>
            </a>
          </li>
        ))}
      </ul>
      {more}
    </>
  );
}

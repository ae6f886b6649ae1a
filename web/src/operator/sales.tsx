// All sales, to pick one.

import { call } from "../api/client";
import { days, t } from "../language";
import { Title } from "../parts/basics";
import { ListState, usePages } from "../parts/pages";

export function Sales() {
  const text = t().operator;
  const pages = usePages("sales", (cursor, signal) => call("GET /concerts", { query: { cursor, limit: 50 }, signal }));
  const { items, more } = pages;
  return (
    <>
      <Title>{text.sales}</Title>
      <p class="muted intro">{text.pick}</p>
      <ListState of={pages} none={t().concerts.nothing} />
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
                  <span>{days(it.firstPerformanceAt, it.lastPerformanceAt)}</span>
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

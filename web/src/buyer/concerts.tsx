// All concerts, with search.

import { call } from "../api/client";
import { days, instantOf, points, t } from "../language";
import { Button, Field, Icon, Title } from "../parts/basics";
import { useFilters } from "../parts/filters";
import { Found, ListState, usePages } from "../parts/pages";
import { Poster } from "../parts/poster";

export function Concerts() {
  const text = t().concerts;
  const { fields, searched, change, submit } = useFilters(["query", "from", "to"]);
  const query = searched.query.trim();
  const { from, to } = searched;
  const pages = usePages(JSON.stringify([query, from, to]), (cursor, signal) =>
    call("GET /concerts", {
      query: { query: query || undefined, from: instantOf(from, false), to: instantOf(to, true), cursor, limit: 24 },
      anonymous: true,
      signal,
    }),
  );
  const { items, more } = pages;
  const isFiltered = Boolean(query || from || to);
  return (
    <>
      <Title>{text.title}</Title>
      <form class="filters" role="search" onSubmit={(event) => (event.preventDefault(), submit())}>
        <div class="search">
          <Icon name="search" />
          <Field label={text.search} type="search" value={fields.query} placeholder={text.search}
            onInput={(event) => change({ query: event.currentTarget.value })} />
        </div>
        <Field label={t().common.from} type="date" value={fields.from} onInput={(event) => change({ from: event.currentTarget.value })} />
        <Field label={t().common.to} type="date" value={fields.to} min={fields.from}
          onInput={(event) => change({ to: event.currentTarget.value })} />
      </form>
      <Found of={pages} />
      <ListState of={pages} lines={6} none={isFiltered ? (
        <><p>{text.none}</p><Button onClick={() => change({ query: "", from: "", to: "" })}>{text.clear}</Button></>
      ) : text.nothing} />
      <ul class="concerts">
        {items?.map((concert) => {
          const { firstPerformanceAt: start, lastPerformanceAt: last } = concert;
          return (
            <li key={concert.concertId}>
              <a href={`#/concerts/${concert.concertId}`} class="concert">
                <Poster id={concert.concertId} category={concert.category} />
                <div class="concert-text">
                  <p class="eyebrow">{concert.category}</p>
                  <h2>{concert.title}</h2>
                  <p class="artist">{concert.artist}</p>
                  <p class="facts">
                    {start && last && <span>{days(start, last)}</span>}
                    {concert.soldOut ? (
                      <span class="tag">{text.soldOut}</span>
                    ) : (
                      concert.minPrice && <span>{text.from(points(concert.minPrice))}</span>
                    )}
                  </p>
                </div>
              </a>
            </li>
          );
        })}
      </ul>
      {more}
    </>
  );
}

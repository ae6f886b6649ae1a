// All concerts, with search.

import { useEffect, useState } from "preact/hooks";
import { call } from "../api/client";
import { day, dayShort, instantOf, points, t } from "../language";
import { Button, Field, Icon, Skeleton, Title, Trouble } from "../parts/basics";
import { usePages } from "../parts/pages";
import { Poster } from "../parts/poster";
import { path, place, replace } from "../router";

export function Concerts() {
  const text = t().concerts;
  const wanted = place.value.query;
  const [query, setQuery] = useState(wanted.get("query") ?? "");
  const [from, setFrom] = useState(wanted.get("from") ?? "");
  const [to, setTo] = useState(wanted.get("to") ?? "");
  const [searched, setSearched] = useState(query);
  useEffect(() => {
    const timer = setTimeout(() => setSearched(query.trim()), 250);
    return () => clearTimeout(timer);
  }, [query]);
  // The search is part of the address, so that it survives a reload and the way back.
  useEffect(() => {
    // Effects run late, and events of the address later still: the visitor may have gone on already.
    if (!/^\/(\?|$)/.test(path())) return;
    const parameters = new URLSearchParams(Object.entries({ query: searched, from, to }).filter(([, value]) => value));
    const suffix = parameters.toString();
    const next = suffix ? `/?${suffix}` : "/";
    if (next !== path()) replace(next);
  }, [searched, from, to]);
  const { items, first, reload, more } = usePages(JSON.stringify([searched, from, to]), (cursor, signal) =>
    call("GET /concerts", {
      query: { query: searched || undefined, from: instantOf(from, false), to: instantOf(to, true), cursor, limit: 24 },
      anonymous: true,
      signal,
    }),
  );
  const clear = (): void => (setQuery(""), setSearched(""), setFrom(""), setTo(""));
  return (
    <>
      <Title>{text.title}</Title>
      <form class="filters" role="search" onSubmit={(event) => (event.preventDefault(), setSearched(query.trim()))}>
        <div class="search">
          <Icon name="search" />
          <Field label={text.search} type="search" value={query} placeholder={text.search}
            onInput={(event) => setQuery(event.currentTarget.value)} />
        </div>
        <Field label={t().common.from} type="date" value={from} onInput={(event) => setFrom(event.currentTarget.value)} />
        <Field label={t().common.to} type="date" value={to} min={from} onInput={(event) => setTo(event.currentTarget.value)} />
      </form>
      {first.error && !items ? <Trouble error={first.error} retry={reload} /> : null}
      {first.loading && <Skeleton lines={6} />}
      {items?.length === 0 && (
        <div class="empty">
          <p>{text.none}</p>
          {(searched || from || to) && <Button onClick={clear}>{text.clear}</Button>}
        </div>
      )}
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
                    {start && last && <span>{start === last ? day(start) : `${dayShort(start)} – ${day(last)}`}</span>}
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

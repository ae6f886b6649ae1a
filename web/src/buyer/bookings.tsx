// The visitor's own bookings.

import { useEffect, useRef } from "preact/hooks";
import { call, type Schemas } from "../api/client";
import { dayAndTime, points, t } from "../language";
import { Title } from "../parts/basics";
import { ListState, usePages } from "../parts/pages";
import { useConcert, usePerformance } from "./catalogue";
import { held } from "./held";

export function Bookings() {
  const text = t().bookings;
  const pages = usePages("bookings", (cursor, signal) => call("GET /bookings", { query: { cursor, limit: 20 }, signal }));
  const { items, reload, more } = pages;
  // Seats whose time has ended, or that another view has paid, aren't held any more.
  const pending = held.value.length;
  const known = useRef(pending);
  useEffect(() => {
    if (known.current !== pending) reload();
    known.current = pending;
  }, [pending]);
  return (
    <div class="column">
      <Title>{text.title}</Title>
      <ListState of={pages} lines={5} none={<><p>{text.none}</p><a class="button plain" href="#/">{t().trouble.toConcerts}</a></>} />
      <ul class="rows">{items?.map((it) => <Row key={it.bookingId} booking={it} />)}</ul>
      {more}
    </div>
  );
}

function Row({ booking }: { booking: Schemas["BookingResponse"] }) {
  const concert = useConcert(booking.concertId);
  const performance = usePerformance(booking.performanceId);
  const seats = booking.seats.map((it) => t().common.seat(it.section, it.row, it.number)).join(" · ");
  return (
    <li>
      <a class="row" href={`#/bookings/${booking.bookingId}`}>
        <div>
          <strong>{concert?.title ?? "…"}</strong>
          <span>{performance ? dayAndTime(performance.startsAt) : "…"}</span>
          <span class="muted">{seats}</span>
        </div>
        <div class="row-end">
          <span class={`tag ${booking.status.toLowerCase()}`}>{t().booking.statusOf[booking.status]}</span>
          <span>{points(booking.totalPrice)}</span>
        </div>
      </a>
    </li>
  );
}

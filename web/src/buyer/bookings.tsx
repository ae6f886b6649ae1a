// The visitor's own bookings.

import { call, type Schemas } from "../api/client";
import { dayAndTime, points, t } from "../language";
import { Skeleton, Title, Trouble } from "../parts/basics";
import { usePages } from "../parts/pages";
import { useConcert, usePerformance } from "./catalogue";

export function Bookings() {
  const text = t().bookings;
  const { items, first, reload, more } = usePages("bookings", (cursor, signal) =>
    call("GET /bookings", { query: { cursor, limit: 20 }, signal }));
  return (
    <div class="column">
      <Title>{text.title}</Title>
      {first.error && !items ? <Trouble error={first.error} retry={reload} /> : null}
      {first.loading && <Skeleton lines={5} />}
      {items?.length === 0 && <p class="empty">{text.none}</p>}
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

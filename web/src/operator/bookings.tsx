// Everyone's bookings: search, and cancelling one.

import { useState } from "preact/hooks";
import { call, type Schemas } from "../api/client";
import { useConcert, usePerformance } from "../buyer/catalogue";
import { dayAndTime, moment, points, t } from "../language";
import { Button, Field, Select, Skeleton, Title, Trouble } from "../parts/basics";
import { useAction } from "../parts/load";
import { usePages } from "../parts/pages";
import { place, replace } from "../router";

type Booking = Schemas["AdminBookingResponse"];
type Status = Schemas["BookingStatus"];

const STATUSES: Status[] = ["PENDING", "CONFIRMED", "CANCELLED", "EXPIRED", "REFUNDED"];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function BookingSearch() {
  const text = t().operator;
  const wanted = place.value.query;
  const [filter, setFilter] = useState({
    userId: wanted.get("userId") ?? "", concertId: wanted.get("concertId") ?? "", status: wanted.get("status") ?? "",
  });
  const [open, setOpen] = useState<string | null>(null);
  const change = (part: Partial<typeof filter>): void => {
    const next = { ...filter, ...part };
    setFilter(next);
    replace(`/operator/bookings?${new URLSearchParams(Object.entries(next).filter(([, value]) => value))}`);
  };
  const { items, first, reload, more } = usePages(JSON.stringify(filter), (cursor, signal) =>
    call("GET /admin/bookings", {
      query: {
        userId: UUID.test(filter.userId) ? filter.userId : undefined,
        concertId: /^\d+$/.test(filter.concertId) ? Number(filter.concertId) : undefined,
        status: (filter.status || undefined) as Status | undefined,
        cursor,
        limit: 50,
      },
      signal,
    }));
  return (
    <div class="column wide">
      <Title>{text.bookings}</Title>
      <form class="filters three" role="search" onSubmit={(event) => event.preventDefault()}>
        <Field label={text.userId} value={filter.userId} onInput={(event) => change({ userId: event.currentTarget.value.trim() })} />
        <Field label={`${t().concerts.title} ${t().common.id}`} value={filter.concertId} inputMode="numeric"
          onInput={(event) => change({ concertId: event.currentTarget.value.trim() })} />
        <Select label={t().common.status} value={filter.status} onChange={(event) => change({ status: event.currentTarget.value })}
          options={[["", t().common.all], ...STATUSES.map((it) => [it, t().booking.statusOf[it] ?? it] as const)]} />
      </form>
      {first.error && !items ? <Trouble error={first.error} retry={reload} /> : null}
      {first.loading && <Skeleton />}
      {items?.length === 0 && <p class="empty">{t().common.none}</p>}
      <ul class="rows">
        {items?.map((it) => (
          <Row key={it.bookingId} booking={it} open={open === it.bookingId} reload={reload}
            toggle={() => setOpen(open === it.bookingId ? null : it.bookingId)} />
        ))}
      </ul>
      {more}
    </div>
  );
}

function Row({ booking, open, toggle, reload }: { booking: Booking; open: boolean; toggle: () => void; reload: () => void }) {
  const concert = useConcert(booking.concertId);
  const performance = usePerformance(booking.performanceId);
  return (
    <li>
      <button type="button" class="row" aria-expanded={open} onClick={toggle}>
        <div>
          <strong>{booking.email ?? booking.userId}</strong>
          <span>{concert?.title ?? booking.concertId}{performance && ` · ${dayAndTime(performance.startsAt)}`}</span>
          <span class="muted">{booking.seats.map((it) => t().common.seat(it.section, it.row, it.number)).join(" · ")}</span>
        </div>
        <div class="row-end">
          <span class={`tag ${booking.status.toLowerCase()}`}>{t().booking.statusOf[booking.status]}</span>
          <span>{points(booking.totalPrice)}</span>
        </div>
      </button>
      {open && <Details booking={booking} reload={reload} />}
    </li>
  );
}

function Details({ booking, reload }: { booking: Booking; reload: () => void }) {
  const text = t().operator;
  const { bookingId, status } = booking;
  const [reason, setReason] = useState("");
  const cancel = useAction(async () => {
    await call("POST /admin/bookings/{bookingId}/cancel", { path: { bookingId }, body: { reason } });
    reload();
  });
  return (
    <div class="details">
      <dl class="sums">
        <dt>{t().booking.number}</dt><dd><code>{bookingId}</code></dd>
        <dt>{t().common.date}</dt><dd>{moment(booking.createdAt)}</dd>
      </dl>
      {(status === "PENDING" || status === "CONFIRMED") && (
        <>
          <Field label={t().common.reason} value={reason} hint={text.reasonHint} maxLength={500}
            onInput={(event) => setReason(event.currentTarget.value)} />
          <div class="buttons">
            <Button kind="danger" busy={cancel.busy} disabled={!reason.trim()} onClick={() => void cancel.run()}>{text.cancelBooking}</Button>
          </div>
        </>
      )}
      {cancel.error ? <Trouble error={cancel.error} /> : null}
    </div>
  );
}

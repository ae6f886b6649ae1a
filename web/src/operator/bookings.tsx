// Everyone's bookings: search, and cancelling one.

import { useState } from "preact/hooks";
import { call, type Schemas } from "../api/client";
import { useConcert, usePerformance } from "../buyer/catalogue";
import { dayAndTime, moment, points, t } from "../language";
import { Button, Field, Select, Skeleton, Title, Trouble } from "../parts/basics";
import { useAction } from "../parts/load";
import { usePages } from "../parts/pages";
import { place, replace } from "../router";
import { userAddress, useWhose } from "./whose";

type Booking = Schemas["AdminBookingResponse"];
type Status = Schemas["BookingStatus"];

const STATUSES: Status[] = ["PENDING", "CONFIRMED", "CANCELLED", "EXPIRED", "REFUNDED"];

export function BookingSearch() {
  const text = t().operator;
  const wanted = place.value.query;
  const [filter, setFilter] = useState({
    user: wanted.get("user") ?? "", concertId: wanted.get("concertId") ?? "", status: wanted.get("status") ?? "",
  });
  const [open, setOpen] = useState<string | null>(null);
  const change = (part: Partial<typeof filter>): void => {
    const next = { ...filter, ...part };
    setFilter(next);
    replace(`/operator/bookings?${new URLSearchParams(Object.entries(next).filter(([, value]) => value))}`);
  };
  const { userId, unknown } = useWhose(filter.user);
  const { concertId, status } = filter;
  const { items, first, reload, more } = usePages(userId === null ? null : JSON.stringify([userId, concertId, status]), (cursor, signal) =>
    call("GET /admin/bookings", {
      query: {
        userId: userId ?? undefined,
        concertId: /^\d{1,15}$/.test(concertId) ? Number(concertId) : undefined,
        status: (status || undefined) as Status | undefined,
        cursor,
        limit: 50,
      },
      signal,
    }));
  return (
    <div class="column wide">
      <Title>{text.bookings}</Title>
      <form class="filters three" role="search" onSubmit={(event) => event.preventDefault()}>
        <Field label={text.whose} value={filter.user} autocomplete="off" spellcheck={false}
          onInput={(event) => change({ user: event.currentTarget.value })} />
        <Field label={`${t().concerts.title} ${t().common.id}`} value={concertId} inputMode="numeric"
          onInput={(event) => change({ concertId: event.currentTarget.value.trim() })} />
        <Select label={t().common.status} value={status} onChange={(event) => change({ status: event.currentTarget.value })}
          options={[["", t().common.all], ...STATUSES.map((it) => [it, t().booking.statusOf[it] ?? it] as const)]} />
      </form>
      {first.error && !items ? <Trouble error={first.error} retry={reload} /> : null}
      {first.loading && <Skeleton />}
      {(unknown || items?.length === 0) && <p class="empty" role="status">{unknown ? text.noSuchUser : text.noBookings}</p>}
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
          <strong>{booking.email ?? t().operator.deletedUser}</strong>
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
        <dt>{text.user}</dt><dd>{booking.email ? <a href={userAddress(booking.userId)}>{booking.email}</a> : <code>{booking.userId}</code>}</dd>
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

// Everyone's bookings: search, and cancelling one.

import { useState } from "preact/hooks";
import { Failure, call, type Schemas } from "../api/client";
import { useConcert, usePerformance } from "../buyer/catalogue";
import { dayAndTime, moment, points, t } from "../language";
import { Button, Trouble } from "../parts/basics";
import { useAction } from "../parts/load";
import { Reasoned, Search } from "./search";
import { userAddress, whose } from "./whose";

type Booking = Schemas["AdminBookingResponse"];
type Status = Schemas["BookingStatus"];

const STATUSES: Status[] = ["PENDING", "CONFIRMED", "CANCELLED", "EXPIRED", "REFUNDED"];

/** The number that a text is; undefined for none. */
function concertOf(text: string): number | undefined {
  if (text && !/^\d{1,15}$/.test(text)) throw new Failure(404, "CONCERT_NOT_FOUND", {});
  return text ? Number(text) : undefined;
}

export function BookingSearch() {
  const text = t().operator;
  return (
    <Search
      title={text.bookings}
      fields={[
        { name: "user", label: text.whose },
        { name: "concertId", label: text.concertId, input: { inputMode: "numeric" } },
        { name: "status", label: t().common.status, options: STATUSES.map((it) => [it, t().booking.statusOf[it] ?? it] as const) },
      ]}
      load={async ({ user, concertId, status }, cursor, signal) => call("GET /admin/bookings", {
        query: {
          concertId: concertOf(concertId),
          userId: await whose(user, signal),
          status: (status || undefined) as Status | undefined,
          cursor,
          limit: 50,
        },
        signal,
      })}
      keyOf={(it: Booking) => it.bookingId}
      summary={(it) => <Summary booking={it} />}
      details={(it, reload) => <Details booking={it} reload={reload} />}
      none={text.noBookings}
    />
  );
}

function Summary({ booking }: { booking: Booking }) {
  const concert = useConcert(booking.concertId);
  const performance = usePerformance(booking.performanceId);
  return (
    <>
      <div>
        <strong>{booking.email ?? t().operator.deletedUser}</strong>
        <span>{concert?.title ?? booking.concertId}{performance && ` · ${dayAndTime(performance.startsAt)}`}</span>
        <span class="muted">{booking.seats.map((it) => t().common.seat(it.section, it.row, it.number)).join(" · ")}</span>
      </div>
      <div class="row-end">
        <span class={`tag ${booking.status.toLowerCase()}`}>{t().booking.statusOf[booking.status]}</span>
        <span>{points(booking.totalPrice)}</span>
      </div>
    </>
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
    <>
      <dl class="sums">
        <dt>{text.user}</dt><dd>{booking.email ? <a href={userAddress(booking.userId)}>{booking.email}</a> : <code>{booking.userId}</code>}</dd>
        <dt>{t().booking.number}</dt><dd><code>{bookingId}</code></dd>
        <dt>{t().common.date}</dt><dd>{moment(booking.createdAt)}</dd>
      </dl>
      {(status === "PENDING" || status === "CONFIRMED") && (
        <Reasoned reason={reason} setReason={setReason}>
          <Button kind="danger" busy={cancel.busy} disabled={!reason.trim()} onClick={() => void cancel.run()}>{text.cancelBooking}</Button>
        </Reasoned>
      )}
      {cancel.error ? <Trouble error={cancel.error} /> : null}
    </>
  );
}

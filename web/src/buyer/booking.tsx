// One booking: held seats with their countdown and payment, then the tickets, or how it ended.

import { useEffect } from "preact/hooks";
import { attempt } from "../api/attempts";
import { Failure, call, type Schemas } from "../api/client";
import { useCountdown, useDeadline } from "../api/clock";
import { ask, join } from "../api/queue";
import { session } from "../api/session";
import { clock, dayAndTime, points, t } from "../language";
import { amountOf, hundredths } from "../money";
import { Button, Icon, Notice, Reminder, Skeleton, Sure, Title, Trouble, Unavailable, explain } from "../parts/basics";
import { useAction, useLoad } from "../parts/load";
import { useConcert, usePerformance } from "./catalogue";
import { noteBooking } from "./held";
import { loadWallet, wallet } from "./profile";
import { useSettling } from "./settling";
import { topUp } from "./topup";
import { Tickets } from "./tickets";

type Booking = Schemas["BookingResponse"];

export function BookingView({ bookingId }: { bookingId: string }) {
  const text = t().booking;
  const loaded = useLoad(bookingId, (signal) => call("GET /bookings/{bookingId}", { path: { bookingId }, signal }), { onReturn: true });
  const booking = loaded.data;
  const concert = useConcert(booking?.concertId);
  const performance = usePerformance(booking?.performanceId);
  const settling = useSettling();
  useEffect(() => {
    if (booking) noteBooking(booking);
  }, [booking]);
  if (!booking) {
    if (!loaded.error) return <Skeleton lines={8} />;
    return <Unavailable error={loaded.error} retry={loaded.reload} to="/bookings" label={t().queue.toBookings} />;
  }
  const heading = {
    PENDING: text.hold,
    CONFIRMED: text.paid,
    CANCELLED: text.cancelled,
    EXPIRED: text.expired,
    REFUNDED: text.refunded,
  }[booking.status];
  return (
    <div class="booking">
      <header>
        <Title key={booking.status}>{heading}</Title>
        <p class="artist">{concert?.title}</p>
        {performance && <p class="muted">{dayAndTime(performance.startsAt)} · {performance.venue.name}</p>}
      </header>
      <div aria-live="polite">{settling.notice}</div>
      {booking.status === "PENDING" && (
        <Checkout booking={booking} reload={loaded.reload} set={loaded.set} settling={settling.pending} />
      )}
      {booking.status === "CONFIRMED" && <Confirmed booking={booking} set={loaded.set} />}
      {(booking.status === "EXPIRED" || booking.status === "CANCELLED") && (
        <Ended booking={booking} text={booking.status === "EXPIRED" ? text.expiredText : text.cancelledText} />
      )}
      {booking.status === "REFUNDED" && <Ended booking={booking} text={text.refundedText} />}
    </div>
  );
}

function SeatsOf({ booking }: { booking: Booking }) {
  return (
    <table class="seats-table">
      <caption class="visually-hidden">{t().common.seats(booking.seats.length)}</caption>
      <tbody>
        {booking.seats.map((seat) => (
          <tr key={seat.seatId}>
            <th scope="row">{t().common.seat(seat.section, seat.row, seat.number)}</th>
            <td>{seat.grade}</td>
            <td class="number">{points(seat.price)}</td>
          </tr>
        ))}
      </tbody>
      <tfoot>
        <tr><th scope="row" colSpan={2}>{t().common.total}</th><td class="number">{points(booking.totalPrice)}</td></tr>
      </tfoot>
    </table>
  );
}

/** The concert's queue token; joining again gives the one that lives. */
async function tokenOf(concertId: number): Promise<string | undefined> {
  if (!session.value?.queueTokens[concertId]) await join(concertId);
  return session.value?.queueTokens[concertId];
}

function Checkout({ booking, reload, set, settling }: {
  booking: Booking;
  reload: () => void;
  set: (booking: Booking) => void;
  /** Whether a top-up is under way already. */
  settling: boolean;
}) {
  const text = t().booking;
  const { bookingId, concertId, totalPrice } = booking;
  const deadline = useDeadline(booking.heldUntil, booking.secondsLeft, booking);
  const left = useCountdown(deadline, () => setTimeout(reload, 700)) ?? 0;
  // The booking is read again when the tab is looked at anew: another tab may have bought points meanwhile.
  useEffect(() => void loadWallet().catch(() => {}), [booking]);
  const paying = useAction(async () => {
    const paid = await attempt(`pay:${bookingId}`, "POST /payments", { body: { bookingId }, queueToken: await tokenOf(concertId) });
    noteBooking(paid.booking);
    set(paid.booking);
    void loadWallet().catch(() => {});
    void ask(concertId).catch(() => {});
  });
  const extending = useAction(async () => {
    set(await attempt(`extend:${bookingId}`, "POST /bookings/{bookingId}/extend", { path: { bookingId }, queueToken: await tokenOf(concertId) }));
  });
  const charging = useAction(async (amount: string) => {
    await topUp(amount);
    await loadWallet();
  });
  const release = async (): Promise<void> => {
    set(await call("POST /bookings/{bookingId}/cancel", { path: { bookingId } }));
    void ask(concertId).catch(() => {});
  };
  const { error } = paying;
  useEffect(() => {
    if (!(error instanceof Failure)) return;
    if (error.code === "INSUFFICIENT_POINTS") void loadWallet().catch(() => {});
    // It ended while the visitor was deciding: the booking says how.
    if (["HOLD_EXPIRED", "BOOKING_NOT_PAYABLE"].includes(error.code) || error.code.startsWith("QUEUE_TOKEN")) reload();
  }, [error]);
  const balance = wallet.value?.balance;
  const missing = balance === undefined ? 0n : hundredths(totalPrice) - hundredths(balance);
  return (
    <div class="checkout">
      <div class={left <= 30 ? "countdown late" : "countdown"} role="timer" aria-label={`${clock(left)} ${text.left}`}>
        <strong>{clock(left)}</strong>
        <span>{text.left}</span>
        {!booking.extended && (
          <Button kind="quiet" busy={extending.busy} onClick={() => void extending.run()}>{text.extend}</Button>
        )}
      </div>
      <Reminder left={left}>{(time) => `${time} ${text.left}`}</Reminder>
      {extending.error ? <Notice kind="bad">{explain(extending.error)}</Notice> : null}
      <div class="card">
        <SeatsOf booking={booking} />
        {balance !== undefined && (
          <dl class="sums">
            <dt>{text.balance}</dt>
            <dd>{points(balance)}</dd>
            {missing <= 0n && <><dt>{text.after}</dt><dd>{points(amountOf(-missing))}</dd></>}
          </dl>
        )}
        {missing > 0n && (
          <Notice kind="warn">
            <p>{text.missing(points(amountOf(missing)))}</p>
            {!settling && (
              <Button busy={charging.busy} onClick={() => void charging.run(amountOf(missing))}>{text.topUp(points(amountOf(missing)))}</Button>
            )}
          </Notice>
        )}
        {charging.error ? <Trouble error={charging.error} /> : null}
        {paying.error ? <Trouble error={paying.error} /> : null}
        <Button kind="primary" busy={paying.busy} disabled={missing > 0n} onClick={() => void paying.run()}>
          {paying.busy ? text.paying : text.pay(points(totalPrice))}
        </Button>
        <Sure label={text.release} question={text.releaseSure} act={release} />
      </div>
    </div>
  );
}

function Confirmed({ booking, set }: { booking: Booking; set: (booking: Booking) => void }) {
  const text = t().booking;
  const { bookingId } = booking;
  const cancelling = useAction(async () => {
    set(await attempt(`cancel:${bookingId}`, "POST /bookings/{bookingId}/cancel", { path: { bookingId } }));
    void loadWallet().catch(() => {});
  });
  return (
    <>
      <p class="lead"><Icon name="check" />{text.paidText}</p>
      <Tickets booking={booking} />
      <div class="card">
        <SeatsOf booking={booking} />
        <dl class="sums">
          <dt>{text.number}</dt>
          <dd><code>{bookingId}</code></dd>
          {booking.confirmedAt && <><dt>{text.booked}</dt><dd>{dayAndTime(booking.confirmedAt)}</dd></>}
        </dl>
        {cancelling.error ? <Trouble error={cancelling.error} /> : null}
        <Sure label={text.refund} question={text.refundSure(points(booking.totalPrice))} act={() => cancelling.run()} />
      </div>
    </>
  );
}

function Ended({ booking, text }: { booking: Booking; text: string }) {
  return (
    <div class="card">
      <p>{text}</p>
      <SeatsOf booking={booking} />
      <div class="buttons">
        {booking.status !== "REFUNDED" && (
          <a class="button primary" href={`#/concerts/${booking.concertId}/performances/${booking.performanceId}`}>
            {t().booking.chooseAgain}
          </a>
        )}
        <a class="button plain" href="#/bookings">{t().bookings.title}</a>
      </div>
    </div>
  );
}

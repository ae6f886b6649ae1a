// Seats that wait for their payment: on every view, so that a reload or a second tab doesn't lose them.

import { effect, signal } from "@preact/signals";
import { call, type Schemas } from "../api/client";
import { useCountdown, useDeadline } from "../api/clock";
import { session } from "../api/session";
import { clock, t } from "../language";
import { place } from "../router";

type Booking = Schemas["BookingResponse"];

export const held = signal<Booking[]>([]);

export async function loadHeld(): Promise<void> {
  if (!session.value) return;
  held.value = (await call("GET /bookings", { query: { status: "PENDING", limit: 20 } })).items;
}

/** Takes over what another view has learnt of a booking. */
export function noteBooking(booking: Booking): void {
  const others = held.peek().filter((it) => it.bookingId !== booking.bookingId);
  const next = booking.status === "PENDING" ? [booking, ...others] : others;
  if (next.length > 0 || held.peek().length > 0) held.value = next;
}

const quietly = (): void => void loadHeld().catch(() => {});

let known: string | null = null;
effect(() => {
  const userId = session.value?.userId ?? null;
  if (userId === known) return;
  known = userId;
  held.value = [];
  if (userId) setTimeout(quietly);
});
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && quietly());

export function HeldBanner() {
  const shown = held.value.filter((it) => !(place.value.parts[0] === "bookings" && place.value.parts[1] === it.bookingId));
  return shown.length > 0 ? <div class="banners">{shown.map((it) => <Banner key={it.bookingId} booking={it} />)}</div> : null;
}

function Banner({ booking }: { booking: Booking }) {
  const text = t().booking;
  const deadline = useDeadline(booking.heldUntil, booking.secondsLeft, booking);
  const left = useCountdown(deadline, () => setTimeout(quietly, 700));
  if (left === null || left === 0) return null;
  return (
    <a class="banner" href={`#/bookings/${booking.bookingId}`}>
      <span>{text.banner(t().common.seats(booking.seats.length))}</span>
      <strong>{clock(left)}</strong>
      <span class="button primary small">{text.toPay}</span>
    </a>
  );
}

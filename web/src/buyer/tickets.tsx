// The tickets of a paid booking.

import type { Schemas } from "../api/client";

export function Tickets(_: { booking: Schemas["BookingResponse"] }) {
  return null;
}

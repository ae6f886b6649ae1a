// The tickets of a paid booking, with the codes that the door reads.

import { useEffect, useState } from "preact/hooks";
import { call, failureOf, send, type Schemas } from "../api/client";
import { moment, t } from "../language";
import { Skeleton, Trouble } from "../parts/basics";
import { useLoad } from "../parts/load";

export function Tickets({ booking }: { booking: Schemas["BookingResponse"] }) {
  const { bookingId } = booking;
  const tickets = useLoad(bookingId, (signal) => call("GET /bookings/{bookingId}/tickets", { path: { bookingId }, signal }), { onReturn: true });
  if (tickets.error && !tickets.data) return <Trouble error={tickets.error} retry={tickets.reload} />;
  if (!tickets.data) return <Skeleton />;
  return (
    <section aria-label={t().booking.tickets}>
      <ul class="tickets">
        {tickets.data.items.map((ticket) => <Ticket key={ticket.ticketId} bookingId={bookingId} ticket={ticket} />)}
      </ul>
    </section>
  );
}

function Ticket({ bookingId, ticket }: { bookingId: string; ticket: Schemas["TicketResponse"] }) {
  const text = t().booking;
  const { ticketId, seat, admittedAt } = ticket;
  const name = t().common.seat(seat.section, seat.row, seat.number);
  const [picture, setPicture] = useState<string | null>(null);
  // A picture's address can't carry the login, so the picture is fetched like everything else.
  const qr = useLoad(ticketId, async (signal) => {
    const response = await send(`/api/v1/bookings/${bookingId}/tickets/${ticketId}/qr`, { signal });
    if (!response.ok) throw await failureOf(response);
    return response.blob();
  });
  useEffect(() => {
    if (!qr.data) return;
    const address = URL.createObjectURL(qr.data);
    setPicture(address);
    return () => URL.revokeObjectURL(address);
  }, [qr.data]);
  return (
    <li class={admittedAt ? "ticket used" : "ticket"}>
      <div>
        <p class="eyebrow">{seat.grade}</p>
        <h2>{name}</h2>
        {admittedAt && <p>{text.used(moment(admittedAt))}</p>}
        <details>
          <summary>{text.code}</summary>
          <code>{ticket.code}</code>
        </details>
      </div>
      {qr.error ? <Trouble error={qr.error} retry={qr.reload} /> : picture && <img src={picture} alt={text.qr(name)} />}
    </li>
  );
}

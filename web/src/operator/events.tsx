// Events and their deliveries: above all those that were parked.

import { useState } from "preact/hooks";
import { call, type Schemas } from "../api/client";
import { moment, t } from "../language";
import { Button, Notice, Skeleton, Title, Trouble, Wide } from "../parts/basics";
import { useAction } from "../parts/load";
import { usePages } from "../parts/pages";

const STATUSES = ["PARKED", "PENDING", "DELIVERED"] as const;

export function Events() {
  const text = t().operator;
  const [status, setStatus] = useState<(typeof STATUSES)[number]>("PARKED");
  const { items, first, reload, more } = usePages(status, (cursor, signal) =>
    call("GET /admin/events", { query: { status, cursor, limit: 50 }, signal }), 5);
  return (
    <div class="column wide">
      <div class="title-row">
        <Title>{text.events}</Title>
        <div class="tabs" role="group" aria-label={t().common.status}>
          {STATUSES.map((it) => (
            <button key={it} type="button" aria-pressed={status === it} onClick={() => setStatus(it)}>{text.eventStatusOf[it]}</button>
          ))}
        </div>
      </div>
      {first.error && !items ? <Trouble error={first.error} retry={reload} /> : null}
      {first.loading && <Skeleton />}
      {items?.length === 0 && <p class="empty">{text.noEvents}</p>}
      {items && items.length > 0 && (
        <Wide label={text.events}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t().common.date}</th>
                <th scope="col">{text.eventType}</th>
                <th scope="col">{text.destination}</th>
                <th scope="col" class="number">{text.attempts}</th>
                <th scope="col">{text.lastError}</th>
                <th scope="col"><span class="visually-hidden">{text.redeliver}</span></th>
              </tr>
            </thead>
            <tbody>{items.map((it) => <Row key={`${it.eventId}-${it.destination}`} delivery={it} reload={reload} />)}</tbody>
          </table>
        </Wide>
      )}
      {more}
    </div>
  );
}

function Row({ delivery, reload }: { delivery: Schemas["DeliveryResponse"]; reload: () => void }) {
  const text = t().operator;
  const again = useAction(async () => {
    await call("POST /admin/events/{eventId}/redeliver", { path: { eventId: delivery.eventId } });
    reload();
  });
  return (
    <tr>
      <td class="nowrap">{moment(delivery.createdAt)}</td>
      <td><code>{delivery.type}</code></td>
      <td>{delivery.destination}</td>
      <td class="number">{delivery.attempts}</td>
      <td>{delivery.lastError}</td>
      <td class="number">
        {again.error ? <Trouble error={again.error} /> : null}
        {again.done ? <Notice kind="good">{text.sentAgain}</Notice> : (
          <Button kind="plain" busy={again.busy} onClick={() => void again.run()}>{text.redeliver}</Button>
        )}
      </td>
    </tr>
  );
}

// Events and their deliveries: above all those that were parked.

import { call, type Schemas } from "../api/client";
import { moment, t } from "../language";
import { Button, Notice, Title, Trouble } from "../parts/basics";
import { useAction } from "../parts/load";
import { ListState, usePages } from "../parts/pages";
import { Table, type Column } from "../parts/table";
import { place } from "../router";

type Delivery = Schemas["DeliveryResponse"];

const STATUSES = ["PARKED", "PENDING", "DELIVERED"] as const;

export function Events() {
  const text = t().operator;
  const wanted = place.value.query.get("status");
  const status = STATUSES.find((it) => it === wanted) ?? "PARKED";
  const pages = usePages(status, (cursor, signal) =>
    call("GET /admin/events", { query: { status, cursor, limit: 50 }, signal }), 5);
  const { items, reload, more } = pages;
  const columns: Column<Delivery>[] = [
    { label: t().common.date, cell: (it) => <span class="nowrap">{moment(it.createdAt)}</span> },
    { label: text.eventType, cell: (it) => <code>{it.type}</code> },
    { label: text.destination, cell: (it) => it.destination },
    { label: text.attempts, isNumber: true, cell: (it) => it.attempts },
    { label: text.lastError, cell: (it) => it.lastError },
  ];
  // What is pending is sent by itself.
  if (status !== "PENDING") columns.push({ label: text.redeliver, isPlain: true, cell: (it) => <Again delivery={it} reload={reload} /> });
  return (
    <div class="column wide">
      <div class="title-row">
        <Title>{text.events}</Title>
        <nav class="tabs" aria-label={t().common.status}>
          {STATUSES.map((it) => (
            <a key={it} href={`#/operator/events?status=${it}`} aria-current={status === it ? "true" : undefined}>{text.eventStatusOf[it]}</a>
          ))}
        </nav>
      </div>
      <ListState of={pages} none={text.noEvents} />
      {items && items.length > 0 && (
        <Table layout="cards" label={text.events} columns={columns} rows={items} keyOf={(it) => `${it.eventId}-${it.destination}`} />
      )}
      {more}
    </div>
  );
}

function Again({ delivery, reload }: { delivery: Delivery; reload: () => void }) {
  const text = t().operator;
  const again = useAction(async () => {
    await call("POST /admin/events/{eventId}/redeliver", { path: { eventId: delivery.eventId } });
    reload();
  });
  return (
    <>
      {again.error ? <Trouble error={again.error} /> : null}
      {again.done ? <Notice kind="good">{text.sentAgain}</Notice> : (
        <Button kind="plain" busy={again.busy} onClick={() => void again.run()}>{text.redeliver}</Button>
      )}
    </>
  );
}

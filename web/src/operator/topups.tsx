// Everyone's top-ups: search, and sending a payment back.

import { useState } from "preact/hooks";
import { call, type Schemas } from "../api/client";
import { instantOf, moment, points, t } from "../language";
import { Button, Field, Notice, Select, Skeleton, Title, Trouble } from "../parts/basics";
import { useAction } from "../parts/load";
import { usePages } from "../parts/pages";
import { place, replace } from "../router";
import { userAddress, useWhose } from "./whose";

type TopUp = Schemas["AdminTopUpResponse"];
type Status = Schemas["TopUpStatus"];

const STATUSES: Status[] = ["PENDING", "COMPLETED", "FAILED", "EXPIRED"];

export function TopUpSearch() {
  const text = t().operator;
  const wanted = place.value.query;
  const [filter, setFilter] = useState({
    user: wanted.get("user") ?? "", status: wanted.get("status") ?? "", from: wanted.get("from") ?? "", to: wanted.get("to") ?? "",
  });
  const [open, setOpen] = useState<string | null>(null);
  const change = (part: Partial<typeof filter>): void => {
    const next = { ...filter, ...part };
    setFilter(next);
    replace(`/operator/top-ups?${new URLSearchParams(Object.entries(next).filter(([, value]) => value))}`);
  };
  const { userId, unknown } = useWhose(filter.user);
  const { status, from, to } = filter;
  const { items, first, reload, more } = usePages(userId === null ? null : JSON.stringify([userId, status, from, to]), (cursor, signal) =>
    call("GET /admin/top-ups", {
      query: {
        userId: userId ?? undefined,
        status: (status || undefined) as Status | undefined,
        from: instantOf(from, false),
        to: instantOf(to, true),
        cursor,
        limit: 50,
      },
      signal,
    }));
  return (
    <div class="column wide">
      <Title>{text.topUps}</Title>
      <form class="filters four" role="search" onSubmit={(event) => event.preventDefault()}>
        <Field label={text.whose} value={filter.user} autocomplete="off" spellcheck={false}
          onInput={(event) => change({ user: event.currentTarget.value })} />
        <Select label={t().common.status} value={status} onChange={(event) => change({ status: event.currentTarget.value })}
          options={[["", t().common.all], ...STATUSES.map((it) => [it, t().points.topUpStatusOf[it] ?? it] as const)]} />
        <Field label={t().common.from} type="date" value={from} max={to} onInput={(event) => change({ from: event.currentTarget.value })} />
        <Field label={t().common.to} type="date" value={to} min={from} onInput={(event) => change({ to: event.currentTarget.value })} />
      </form>
      {first.error && !items ? <Trouble error={first.error} retry={reload} /> : null}
      {first.loading && <Skeleton />}
      {(unknown || items?.length === 0) && <p class="empty" role="status">{unknown ? text.noSuchUser : text.noTopUps}</p>}
      <ul class="rows">
        {items?.map((it) => (
          <Row key={it.topUpId} topUp={it} open={open === it.topUpId} reload={reload}
            toggle={() => setOpen(open === it.topUpId ? null : it.topUpId)} />
        ))}
      </ul>
      {more}
    </div>
  );
}

/** A payment that goes back, or went. */
function Refund({ topUp }: { topUp: TopUp }) {
  if (!topUp.refundRequestedAt) return null;
  const text = t().operator;
  return <span class="tag">{topUp.refundedAt ? text.paymentReturned : text.paymentReturning}</span>;
}

function Row({ topUp, open, toggle, reload }: { topUp: TopUp; open: boolean; toggle: () => void; reload: () => void }) {
  const { status } = topUp;
  return (
    <li>
      <button type="button" class="row" aria-expanded={open} onClick={toggle}>
        <div>
          <strong>{topUp.email ?? t().operator.deletedUser}</strong>
          <span class="muted">{moment(topUp.createdAt)} · {topUp.provider}</span>
        </div>
        <div class="row-end">
          <span>{points(topUp.amount)}</span>
          <span>
            <Refund topUp={topUp} /> <span class={`tag ${status.toLowerCase()}`}>{t().points.topUpStatusOf[status] ?? status}</span>
          </span>
        </div>
      </button>
      {open && <Details topUp={topUp} reload={reload} />}
    </li>
  );
}

function Details({ topUp, reload }: { topUp: TopUp; reload: () => void }) {
  const text = t().operator;
  const { topUpId, userId, failure } = topUp;
  const [reason, setReason] = useState("");
  const refund = useAction(async () => {
    await call("POST /admin/top-ups/{topUpId}/refund", { path: { topUpId }, body: { reason } });
    reload();
  });
  const rows: [string, string | null | undefined][] = [
    [text.completedAt, topUp.completedAt && moment(topUp.completedAt)],
    [text.expiresAt, topUp.status === "PENDING" ? moment(topUp.expiresAt) : null],
    [text.failure, failure && (text.failureOf[failure] ?? failure)],
    [text.refundRequestedAt, topUp.refundRequestedAt && moment(topUp.refundRequestedAt)],
    [text.refundedAt, topUp.refundedAt && moment(topUp.refundedAt)],
  ];
  return (
    <div class="details">
      <dl class="sums">
        <dt>{text.user}</dt>
        <dd>{topUp.email ? <a href={userAddress(userId)}>{topUp.email}</a> : <code>{userId}</code>}</dd>
        <dt>{text.topUpId}</dt><dd><code>{topUpId}</code></dd>
        {topUp.checkoutId && <><dt>{text.checkoutId}</dt><dd><code>{topUp.checkoutId}</code></dd></>}
        {rows.map(([label, value]) => value && [<dt key={label}>{label}</dt>, <dd key={`${label}-value`}>{value}</dd>])}
      </dl>
      {topUp.status === "COMPLETED" && !topUp.refundRequestedAt && (
        <>
          <Field label={t().common.reason} value={reason} hint={text.reasonHint} maxLength={500}
            onInput={(event) => setReason(event.currentTarget.value)} />
          <div class="buttons">
            <Button kind="danger" busy={refund.busy} disabled={!reason.trim()} onClick={() => void refund.run()}>{text.returnPayment}</Button>
          </div>
        </>
      )}
      {refund.done && <Notice kind="good">{text.paymentReturning}</Notice>}
      {refund.error ? <Trouble error={refund.error} /> : null}
    </div>
  );
}

// Everyone's top-ups: search, and sending a payment back.

import { useState } from "preact/hooks";
import { call, type Schemas } from "../api/client";
import { instantOf, moment, points, t } from "../language";
import { Button, Notice, Trouble } from "../parts/basics";
import { useAction } from "../parts/load";
import { Reasoned, Search } from "./search";
import { userAddress, whose } from "./whose";

type TopUp = Schemas["AdminTopUpResponse"];
type Status = Schemas["TopUpStatus"];

const STATUSES: Status[] = ["PENDING", "COMPLETED", "FAILED", "EXPIRED"];

export function TopUpSearch() {
  const text = t().operator;
  return (
    <Search
      title={text.topUps}
      fields={[
        { name: "user", label: text.whose },
        { name: "status", label: t().common.status, options: STATUSES.map((it) => [it, t().points.topUpStatusOf[it] ?? it] as const) },
        { name: "from", label: t().common.from, input: { type: "date" }, notAfter: "to" },
        { name: "to", label: t().common.to, input: { type: "date" }, notBefore: "from" },
      ]}
      load={async ({ user, status, from, to }, cursor, signal) => call("GET /admin/top-ups", {
        query: {
          userId: await whose(user, signal),
          status: (status || undefined) as Status | undefined,
          from: instantOf(from, false),
          to: instantOf(to, true),
          cursor,
          limit: 50,
        },
        signal,
      })}
      keyOf={(it: TopUp) => it.topUpId}
      summary={(it) => <Summary topUp={it} />}
      details={(it, reload) => <Details topUp={it} reload={reload} />}
      none={text.noTopUps}
    />
  );
}

/** A payment that goes back, or went. */
function Refund({ topUp }: { topUp: TopUp }) {
  if (!topUp.refundRequestedAt) return null;
  const text = t().operator;
  return <span class="tag">{topUp.refundedAt ? text.paymentReturned : text.paymentReturning}</span>;
}

function Summary({ topUp }: { topUp: TopUp }) {
  const { status } = topUp;
  return (
    <>
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
    </>
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
    <>
      <dl class="sums">
        <dt>{text.user}</dt>
        <dd>{topUp.email ? <a href={userAddress(userId)}>{topUp.email}</a> : <code>{userId}</code>}</dd>
        <dt>{text.topUpId}</dt><dd><code>{topUpId}</code></dd>
        {topUp.checkoutId && <><dt>{text.checkoutId}</dt><dd><code>{topUp.checkoutId}</code></dd></>}
        {rows.map(([label, value]) => value && [<dt key={label}>{label}</dt>, <dd key={`${label}-value`}>{value}</dd>])}
      </dl>
      {topUp.status === "COMPLETED" && !topUp.refundRequestedAt && (
        <Reasoned reason={reason} setReason={setReason}>
          <Button kind="danger" busy={refund.busy} disabled={!reason.trim()} onClick={() => void refund.run()}>{text.returnPayment}</Button>
        </Reasoned>
      )}
      {refund.done && <Notice kind="good">{text.paymentReturning}</Notice>}
      {refund.error ? <Trouble error={refund.error} /> : null}
    </>
  );
}

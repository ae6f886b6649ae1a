// Balance, topping up, movements.

import { useEffect, useState } from "preact/hooks";
import { forget, unfinished } from "../api/attempts";
import { call, type Schemas } from "../api/client";
import { moment, points, t } from "../language";
import { Button, Field, Notice, Sure, Title, Trouble } from "../parts/basics";
import { useAction, useLoad } from "../parts/load";
import { ListState, usePages } from "../parts/pages";
import { Table, type Column } from "../parts/table";
import { loadWallet, wallet } from "./profile";
import { leaving, topUp } from "./topup";

const AMOUNT = "(0\\.(0[1-9]|[1-9][0-9]?)|[1-9][0-9]{0,6}(\\.[0-9]{1,2})?|10000000(\\.00?)?)";
const QUICK = ["50000", "100000", "300000"];

export function Points() {
  const text = t().points;
  const [amount, setAmount] = useState("100000");
  const [done, setDone] = useState<string | null>(null);
  const balance = useLoad("wallet", loadWallet, { onReturn: true });
  const ledger = usePages("ledger", (cursor, signal) => call("GET /points/transactions", { query: { cursor, limit: 20 }, signal }));
  const charging = useAction(async (wanted: string) => {
    setDone(null);
    if ((await topUp(wanted)) === "charged") setDone(wanted);
    ledger.reload();
    await loadWallet();
  });
  const open = charging.busy ? null : (unfinished("charge") as { amount: string } | null);
  const columns: Column<Schemas["TransactionResponse"]>[] = [
    { label: t().common.date, cell: (it) => <span class="nowrap">{moment(it.createdAt)}</span> },
    {
      label: text.movement,
      isPlain: true,
      cell: (it) => (it.bookingId ? <a href={`#/bookings/${it.bookingId}`}>{text.typeOf[it.type]}</a> : text.typeOf[it.type]),
    },
    { label: text.amount, isNumber: true, cell: (it) => points(it.amount) },
    { label: text.balanceAfter, isNumber: true, cell: (it) => points(it.balanceAfter) },
  ];
  return (
    <div class="column">
      <Title>{text.title}</Title>
      <div class="card wallet">
        <div>
          <p class="muted">{text.balance}</p>
          <p class="balance">{wallet.value ? points(wallet.value.balance) : "…"}</p>
          {balance.error && !wallet.value ? <Trouble error={balance.error} retry={balance.reload} /> : null}
        </div>
        <form onSubmit={(event) => (event.preventDefault(), void charging.run(amount))}>
          <div class="quick" role="group" aria-label={text.amount}>
            {QUICK.map((it) => (
              <button type="button" key={it} aria-pressed={amount === it} onClick={() => setAmount(it)}>{points(it)}</button>
            ))}
          </div>
          <Field label={text.amount} value={amount} inputMode="decimal" pattern={AMOUNT} title={text.invalid} required
            onInput={(event) => setAmount(event.currentTarget.value.trim())} />
          <Button kind="primary" type="submit" busy={charging.busy}>{text.charge}</Button>
        </form>
      </div>
      {done && <Notice kind="good">{text.done(points(done))}</Notice>}
      {charging.error ? <Trouble error={charging.error} /> : null}
      {open && (
        <Notice kind="warn">
          <p>{text.unfinished(points(open.amount))}</p>
          <div class="buttons">
            <Button onClick={() => void charging.run(open.amount)}>{text.finish}</Button>
            <Sure label={t().common.cancel} question={text.unfinished(points(open.amount))} confirm={t().common.cancel}
              act={() => (forget("charge"), charging.reset())} />
          </div>
        </Notice>
      )}
      {leaving.value && <Notice>{text.checkout}</Notice>}
      <TopUps reload={ledger.reload} />
      <h2>{text.ledger}</h2>
      <ListState of={ledger} none={text.none} />
      {ledger.items && ledger.items.length > 0 && (
        <Table layout="ledger" label={text.ledger} columns={columns} rows={ledger.items} keyOf={(it) => it.transactionId} />
      )}
      {ledger.more}
    </div>
  );
}

/** Top-ups through a payment provider: above all one that the visitor has just come back from. */
function TopUps({ reload }: { reload: () => void }) {
  const text = t().points;
  const topUps = useLoad("top-ups", (signal) => call("GET /points/top-ups", { query: { limit: 5 }, signal }), { onReturn: true });
  const items: Schemas["TopUpResponse"][] = topUps.data?.items ?? [];
  const pending = items.some((it) => it.status === "PENDING");
  useEffect(() => {
    if (!pending) return;
    const timer = setTimeout(topUps.reload, 3000);
    return () => clearTimeout(timer);
  }, [topUps.data]);
  const completed = items.filter((it) => it.status === "COMPLETED").length;
  useEffect(() => {
    if (completed === 0) return;
    reload();
    void loadWallet().catch(() => {});
  }, [completed]);
  if (items.length === 0) return null;
  return (
    <section class="card">
      <h2>{text.topUps}</h2>
      <ul class="devices">
        {items.map((it) => (
          <li key={it.topUpId}>
            <div>
              <strong>{points(it.amount)}</strong> <span class={`tag ${it.status.toLowerCase()}`}>{text.topUpStatusOf[it.status]}</span>
              <span class="muted">{moment(it.createdAt)}</span>
            </div>
            {it.status === "PENDING" && it.checkoutUrl && <a class="button plain" href={it.checkoutUrl}>{text.resume}</a>}
          </li>
        ))}
      </ul>
    </section>
  );
}

// Who did what to what, when and why.

import { call, type Schemas } from "../api/client";
import { moment, t } from "../language";
import { Title } from "../parts/basics";
import { ListState, usePages } from "../parts/pages";
import { Table, type Column } from "../parts/table";
import { userAddress } from "./whose";

type Action = Schemas["ActionResponse"];

/** The view of what an action changed, where there is one. */
function viewOf({ action, targetId }: Action): string | null {
  const [kind = ""] = action.split(".");
  if (kind === "user" || kind === "points") return userAddress(targetId);
  if (kind === "queue" || (kind === "concert" && action !== "concert.deleted")) return `#/operator/concerts/${targetId}`;
  if (kind === "performance" && action !== "performance.cancelled") return `#/operator/performances/${targetId}`;
  return null;
}

export function Actions() {
  const text = t().operator;
  const pages = usePages("actions", (cursor, signal) => call("GET /admin/actions", { query: { cursor, limit: 50 }, signal }));
  const { items, more } = pages;
  const columns: Column<Action>[] = [
    { label: t().common.date, cell: (it) => <span class="nowrap">{moment(it.createdAt)}</span> },
    { label: text.what, cell: (it) => <><code>{it.action}</code> <Details text={it.details} /></> },
    { label: text.whom, cell: (it) => <Target address={viewOf(it)} id={it.targetId} /> },
    { label: t().common.reason, cell: (it) => it.reason },
    { label: text.who, cell: (it) => <Target address={userAddress(it.actorId)} id={it.actorId} /> },
  ];
  return (
    <div class="column wide">
      <Title>{text.showLog}</Title>
      <ListState of={pages} none={t().common.none} />
      {items && items.length > 0 && <Table layout="cards" label={text.showLog} columns={columns} rows={items} keyOf={(it) => it.actionId} />}
      {more}
    </div>
  );
}

/** Beyond this many characters, details are behind a press. */
const SHORT = 100;

function Details({ text }: { text: string }) {
  if (text.length <= SHORT) return <span class="hint">{text}</span>;
  return <details class="hint"><summary>{text.slice(0, SHORT / 2)} …</summary>{text}</details>;
}

function Target({ address, id }: { address: string | null; id: string }) {
  const name = <code class="id">{id}</code>;
  return address ? <a href={address}>{name}</a> : name;
}

// A top-up that the visitor has come back from: its outcome, followed until the provider has told the server.

import { useEffect, useState } from "preact/hooks";
import { Failure, call, type Schemas } from "../api/client";
import { points, t } from "../language";
import { Button, Notice, Trouble } from "../parts/basics";
import { useLoad } from "../parts/load";
import { place, replace } from "../router";
import { loadWallet } from "./profile";
import { follow } from "./topup";

type TopUp = Schemas["TopUpResponse"];

const UUID = /^[0-9a-f-]{36}$/i;

export interface Settling {
  /** Whether points may still come, so that none need to be bought meanwhile. */
  pending: boolean;
  /** What there is to say about the top-up. */
  notice: preact.JSX.Element | null;
}

/** Follows the top-up that the address names, and takes it out of the address once its outcome is known. */
export function useSettling(): Settling {
  const text = t().points;
  const named = place.value.query.get("topUpId");
  const topUpId = named && UUID.test(named) ? named : null;
  const [ended, setEnded] = useState<TopUp | null>(null);
  const topUp = useLoad(topUpId, (signal) => call("GET /points/top-ups/{topUpId}", { path: { topUpId: topUpId! }, signal }), { onReturn: true });
  const { data } = topUp;
  useEffect(() => {
    if (!data) return;
    if (data.status === "PENDING") {
      const timer = setTimeout(topUp.reload, 1500);
      return () => clearTimeout(timer);
    }
    setEnded(data);
    replace(`/${place.value.parts.join("/")}`);
    void loadWallet().catch(() => {});
  }, [data]);
  if (topUpId === null) return { pending: false, notice: ended && <Outcome topUp={ended} /> };
  // An address may name anything.
  if (topUp.error instanceof Failure && topUp.error.status === 404) return { pending: false, notice: null };
  if (topUp.error && !data) return { pending: false, notice: <Trouble error={topUp.error} retry={topUp.reload} /> };
  const { checkoutUrl } = data ?? {};
  const notice = (
    <Notice>
      <p>{text.settling}</p>
      {checkoutUrl && <Button onClick={() => follow(topUpId, checkoutUrl)}>{text.toProvider}</Button>}
    </Notice>
  );
  return { pending: true, notice };
}

function Outcome({ topUp: { status, amount } }: { topUp: TopUp }) {
  const text = t().points;
  if (status === "COMPLETED") return <Notice kind="good">{text.done(points(amount))}</Notice>;
  return <Notice kind="warn">{status === "EXPIRED" ? text.lapsed(points(amount)) : text.declined(points(amount))}</Notice>;
}

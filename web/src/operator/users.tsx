// Accounts: search, role, block.

import { useState } from "preact/hooks";
import { attempt } from "../api/attempts";
import { call, type Schemas } from "../api/client";
import { day, number, points, t } from "../language";
import { Button, Field, Trouble } from "../parts/basics";
import { useAction } from "../parts/load";
import { Reasoned, Search } from "./search";
import { idOf } from "./whose";

type User = Schemas["UserResponse"];

export function Users() {
  const text = t().operator;
  return (
    <Search
      title={text.users}
      fields={[
        { name: "query", label: text.userQuery, input: { type: "search" } },
        { name: "role", label: text.role, options: [["USER", text.roleOf.USER!], ["ADMIN", text.roleOf.ADMIN!]] },
        { name: "blocked", label: t().common.status, options: [["true", text.isBlocked], ["false", text.isNotBlocked]] },
      ]}
      load={async ({ query, role, blocked }, cursor, signal) => {
        const userId = idOf(query);
        if (userId) {
          const user = await call("GET /admin/users/{userId}", { path: { userId }, signal });
          const matches = (!role || user.role === role) && (!blocked || Boolean(user.blockedAt) === (blocked === "true"));
          return { items: matches ? [user] : [] };
        }
        return call("GET /admin/users", {
          query: {
            query: query || undefined,
            role: (role || undefined) as Schemas["Role"] | undefined,
            blocked: blocked === "" ? undefined : blocked === "true",
            cursor,
            limit: 50,
          },
          signal,
        });
      }}
      keyOf={(it: User) => it.userId}
      summary={(it) => <Summary user={it} />}
      details={(it, reload) => <Details user={it} reload={reload} />}
      none={t().problems.USER_NOT_FOUND!}
      isOne={({ query }) => idOf(query) !== null}
    />
  );
}

function Summary({ user }: { user: User }) {
  const text = t().operator;
  return (
    <>
      <div>
        <strong>{user.email}</strong>
        <span class="muted">{user.name} · {day(user.createdAt)}</span>
      </div>
      <div class="row-end">
        <span>{points(user.balance)}</span>
        <span>
          {user.role === "ADMIN" && <span class="tag pending">{text.roleOf.ADMIN}</span>} {user.blockedAt && <span class="tag blocked">{text.isBlocked}</span>}
        </span>
      </div>
    </>
  );
}

function Details({ user, reload }: { user: User; reload: () => void }) {
  const text = t().operator;
  const { userId } = user;
  const [reason, setReason] = useState("");
  const patch = useAction(async (change: { blocked?: boolean; role?: Schemas["Role"] }) => {
    await call("PATCH /admin/users/{userId}", { path: { userId }, body: { ...change, reason } });
    setReason("");
    reload();
  });
  const [amount, setAmount] = useState("");
  const adjust = useAction(async () => {
    await attempt(`adjust:${userId}`, "POST /admin/users/{userId}/points", { path: { userId }, body: { amount, reason } });
    setAmount("");
    setReason("");
    reload();
  });
  return (
    <>
      <dl class="sums">
        <dt>{text.userId}</dt><dd><code>{userId}</code></dd>
        <dt>{text.liveBookings}</dt><dd>{number(user.liveBookings)}</dd>
      </dl>
      <Reasoned reason={reason} setReason={setReason}>
        <Button kind="danger" busy={patch.busy} disabled={!reason.trim()} onClick={() => void patch.run({ blocked: !user.blockedAt })}>
          {user.blockedAt ? text.unblockUser : text.blockUser}
        </Button>
        <Button busy={patch.busy} disabled={!reason.trim()}
          onClick={() => void patch.run({ role: user.role === "ADMIN" ? "USER" : "ADMIN" })}>
          {user.role === "ADMIN" ? text.makeUser : text.makeAdmin}
        </Button>
        <a class="button plain" href={`#/operator/bookings?user=${userId}`}>{text.bookings}</a>
        <a class="button plain" href={`#/operator/top-ups?user=${userId}`}>{text.topUps}</a>
      </Reasoned>
      <form class="inline three" onSubmit={(event) => (event.preventDefault(), void adjust.run())}>
        <Field label={text.adjustAmount} value={amount} inputMode="decimal" pattern={"-?(0|[1-9][0-9]{0,12})(\\.[0-9]{1,2})?"} required
          onInput={(event) => setAmount(event.currentTarget.value.trim())} />
        <Button type="submit" busy={adjust.busy} disabled={!reason.trim() || !amount}>{text.adjust}</Button>
      </form>
      {patch.error ? <Trouble error={patch.error} /> : null}
      {adjust.error ? <Trouble error={adjust.error} /> : null}
    </>
  );
}

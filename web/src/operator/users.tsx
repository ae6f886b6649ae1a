// Accounts: search, role, block.

import { useEffect, useState } from "preact/hooks";
import { attempt } from "../api/attempts";
import { call, type Schemas } from "../api/client";
import { day, number, points, t } from "../language";
import { Button, Field, Select, Skeleton, Title, Trouble } from "../parts/basics";
import { useAction } from "../parts/load";
import { usePages } from "../parts/pages";
import { path, place, replace } from "../router";
import { useSettled } from "./whose";

type User = Schemas["UserResponse"];

export function Users() {
  const text = t().operator;
  const wanted = place.value.query;
  const userId = wanted.get("userId");
  const [query, setQuery] = useState(wanted.get("query") ?? "");
  const [role, setRole] = useState(wanted.get("role") ?? "");
  const [blocked, setBlocked] = useState(wanted.get("blocked") ?? "");
  const [open, setOpen] = useState<string | null>(userId);
  const searched = useSettled(query.trim());
  // The search is part of the address, so that it survives a reload and the way back. It ends the look at one account.
  useEffect(() => {
    if (!path().startsWith("/operator/users") || (userId && !searched && !role && !blocked)) return;
    const parameters = new URLSearchParams(Object.entries({ query: searched, role, blocked }).filter(([, value]) => value));
    const next = `/operator/users${parameters.size > 0 ? `?${parameters}` : ""}`;
    if (next !== path()) replace(next);
  }, [searched, role, blocked]);
  const { items, first, reload, more } = usePages(JSON.stringify([userId, searched, role, blocked]), async (cursor, signal) => {
    if (userId) return { items: [await call("GET /admin/users/{userId}", { path: { userId }, signal })] };
    return call("GET /admin/users", {
      query: {
        query: searched || undefined,
        role: (role || undefined) as Schemas["Role"] | undefined,
        blocked: blocked === "" ? undefined : blocked === "true",
        cursor,
        limit: 50,
      },
      signal,
    });
  });
  return (
    <div class="column wide">
      <Title>{text.users}</Title>
      <form class="filters three" role="search" onSubmit={(event) => event.preventDefault()}>
        <Field label={text.userQuery} type="search" value={query} onInput={(event) => setQuery(event.currentTarget.value)} />
        <Select label={text.role} value={role} onChange={(event) => setRole(event.currentTarget.value)}
          options={[["", t().common.all], ["USER", text.roleOf.USER!], ["ADMIN", text.roleOf.ADMIN!]]} />
        <Select label={t().common.status} value={blocked} onChange={(event) => setBlocked(event.currentTarget.value)}
          options={[["", t().common.all], ["true", text.isBlocked], ["false", text.isNotBlocked]]} />
      </form>
      {first.error && !items ? <Trouble error={first.error} retry={reload} /> : null}
      {first.loading && <Skeleton />}
      {userId && <p><a href="#/operator/users">{text.allUsers}</a></p>}
      {items?.length === 0 && <p class="empty" role="status">{text.noSuchUser}</p>}
      <ul class="rows">
        {items?.map((user) => (
          <li key={user.userId}>
            <button type="button" class="row" aria-expanded={open === user.userId}
              onClick={() => setOpen(open === user.userId ? null : user.userId)}>
              <div>
                <strong>{user.email ?? user.userId}</strong>
                <span class="muted">{user.name} · {day(user.createdAt)}</span>
              </div>
              <div class="row-end">
                <span>{points(user.balance)}</span>
                <span>
                  {user.role === "ADMIN" && <span class="tag pending">{text.roleOf.ADMIN}</span>} {user.blockedAt && <span class="tag blocked">{text.isBlocked}</span>}
                </span>
              </div>
            </button>
            {open === user.userId && <Details user={user} reload={reload} />}
          </li>
        ))}
      </ul>
      {more}
    </div>
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
    <div class="details">
      <dl class="sums">
        <dt>{text.userId}</dt><dd><code>{userId}</code></dd>
        <dt>{text.liveBookings}</dt><dd>{number(user.liveBookings)}</dd>
      </dl>
      <Field label={t().common.reason} value={reason} hint={text.reasonHint} maxLength={500}
        onInput={(event) => setReason(event.currentTarget.value)} />
      <div class="buttons">
        <Button kind="danger" busy={patch.busy} disabled={!reason.trim()} onClick={() => void patch.run({ blocked: !user.blockedAt })}>
          {user.blockedAt ? text.unblockUser : text.blockUser}
        </Button>
        <Button busy={patch.busy} disabled={!reason.trim()}
          onClick={() => void patch.run({ role: user.role === "ADMIN" ? "USER" : "ADMIN" })}>
          {user.role === "ADMIN" ? text.makeUser : text.makeAdmin}
        </Button>
        <a class="button plain" href={`#/operator/bookings?user=${userId}`}>{text.bookings}</a>
        <a class="button plain" href={`#/operator/top-ups?user=${userId}`}>{text.topUps}</a>
      </div>
      <form class="inline three" onSubmit={(event) => (event.preventDefault(), void adjust.run())}>
        <Field label={text.adjustAmount} value={amount} inputMode="decimal" pattern={"-?(0|[1-9][0-9]{0,12})(\\.[0-9]{1,2})?"} required
          onInput={(event) => setAmount(event.currentTarget.value.trim())} />
        <Button type="submit" busy={adjust.busy} disabled={!reason.trim() || !amount}>{text.adjust}</Button>
      </form>
      {patch.error ? <Trouble error={patch.error} /> : null}
      {adjust.error ? <Trouble error={adjust.error} /> : null}
    </div>
  );
}

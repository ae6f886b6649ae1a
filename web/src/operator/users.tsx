// Accounts: search, role, block.

import { useEffect, useState } from "preact/hooks";
import { attempt } from "../api/attempts";
import { call, type Schemas } from "../api/client";
import { day, number, points, t } from "../language";
import { Button, Field, Select, Skeleton, Title, Trouble } from "../parts/basics";
import { useAction } from "../parts/load";
import { usePages } from "../parts/pages";

type User = Schemas["UserResponse"];

export function Users() {
  const text = t().operator;
  const [query, setQuery] = useState("");
  const [searched, setSearched] = useState("");
  const [role, setRole] = useState("");
  const [open, setOpen] = useState<string | null>(null);
  useEffect(() => {
    const timer = setTimeout(() => setSearched(query.trim()), 250);
    return () => clearTimeout(timer);
  }, [query]);
  const { items, first, reload, more } = usePages(JSON.stringify([searched, role]), (cursor, signal) =>
    call("GET /admin/users", {
      query: { query: searched || undefined, role: (role || undefined) as Schemas["Role"] | undefined, cursor, limit: 50 },
      signal,
    }));
  return (
    <div class="column wide">
      <Title>{text.users}</Title>
      <form class="filters two" role="search" onSubmit={(event) => event.preventDefault()}>
        <Field label={text.userQuery} type="search" value={query} onInput={(event) => setQuery(event.currentTarget.value)} />
        <Select label={text.role} value={role} onChange={(event) => setRole(event.currentTarget.value)}
          options={[["", t().common.all], ["USER", "USER"], ["ADMIN", "ADMIN"]]} />
      </form>
      {first.error && !items ? <Trouble error={first.error} retry={reload} /> : null}
      {first.loading && <Skeleton />}
      {items?.length === 0 && <p class="empty">{t().common.none}</p>}
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
                  {user.role === "ADMIN" && <span class="tag pending">ADMIN</span>} {user.blockedAt && <span class="tag blocked">{text.isBlocked}</span>}
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
          {user.role === "ADMIN" ? "→ USER" : "→ ADMIN"}
        </Button>
        <a class="button plain" href={`#/operator/bookings?userId=${userId}`}>{text.showBookings}</a>
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

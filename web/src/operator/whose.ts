// An account that a search is about, named by its id or its e-mail address.

import { useEffect, useState } from "preact/hooks";
import { call } from "../api/client";
import { useLoad } from "../parts/load";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** A text once it has been left alone for a moment: a search per letter would be too many. */
export function useSettled(text: string): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), 250);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}

/** The id of the account; undefined for a search without one, null if there is no such account (yet). */
export function useWhose(text: string): { userId: string | null | undefined; unknown: boolean } {
  const name = useSettled(text.trim());
  const isId = UUID.test(name);
  const found = useLoad(name && !isId ? name : null, async (signal) => {
    const { items } = await call("GET /admin/users", { query: { query: name, limit: 100 }, signal });
    const same = items.find((it) => it.email.toLowerCase() === name.toLowerCase());
    return { userId: (same ?? (items.length === 1 ? items[0] : undefined))?.userId ?? null };
  });
  if (!name) return { userId: undefined, unknown: false };
  if (isId) return { userId: name, unknown: false };
  return { userId: found.data?.userId ?? null, unknown: found.data?.userId === null };
}

/** The operator's view of an account. */
export const userAddress = (userId: string): string => `#/operator/users?userId=${userId}`;

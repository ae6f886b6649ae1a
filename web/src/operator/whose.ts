// An account that a search is about, named by its id or its e-mail address.

import { Failure, call } from "../api/client";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The id that a text is, or null. */
export function idOf(text: string): string | null {
  const id = text.toLowerCase();
  return UUID.test(id) ? id : null;
}

/** The id of the named account, of whose e-mail address or name a part is enough; undefined if none is named. */
export async function whose(name: string, signal?: AbortSignal): Promise<string | undefined> {
  const id = idOf(name);
  if (id || !name) return id ?? undefined;
  const { items } = await call("GET /admin/users", { query: { query: name, limit: 100 }, signal });
  const same = items.find((it) => it.email.toLowerCase() === name.toLowerCase());
  const found = same ?? (items.length === 1 ? items[0] : undefined);
  if (!found) throw new Failure(404, items.length > 1 ? "SEVERAL_USERS" : "USER_NOT_FOUND", {});
  return found.userId;
}

/** The operator's view of an account. */
export const userAddress = (userId: string): string => `#/operator/users?query=${userId}`;

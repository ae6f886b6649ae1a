// Points for money: directly where the server has no payment provider, else through the provider's own page. Before the
// browser leaves for it, this tab remembers what the points are for, and goes on there when it comes back.

import { signal } from "@preact/signals";
import { attempt } from "../api/attempts";
import { Failure } from "../api/client";
import { session } from "../api/session";
import { tabStorage } from "../api/storage";
import { path, replace } from "../router";

/** Whether the browser is on its way to the provider. */
export const leaving = signal(false);

const STORED = "top-up";

interface Errand {
  topUpId: string;
  userId: string | undefined;
  /** The address that the visitor left. */
  from: string;
}

function errand(): Errand | null {
  try {
    return JSON.parse(tabStorage.getItem(STORED) ?? "null") as Errand | null;
  } catch {
    return null;
  }
}

/**
 * Resolves when the points are there. Where a provider has its page, the browser leaves for it instead; then this resolves
 * only if the visitor comes back by the browser's own button, to a page that was kept.
 */
export async function topUp(amount: string): Promise<"charged" | "came-back"> {
  try {
    await attempt("charge", "POST /points/charges", { body: { amount } });
    return "charged";
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== "TOP_UP_REQUIRED") throw error;
  }
  const { topUpId, checkoutUrl } = await attempt("top-up", "POST /points/top-ups", { body: { amount } });
  if (!checkoutUrl) return "came-back";
  follow(topUpId, checkoutUrl);
  await new Promise((resolve) => addEventListener("pageshow", resolve, { once: true }));
  leaving.value = false;
  return "came-back";
}

/** Leaves for the provider's page of a top-up. */
export function follow(topUpId: string, checkoutUrl: string): void {
  const [from = "/"] = path().split("?");
  tabStorage.setItem(STORED, JSON.stringify({ topUpId, userId: session.value?.userId, from } satisfies Errand));
  leaving.value = true;
  location.assign(checkoutUrl);
}

/**
 * A provider leads back to the root, with the top-up in the query. The visitor goes on where they left; in a tab that
 * knows nothing of it, with the points themselves.
 */
export function returnFromProvider(): void {
  const topUpId = new URLSearchParams(location.search).get("topUpId");
  if (!topUpId) return;
  const left = errand();
  const known = left?.topUpId === topUpId && (!session.value || left.userId === session.value.userId);
  if (known) tabStorage.removeItem(STORED);
  replace(known && left.from.startsWith("/bookings/") ? `${left.from}?topUpId=${encodeURIComponent(topUpId)}` : "/points");
}

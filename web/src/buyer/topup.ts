// Points for money: directly where the server has no payment provider, else through the provider's own page.

import { signal } from "@preact/signals";
import { attempt } from "../api/attempts";
import { Failure } from "../api/client";

/** Whether the browser is on its way to the provider. */
export const leaving = signal(false);

/** Resolves when the points are there. Where a provider has its page, the browser leaves for it instead. */
export async function topUp(amount: string): Promise<void> {
  try {
    await attempt("charge", "POST /points/charges", { body: { amount } });
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== "TOP_UP_REQUIRED") throw error;
    const started = await attempt("top-up", "POST /points/top-ups", { body: { amount } });
    if (!started.checkoutUrl) return;
    leaving.value = true;
    location.assign(started.checkoutUrl);
    // The page is about to go: what waits for the points waits on.
    await new Promise(() => {});
  }
}

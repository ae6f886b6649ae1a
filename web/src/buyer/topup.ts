// Points for money: directly where the server has no payment provider, else through the provider's own page.

import { attempt } from "../api/attempts";
import { Failure } from "../api/client";

/** Resolves when the points are there. Where a provider has its page, the browser leaves for it instead. */
export async function topUp(amount: string): Promise<void> {
  try {
    await attempt("charge", "POST /points/charges", { body: { amount } });
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== "TOP_UP_REQUIRED") throw error;
    throw error;
  }
}

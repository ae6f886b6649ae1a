// Who is logged in, and the balance: shown in several places, asked for once.

import { effect, signal } from "@preact/signals";
import { Failure, call, type Schemas } from "../api/client";
import { session } from "../api/session";

export const profile = signal<Schemas["ProfileResponse"] | null>(null);
export const wallet = signal<Schemas["WalletResponse"] | null>(null);

export async function loadProfile(): Promise<void> {
  profile.value = await call("GET /users/me");
}

export async function loadWallet(): Promise<void> {
  wallet.value = await call("GET /points");
}

let known: string | null = null;
effect(() => {
  const userId = session.value?.userId ?? null;
  if (userId === known) return;
  known = userId;
  profile.value = null;
  wallet.value = null;
  // What needs the profile shows less until it is there, and asks again itself.
  if (userId) loadProfile().catch((error: unknown) => {
    if (error instanceof Failure && error.passes) setTimeout(() => void loadProfile().catch(() => {}), 3000);
  });
});

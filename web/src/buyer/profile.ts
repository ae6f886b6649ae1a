// Who is logged in, and the balance: shown in several places, asked for once.

import { effect, signal } from "@preact/signals";
import { Failure, call, pause, type Schemas } from "../api/client";
import { endSession, session } from "../api/session";

export const profile = signal<Schemas["ProfileResponse"] | null>(null);
/** Why the profile isn't there. */
export const profileFailure = signal<unknown>(null);
export const wallet = signal<Schemas["WalletResponse"] | null>(null);

const userOf = (): string | undefined => session.peek()?.userId;

export async function loadProfile(): Promise<void> {
  const userId = userOf();
  try {
    const answer = await call("GET /users/me");
    if (userId === userOf()) profile.value = answer;
    profileFailure.value = null;
  } catch (error) {
    profileFailure.value = error;
    throw error;
  }
}

export async function loadWallet(): Promise<void> {
  const userId = userOf();
  const answer = await call("GET /points");
  if (userId === userOf()) wallet.value = answer;
}

/** Ends the login, also where the server can't be told: nobody else has its tokens. */
export async function logOut(): Promise<void> {
  await call("POST /auth/logout").catch((error: unknown) => {
    if (!(error instanceof Failure) || error.isFinal) throw error;
  });
  endSession("logged-out");
}

/** Asks until it is answered or refused, for as long as the login lasts. */
async function follow(userId: string): Promise<void> {
  while (userId === userOf()) {
    try {
      return await loadProfile();
    } catch (error) {
      if (!(error instanceof Failure) || error.isFinal) return;
    }
    await pause(3_000);
  }
}

let known: string | null = null;
effect(() => {
  const userId = session.value?.userId ?? null;
  if (userId === known) return;
  known = userId;
  profile.value = null;
  profileFailure.value = null;
  wallet.value = null;
  if (userId) void follow(userId);
});

// The login of this browser: one for all tabs, gone when the last of them closes (docs/decisions/0042-the-page.md).

import { computed, effect, signal } from "@preact/signals";
import { tabStorage } from "./storage";

export interface Session {
  accessToken: string;
  /** By this browser's clock; it only decides when to refresh early. */
  accessUntil: number;
  refreshToken: string;
  userId: string;
  /** The queue token of each concert joined, by the concert's id. */
  queueTokens: Record<string, string>;
  /** Grows with each change, so that tabs keep the newest. */
  stamp: number;
}

interface Tokens {
  accessToken: string;
  expiresIn: number;
  refreshToken: string;
  userId: string;
}

type Message = { kind: "ask" } | { kind: "session"; session: Session } | { kind: "ended"; reason: Ending; userId: string };

type Ending = "logged-out" | "ended";

const STORED = "session";
const ENDED = "session-ended";
const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("session");

export const session = signal<Session | null>(read());
export const isLoggedIn = computed(() => session.value !== null);
/** Why the last login ended, until the next one begins. */
export const ending = signal<Ending | null>(tabStorage.getItem(ENDED) as Ending | null);
/** False until the other tabs were asked for a login. */
export const restored = signal(session.value !== null || channel === null);

function read(): Session | null {
  try {
    return JSON.parse(tabStorage.getItem(STORED) ?? "null") as Session | null;
  } catch {
    return null;
  }
}

effect(() => {
  if (session.value) tabStorage.setItem(STORED, JSON.stringify(session.value));
  else tabStorage.removeItem(STORED);
  if (ending.value) tabStorage.setItem(ENDED, ending.value);
  else tabStorage.removeItem(ENDED);
});

function adopt(next: Session): void {
  session.value = next;
  ending.value = null;
  restored.value = true;
}

function announce(message: Message): void {
  channel?.postMessage(message);
}

channel?.addEventListener("message", ({ data }: MessageEvent<Message>) => {
  if (data.kind === "ask" && session.value) announce({ kind: "session", session: session.value });
  if (data.kind === "session" && data.session.stamp > (session.value?.stamp ?? 0)) adopt(data.session);
  if (data.kind === "ended" && session.value?.userId === data.userId) close(data.reason);
});
announce({ kind: "ask" });
setTimeout(() => (restored.value = true), 150);

function save(tokens: Tokens, queueTokens: Record<string, string>): void {
  const next: Session = {
    accessToken: tokens.accessToken,
    accessUntil: Date.now() + tokens.expiresIn * 1000,
    refreshToken: tokens.refreshToken,
    userId: tokens.userId,
    queueTokens,
    stamp: Math.max(Date.now(), (session.value?.stamp ?? 0) + 1),
  };
  adopt(next);
  announce({ kind: "session", session: next });
}

export function beginSession(tokens: Tokens): void {
  save(tokens, {});
}

export function setQueueToken(concertId: number, token: string | null): void {
  if (!session.value) return;
  const queueTokens = { ...session.value.queueTokens };
  if (token) queueTokens[concertId] = token;
  else delete queueTokens[concertId];
  const next = { ...session.value, queueTokens, stamp: Math.max(Date.now(), session.value.stamp + 1) };
  adopt(next);
  announce({ kind: "session", session: next });
}

function close(reason: Ending): void {
  session.value = null;
  ending.value = reason;
}

export function endSession(reason: Ending): void {
  const userId = session.value?.userId;
  close(reason);
  if (userId) announce({ kind: "ended", reason, userId });
}

/** Refreshed this long before its end: a request under way should still find it valid. */
const EARLY_MILLISECONDS = 10_000;

export async function accessToken(): Promise<string | null> {
  const current = session.value;
  if (!current) return null;
  if (Date.now() < current.accessUntil - EARLY_MILLISECONDS) return current.accessToken;
  await refresh(current.accessToken);
  return session.value?.accessToken ?? null;
}

/**
 * Exchanges the refresh token unless another request or tab has since `used` was issued; false when the login is over.
 * One tab at a time: a refresh token works once.
 */
export async function refresh(used: string): Promise<boolean> {
  const exchange = async (): Promise<boolean> => {
    const current = session.value;
    if (!current || current.accessToken !== used) return current !== null;
    let response: Response;
    try {
      response = await fetch("/api/v1/auth/refresh", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ refreshToken: current.refreshToken }),
      });
    } catch {
      // Without an answer nothing is known: the request that follows fails the same way, and says so.
      return true;
    }
    if (response.ok) {
      save((await response.json()) as Tokens, session.value?.queueTokens ?? current.queueTokens);
      return true;
    }
    if (response.status === 401 || response.status === 403) {
      endSession("ended");
      return false;
    }
    return true;
  };
  return navigator.locks ? navigator.locks.request("session-refresh", exchange) : exchange();
}

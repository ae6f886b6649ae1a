// Idempotency keys: one per intent, kept until its outcome is known. A reload or a lost answer repeats the request under
// the same key, so nothing is charged, held or paid twice.

import { Failure, call, pause, type Answer, type Operation, type Options } from "./client";
import { session } from "./session";
import { tabStorage } from "./storage";

interface Attempt {
  key: string;
  body: unknown;
}

const name = (intent: string): string => `attempt:${session.value?.userId}:${intent}`;

function read(intent: string): Attempt | null {
  try {
    return JSON.parse(tabStorage.getItem(name(intent)) ?? "null") as Attempt | null;
  } catch {
    return null;
  }
}

/** The body of an attempt whose outcome isn't known. */
export function unfinished(intent: string): unknown {
  return read(intent)?.body ?? null;
}

export function forget(intent: string): void {
  tabStorage.removeItem(name(intent));
}

/** The longest time for which a write is repeated by itself; after that the user is asked. */
const PATIENCE_MILLISECONDS = 30_000;

/** Performs a write under the intent's key, again and again while the server can't be reached or asks for patience. */
export async function attempt<O extends Operation>(intent: string, operation: O, options: Options<O>): Promise<Answer<O>> {
  const earlier = read(intent);
  const body = options.body ?? null;
  // Another body is another intent: the server refuses it under the key of the first.
  const same = earlier !== null && JSON.stringify(earlier.body) === JSON.stringify(body);
  const key = same ? earlier.key : crypto.randomUUID();
  tabStorage.setItem(name(intent), JSON.stringify({ key, body } satisfies Attempt));
  const begun = performance.now();
  for (let count = 1; ; count++) {
    try {
      const answer = await call(operation, { ...options, idempotencyKey: key });
      forget(intent);
      return answer;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (!error.passes) {
        forget(intent);
        throw error;
      }
      if (performance.now() - begun > PATIENCE_MILLISECONDS) throw error;
      const seconds = error.retryAfterSeconds ?? Math.min(0.5 * 2 ** count, 5);
      await pause(1000 * seconds * (0.8 + 0.4 * Math.random()), options.signal);
    }
  }
}

// The place in a concert's queue, followed live. Of all tabs one has the stream; it tells the others.

import { effect, signal, type Signal } from "@preact/signals";
import { Failure, call, type Schemas } from "./client";
import { deadlineIn, type Deadline } from "./clock";
import { session, setQueueToken } from "./session";
import { follow } from "./stream";

export type Place = Schemas["QueueTokenResponse"] & {
  deadline: Deadline | null;
  /** The first position that this tab saw: where the progress bar begins. */
  firstPosition: number;
};

interface Queue {
  place: Signal<Place | null>;
  state: Signal<"stream" | "poll" | "lost">;
  /** Why the place was lost without a final status. */
  refused: Signal<Failure | null>;
  followed: string | null;
  abort: AbortController | null;
}

const queues = new Map<number, Queue>();
const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("queue");

export const ENDED: ReadonlySet<string> = new Set(["COMPLETED", "EXPIRED", "LEFT"]);

export function queueOf(concertId: number): Queue {
  let queue = queues.get(concertId);
  if (!queue) {
    queue = { place: signal(null), state: signal("stream"), refused: signal(null), followed: null, abort: null };
    queues.set(concertId, queue);
  }
  return queue;
}

function accept(body: Schemas["QueueTokenResponse"], from: "server" | "tab"): void {
  const queue = queueOf(body.concertId);
  const earlier = queue.place.value?.queueToken === body.queueToken ? queue.place.value : null;
  // Answers may overtake each other; a place never grows, and an end is final.
  if (earlier && earlier.serverTime > body.serverTime) return;
  queue.place.value = {
    ...body,
    deadline: deadlineIn(body.secondsLeft),
    firstPosition: Math.max(earlier?.firstPosition ?? 0, body.position ?? 0),
  };
  queue.refused.value = null;
  if (from === "server") channel?.postMessage(body);
}

channel?.addEventListener("message", ({ data }: MessageEvent<Schemas["QueueTokenResponse"]>) => {
  if (session.value?.queueTokens[data.concertId] === data.queueToken) accept(data, "tab");
});

/** Joins, or finds the place that the user has already. */
export async function join(concertId: number): Promise<void> {
  const body = await call("POST /queue/tokens", { body: { concertId } });
  setQueueToken(concertId, body.queueToken);
  accept(body, "server");
}

export async function leave(concertId: number): Promise<void> {
  const queueToken = session.value?.queueTokens[concertId];
  if (queueToken) {
    await call("DELETE /queue/tokens/current", { queueToken, anonymous: true }).catch((error: unknown) => {
      // It has ended anyway.
      if (!(error instanceof Failure) || error.passes) throw error;
    });
  }
  stop(concertId);
  setQueueToken(concertId, null);
}

/** Asks once, without waiting for the stream. */
export async function ask(concertId: number): Promise<void> {
  const queueToken = session.value?.queueTokens[concertId];
  if (queueToken) accept(await call("GET /queue/tokens/current", { queueToken, anonymous: true }), "server");
}

function stop(concertId: number): void {
  const queue = queueOf(concertId);
  queue.abort?.abort();
  queue.abort = null;
  queue.followed = null;
  queue.place.value = null;
}

function start(concertId: number, queueToken: string): void {
  const queue = queueOf(concertId);
  if (queue.followed === queueToken) return;
  const place = queue.place.peek();
  queue.abort?.abort();
  const abort = new AbortController();
  queue.abort = abort;
  queue.followed = queueToken;
  if (place?.queueToken !== queueToken) queue.place.value = null;
  const lose = (error: unknown): void => {
    if (!(error instanceof Failure) || abort.signal.aborted) return;
    queue.refused.value = error;
    // A token that the server doesn't know leads nowhere.
    if (error.status === 401 || error.status === 403) setQueueToken(concertId, null);
  };
  const follower = (): Promise<void> =>
    follow({
      url: "/api/v1/queue/tokens/current/events",
      headers: () => ({ "Queue-Token": queueToken }),
      onEvent: ({ event, data }) => {
        if (event !== "queue") return;
        const body = data as Schemas["QueueTokenResponse"];
        accept(body, "server");
        return !ENDED.has(body.status);
      },
      poll: async () => {
        const body = await call("GET /queue/tokens/current", { queueToken, anonymous: true });
        accept(body, "server");
        return ENDED.has(body.status) ? -1 : body.pollAfterSeconds;
      },
      onState: (state) => (queue.state.value = state),
      signal: abort.signal,
    }).catch(lose);
  // A browser opens six connections to a server at most: one tab's stream has to do for all of them.
  if (navigator.locks) {
    ask(concertId).catch(lose);
    navigator.locks.request(`queue-${concertId}`, { signal: abort.signal }, follower).catch(() => {});
  } else {
    void follower();
  }
}

/** Follows a place anew that the server refused to tell. */
export function followAgain(concertId: number): void {
  const queueToken = session.value?.queueTokens[concertId];
  const queue = queueOf(concertId);
  queue.followed = null;
  queue.refused.value = null;
  if (queueToken) start(concertId, queueToken);
}

// Every concert that the login has joined is followed, whichever view is open: a turn must not be missed.
effect(() => {
  const tokens = session.value?.queueTokens ?? {};
  for (const [concertId, token] of Object.entries(tokens)) start(Number(concertId), token);
  for (const [concertId, queue] of queues) if (queue.followed && !tokens[concertId]) stop(concertId);
});

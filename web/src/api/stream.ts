// Server-sent events over fetch: EventSource can't send the headers Authorization and Queue-Token.

import { Failure, failureOf, pause, send } from "./client";

export interface StreamEvent {
  event: string;
  id: string | undefined;
  data: unknown;
}

export interface Follower {
  url: string;
  headers: () => Record<string, string>;
  /** Returning false ends the stream for good. */
  onEvent: (event: StreamEvent) => boolean | void;
  /** Asked instead while a stream gives nothing, as behind a proxy that keeps it back. Returns the pause in seconds. */
  poll: () => Promise<number>;
  onState?: (state: "stream" | "poll" | "lost") => void;
  signal: AbortSignal;
}

/** The server sends a comment every 15 seconds: a stream that is silent for longer is dead. */
const SILENCE_MILLISECONDS = 40_000;
/** The first bytes come at once, unless something on the way keeps them back. */
const FIRST_BYTES_MILLISECONDS = 6_000;
/** For how long polling replaces a stream before the next try. */
const POLLING_MILLISECONDS = 60_000;

/** Follows a stream until it ends for good. Throws the server's refusal. */
export async function follow(follower: Follower): Promise<void> {
  const { signal, onState } = follower;
  let lastEventId = "";
  let failures = 0;
  const seen = (event: StreamEvent): boolean | void => {
    lastEventId = event.id ?? lastEventId;
    failures = 0;
    onState?.("stream");
    return follower.onEvent(event);
  };
  while (!signal.aborted) {
    try {
      const headers = { ...follower.headers(), ...(lastEventId && { "Last-Event-ID": lastEventId }) };
      if ((await readOnce(follower.url, headers, seen, signal)) === "done") return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Failure && error.isFinal) throw error;
    }
    failures += 1;
    if (failures >= 2) {
      if (await pollFor(POLLING_MILLISECONDS, follower)) return;
      failures = 1;
    } else {
      await pause(300 + 700 * Math.random(), signal).catch(() => {});
    }
  }
}

/** Polls for a while; true when what was polled has ended. */
async function pollFor(milliseconds: number, { poll, onState, signal }: Follower): Promise<boolean> {
  const end = performance.now() + milliseconds;
  let failures = 0;
  while (!signal.aborted && performance.now() < end) {
    let seconds: number;
    try {
      seconds = await poll();
      // Whoever answers a poll after an outage has streams again, too.
      if (failures > 0) return false;
      onState?.("poll");
    } catch (error) {
      if (signal.aborted) return true;
      if (!(error instanceof Failure) || error.isFinal) throw error;
      failures += 1;
      onState?.("lost");
      seconds = error.retryAfterSeconds ?? Math.min(0.5 * 2 ** failures, 8);
    }
    if (seconds < 0) return true;
    await pause(1000 * seconds * (0.9 + 0.2 * Math.random()), signal).catch(() => {});
  }
  return signal.aborted;
}

async function readOnce(
  url: string,
  headers: Record<string, string>,
  onEvent: (event: StreamEvent) => boolean | void,
  signal: AbortSignal,
): Promise<"done" | "broken"> {
  const abort = new AbortController();
  const stop = (): void => abort.abort();
  signal.addEventListener("abort", stop, { once: true });
  let watchdog = setTimeout(stop, FIRST_BYTES_MILLISECONDS);
  try {
    const response = await send(url, { headers, signal: abort.signal, cache: "no-store" });
    // What was followed has ended.
    if (response.status === 204) return "done";
    if (!response.ok || !response.body) throw await failureOf(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return "broken";
      clearTimeout(watchdog);
      watchdog = setTimeout(stop, SILENCE_MILLISECONDS);
      // A snapshot of a large house comes in many pieces: only what is new is searched.
      const from = Math.max(0, text.length - 1);
      text += value;
      for (let end = text.indexOf("\n\n", from); end >= 0; end = text.indexOf("\n\n")) {
        const event = parse(text.slice(0, end));
        text = text.slice(end + 2);
        if (event && onEvent(event) === false) {
          await reader.cancel();
          return "done";
        }
      }
    }
  } catch (error) {
    if (abort.signal.aborted && !signal.aborted) return "broken";
    throw error;
  } finally {
    clearTimeout(watchdog);
    signal.removeEventListener("abort", stop);
    abort.abort();
  }
}

/** One event; null for a comment, which only shows that the connection lives. */
function parse(part: string): StreamEvent | null {
  let event = "message";
  let id: string | undefined;
  let data = "";
  for (const line of part.split("\n")) {
    const colon = line.indexOf(":");
    const value = line.slice(colon + 1).trimStart();
    const field = line.slice(0, colon);
    if (field === "event") event = value;
    else if (field === "id") id = value;
    else if (field === "data") data += value;
  }
  return data === "" ? null : { event, id, data: JSON.parse(data) };
}

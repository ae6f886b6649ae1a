// An administrator's view of a house: the same seats without a queue token, asked for again and again.

import { signal } from "@preact/signals";
import { Failure, call, pause } from "./client";
import { House, type FollowedHouse } from "./seats";

const INTERVAL_MILLISECONDS = 2_000;

/** Follows a performance's seats as an administrator. Unchanged seats cost one 304, which the browser's cache answers. */
export function watchHouse(performanceId: number): FollowedHouse & { now: () => Promise<void> } {
  const house = signal<House | null>(null);
  const state = signal<"stream" | "poll" | "lost">("poll");
  const refused = signal<Failure | null>(null);
  const abort = new AbortController();
  const read = async (): Promise<void> => {
    const map = await call("GET /admin/performances/{performanceId}/seats", { path: { performanceId }, signal: abort.signal });
    const current = house.peek();
    if (current?.covers(map)) current.apply(map.seats);
    else house.value = new House(map);
    state.value = "poll";
  };
  const run = async (): Promise<void> => {
    while (!abort.signal.aborted) {
      try {
        if (document.visibilityState === "visible") await read();
      } catch (error) {
        if (abort.signal.aborted || !(error instanceof Failure)) return;
        if (error.isFinal) {
          refused.value = error;
          return;
        }
        state.value = "lost";
      }
      await pause(INTERVAL_MILLISECONDS, abort.signal).catch(() => {});
    }
  };
  void run();
  return { house, state, refused, stop: () => abort.abort(), now: read };
}

// A performance's seats as columns of numbers, kept current by the stream: 100,000 of them are 100,000 bytes of status.

import { batch, signal } from "@preact/signals";
import { Failure, call, type Schemas } from "./client";
import { follow } from "./stream";

export type SeatMap = Schemas["SeatMapResponse"];
export type Seat = Omit<Schemas["SeatResponse"], "status">;
export type SeatStatus = Schemas["SeatStatus"];

export const STATUSES = ["AVAILABLE", "HELD", "SOLD", "BLOCKED"] as const;
export const AVAILABLE = 0;

const codeOf = (status: string): number => Math.max(0, STATUSES.indexOf(status as (typeof STATUSES)[number]));

export class House {
  readonly seats: readonly Seat[];
  readonly status: Uint8Array;
  readonly index = new Map<number, number>();
  /** Counts the changes, so that views know of them. */
  readonly version = signal(0);
  readonly counts = signal<readonly number[]>([0, 0, 0, 0]);
  private readonly listeners = new Set<(changed: readonly number[] | null) => void>();

  constructor(map: SeatMap) {
    this.seats = map.seats;
    this.status = new Uint8Array(map.seats.length);
    map.seats.forEach((seat, at) => {
      this.index.set(seat.seatId, at);
      this.status[at] = codeOf(seat.status);
    });
    this.recount();
  }

  /** Whether a snapshot is of the same seats, so that the plan can stay. */
  covers(map: SeatMap): boolean {
    return map.seats.length === this.seats.length && map.seats[0]?.seatId === this.seats[0]?.seatId;
  }

  apply(changes: readonly { seatId: number; status: string }[]): void {
    const changed: number[] = [];
    for (const { seatId, status } of changes) {
      const at = this.index.get(seatId);
      if (at === undefined || this.status[at] === codeOf(status)) continue;
      this.status[at] = codeOf(status);
      changed.push(at);
    }
    if (changed.length === 0) return;
    this.recount();
    this.version.value += 1;
    for (const listener of this.listeners) listener(changed);
  }

  listen(listener: (changed: readonly number[] | null) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private recount(): void {
    const counts = [0, 0, 0, 0];
    for (const code of this.status) counts[code]! += 1;
    this.counts.value = counts;
  }
}

export interface FollowedHouse {
  house: ReturnType<typeof signal<House | null>>;
  state: ReturnType<typeof signal<"stream" | "poll" | "lost">>;
  refused: ReturnType<typeof signal<Failure | null>>;
  stop: () => void;
}

/** Follows a performance's seats while the tab is visible; a hidden tab gives its connection back. */
export function followHouse(performanceId: number, queueToken: string): FollowedHouse {
  const house = signal<House | null>(null);
  const state = signal<"stream" | "poll" | "lost">("stream");
  const refused = signal<Failure | null>(null);
  let abort: AbortController | null = null;

  const take = (map: SeatMap): void => {
    const current = house.value;
    batch(() => {
      if (current?.covers(map)) current.apply(map.seats);
      else house.value = new House(map);
    });
  };
  const begin = (): void => {
    if (abort || refused.value) return;
    abort = new AbortController();
    const { signal: ends } = abort;
    follow({
      url: `/api/v1/performances/${performanceId}/seats/events`,
      headers: () => ({ "Queue-Token": queueToken }),
      onEvent: ({ event, data }) => {
        if (event === "snapshot") take(data as SeatMap);
        else if (event === "seats") house.value?.apply((data as { changed: { seatId: number; status: string }[] }).changed);
      },
      poll: async () => {
        take(await call("GET /performances/{performanceId}/seats", { path: { performanceId }, queueToken, signal: ends }));
        return 3;
      },
      onState: (next) => (state.value = next),
      signal: ends,
    }).catch((error: unknown) => {
      if (error instanceof Failure && !ends.aborted) refused.value = error;
    });
  };
  const end = (): void => {
    abort?.abort();
    abort = null;
  };
  const onVisibility = (): void => (document.visibilityState === "visible" ? begin() : end());
  document.addEventListener("visibilitychange", onVisibility);
  onVisibility();
  return {
    house,
    state,
    refused,
    stop: () => {
      document.removeEventListener("visibilitychange", onVisibility);
      end();
    },
  };
}

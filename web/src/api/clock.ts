// Deadlines by the server's clock: an answer says how many seconds are left, and a monotonic clock counts from there.
// This computer's own clock may be wrong, and plays no part. Views ask the server again when a computer wakes up.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

/** How far the server's clock is ahead of this computer's; null until an answer has told. */
let aheadMilliseconds: number | null = null;

/** Learns the server's time from an answer. One that was kept somewhere tells an older time, so the latest counts. */
export function noteServerTime(date: string | null): void {
  const ahead = Date.parse(date ?? "") - Date.now();
  if (!Number.isNaN(ahead)) aheadMilliseconds = Math.max(ahead, aheadMilliseconds ?? ahead);
}

/** The server's time of day, to a second or so. */
export const serverNow = (): number => Date.now() + (aheadMilliseconds ?? 0);

/** An instant of `performance.now()`. */
export type Deadline = number;

export function deadlineIn(seconds: number | null | undefined): Deadline | null {
  return seconds === null || seconds === undefined ? null : performance.now() + seconds * 1000;
}

export function secondsUntil(deadline: Deadline): number {
  return Math.max(0, Math.ceil((deadline - performance.now()) / 1000));
}

/** The seconds left, counted down; null without a deadline. Calls `onEnd` once when they are over. */
export function useCountdown(deadline: Deadline | null, onEnd?: () => void): number | null {
  const [, setTick] = useState(0);
  useEffect(() => {
    if (deadline === null) return;
    const tick = (): void => {
      setTick((count) => count + 1);
      if (secondsUntil(deadline) > 0) return;
      clearInterval(timer);
      onEnd?.();
    };
    const timer = setInterval(tick, 250);
    tick();
    return () => clearInterval(timer);
  }, [deadline]);
  return deadline === null ? null : secondsUntil(deadline);
}

/**
 * The deadline of answers that say how many whole seconds are left. Each says up to a second too little, so of the answers
 * about one deadline, which `key` names, the latest counts.
 */
export function useDeadline(key: string | null | undefined, secondsLeft: number | null | undefined, answer: unknown): Deadline | null {
  const known = useRef<{ key: string | null | undefined; at: Deadline | null }>({ key: null, at: null });
  return useMemo(() => {
    const at = deadlineIn(secondsLeft);
    const earlier = known.current.key === key ? known.current.at : null;
    const best = at === null ? null : Math.max(at, earlier ?? at);
    known.current = { key, at: best };
    return best;
  }, [answer]);
}

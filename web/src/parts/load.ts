// Reading from the API in a view: once, again after a failure, and again when the tab is looked at anew.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Failure, pause } from "../api/client";

export interface Loaded<T> {
  data: T | null;
  error: unknown;
  loading: boolean;
  reload: () => void;
  set: (data: T) => void;
}

interface Options {
  /** Reads again this often while the tab is visible. */
  everySeconds?: number;
  /** Reads again when the tab becomes visible. */
  onReturn?: boolean;
}

/** Loads when `key` changes; null loads nothing. What was lost on the way is asked for again by itself. */
export function useLoad<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>, options: Options = {}): Loaded<T> {
  const [state, setState] = useState<{ key: string | null; data: T | null; error: unknown }>({ key, data: null, error: null });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    if (key === null) return;
    const abort = new AbortController();
    const run = async (): Promise<void> => {
      for (let count = 1; !abort.signal.aborted; count++) {
        try {
          const data = await latest.current(abort.signal);
          if (!abort.signal.aborted) setState({ key, data, error: null });
          if (!options.everySeconds) return;
          await pause(options.everySeconds * 1000, abort.signal);
          count = 0;
          await visible(abort.signal);
        } catch (error) {
          if (abort.signal.aborted) return;
          setState((earlier) => ({ key, data: earlier.key === key ? earlier.data : null, error }));
          // What is read again and again outlives a fault of the server, too.
          if (!(error instanceof Failure) || error.isFinal || !(error.passes || options.everySeconds)) return;
          await pause(Math.min(500 * 2 ** count, 8000), abort.signal).catch(() => {});
        }
      }
    };
    void run();
    return () => abort.abort();
  }, [key, turn]);
  const reload = useCallback(() => setTurn((count) => count + 1), []);
  useEffect(() => {
    if (!options.onReturn) return;
    const onVisibility = (): void => {
      if (document.visibilityState === "visible") reload();
    };
    document.addEventListener("visibilitychange", onVisibility);
    return () => document.removeEventListener("visibilitychange", onVisibility);
  }, []);
  const current = state.key === key;
  const set = useCallback((data: T) => setState({ key, data, error: null }), [key]);
  return {
    data: current ? state.data : null,
    error: current ? state.error : null,
    loading: key !== null && (!current || (state.data === null && state.error === null)),
    reload,
    set,
  };
}

function visible(signal: AbortSignal): Promise<void> {
  if (document.visibilityState === "visible") return Promise.resolve();
  return new Promise((resolve, reject) => {
    document.addEventListener("visibilitychange", () => resolve(), { once: true, signal });
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Runs an action once at a time, and keeps its failure. */
export function useAction<A extends unknown[]>(action: (...given: A) => Promise<unknown>): {
  run: (...given: A) => Promise<void>;
  busy: boolean;
  error: unknown;
  done: boolean;
  reset: () => void;
} {
  const [state, setState] = useState<{ busy: boolean; error: unknown; done: boolean }>({ busy: false, error: null, done: false });
  const running = useRef(false);
  const run = async (...given: A): Promise<void> => {
    if (running.current) return;
    running.current = true;
    setState({ busy: true, error: null, done: false });
    try {
      await action(...given);
      setState({ busy: false, error: null, done: true });
    } catch (error) {
      setState({ busy: false, error, done: false });
    } finally {
      running.current = false;
    }
  };
  return { ...state, run, reset: () => setState({ busy: false, error: null, done: false }) };
}

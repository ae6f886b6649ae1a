// Titles and dates for what names a concert or performance by its id alone. They hardly change, so they are asked for once.

import { useEffect, useState } from "preact/hooks";
import { call, type Schemas } from "../api/client";

type Concert = Schemas["ConcertDetailsResponse"];
type Performance = Schemas["PerformanceResponse"];

function cached<T>(load: (id: number) => Promise<T>): (id: number) => Promise<T> {
  const known = new Map<number, Promise<T>>();
  return (id) => {
    let promise = known.get(id);
    if (!promise) {
      promise = load(id);
      known.set(id, promise);
      promise.catch(() => known.delete(id));
    }
    return promise;
  };
}

const concertOf = cached((concertId) => call("GET /concerts/{concertId}", { path: { concertId }, anonymous: true }));
const performanceOf = cached((performanceId) =>
  call("GET /performances/{performanceId}", { path: { performanceId }, anonymous: true }));

function useCached<T>(load: (id: number) => Promise<T>, id: number | null | undefined): T | null {
  const [value, setValue] = useState<{ id: number; value: T } | null>(null);
  useEffect(() => {
    if (id === null || id === undefined) return;
    let current = true;
    load(id).then((loaded) => current && setValue({ id, value: loaded }), () => {});
    return () => {
      current = false;
    };
  }, [id]);
  return value && value.id === id ? value.value : null;
}

export const useConcert = (id: number | null | undefined): Concert | null => useCached(concertOf, id);
export const usePerformance = (id: number | null | undefined): Performance | null => useCached(performanceOf, id);

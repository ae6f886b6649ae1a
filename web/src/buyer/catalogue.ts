// Titles and dates for what names a concert or performance by its id alone. They hardly change, so they are asked for once.

import { call, type Schemas } from "../api/client";
import { useLoad, type Loaded } from "../parts/load";

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

function useCached<T>(load: (id: number) => Promise<T>, id: number | null | undefined): Loaded<T> {
  return useLoad(id === null || id === undefined ? null : `${id}`, () => load(id!));
}

export const useConcert = (id: number | null | undefined): Concert | null => useCached(concertOf, id).data;
export const usePerformance = (id: number | null | undefined): Performance | null => useCached(performanceOf, id).data;

/** The performance, or why there is none. */
export const useLoadedPerformance = (id: number): Loaded<Performance> => useCached(performanceOf, id);

// Where the visitor is: the address's fragment, so that every path but / stays the API's.

import { signal } from "@preact/signals";

export interface Place {
  /** The parts of the path, such as `["concerts", "1"]`. */
  parts: string[];
  query: URLSearchParams;
}

/** Anyone can write an address: what can't be decoded stays as it is. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function read(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

export const place = signal<Place>(read());

addEventListener("hashchange", () => {
  place.value = read();
});

export const path = (): string => location.hash.replace(/^#/, "") || "/";

export function go(to: string): void {
  location.hash = to;
}

/** Replaces the address without a new entry in the history. */
export function replace(to: string): void {
  history.replaceState(null, "", `/#${to}`);
  place.value = read();
}

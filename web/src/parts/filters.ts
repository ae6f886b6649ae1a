// The fields of a search, kept in the address: they survive a reload, and follow the browser's way back and forth.

import { useEffect, useRef, useState } from "preact/hooks";
import { place, replace, type Place } from "../router";

export interface Filters<N extends string> {
  /** What the fields show. */
  fields: Record<N, string>;
  /** What the address says: what is searched for. */
  searched: Record<N, string>;
  change: (part: Partial<Record<N, string>>) => void;
  /** Searches at once. */
  submit: () => void;
}

/** What is typed reaches the address once it has been left alone for a moment: a search per letter would be too many. */
const PAUSE_MILLISECONDS = 250;

export function useFilters<N extends string>(names: readonly N[]): Filters<N> {
  const at = place.value;
  const searched = Object.fromEntries(names.map((name) => [name, at.query.get(name) ?? ""])) as Record<N, string>;
  // What was typed over an address is forgotten when another one comes.
  const [draft, setDraft] = useState<{ over: Place; fields: Record<N, string> } | null>(null);
  const fields = draft?.over === at ? draft.fields : searched;
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), [at]);
  const write = (next: Record<N, string>): void => {
    clearTimeout(timer.current);
    if (place.peek() !== at) return;
    const query = new URLSearchParams((Object.entries(next) as [string, string][]).filter(([, value]) => value)).toString();
    replace(`/${at.parts.join("/")}${query && `?${query}`}`);
  };
  const change = (part: Partial<Record<N, string>>): void => {
    const next = { ...fields, ...part };
    setDraft({ over: at, fields: next });
    clearTimeout(timer.current);
    timer.current = setTimeout(() => write(next), PAUSE_MILLISECONDS);
  };
  return { fields, searched, change, submit: () => write(fields) };
}

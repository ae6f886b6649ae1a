// Lists that continue: each page is fetched when it is asked for, and a list that is read again keeps its length.

import { useRef } from "preact/hooks";
import { Failure } from "../api/client";
import { t } from "../language";
import { useAction, useLoad, type Loaded } from "./load";
import { Button, Skeleton, Trouble, explain } from "./basics";

interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

export interface Pages<T> {
  items: T[] | null;
  first: Loaded<Page<T>>;
  reload: () => void;
  /** The button that fetches the next page, or nothing. */
  more: preact.JSX.Element | null;
}

export function usePages<T>(
  key: string | null,
  load: (cursor: string | undefined, signal?: AbortSignal) => Promise<{ items: T[]; nextCursor?: string | null | undefined }>,
  everySeconds?: number,
): Pages<T> {
  const shown = useRef<{ key: string | null; pages: number }>({ key, pages: 1 });
  if (shown.current.key !== key) shown.current = { key, pages: 1 };
  const read = async (signal: AbortSignal): Promise<Page<T>> => {
    const all: Page<T> = { items: [], nextCursor: null };
    for (let page = 0; page < shown.current.pages; page++) {
      const { items, nextCursor } = await load(all.nextCursor ?? undefined, signal);
      all.items.push(...items);
      all.nextCursor = nextCursor ?? null;
      if (all.nextCursor === null) break;
    }
    return all;
  };
  const first = useLoad(key, read, everySeconds ? { everySeconds } : { onReturn: true });
  const { data } = first;
  const { run, busy, error } = useAction(async () => {
    if (!data?.nextCursor) return;
    const { items, nextCursor } = await load(data.nextCursor);
    if (shown.current.key !== key) return;
    shown.current.pages += 1;
    first.set({ items: [...data.items, ...items], nextCursor: nextCursor ?? null });
  });
  const more = !data?.nextCursor ? null : (
    <div class="more">
      {error ? <Trouble error={error} /> : null}
      <Button busy={busy} onClick={() => void run()}>{t().common.more}</Button>
    </div>
  );
  return { items: data?.items ?? null, first, reload: first.reload, more };
}

/** What stands in place of a list: that it is loading, that it can't be read, or that it is empty. */
export function ListState<T>({ of: { items, first, reload }, none, lines = 3 }: {
  of: Pages<T>;
  none?: preact.ComponentChildren;
  lines?: number;
}) {
  if (first.loading) return <Skeleton lines={lines} />;
  if (items) return items.length === 0 && none ? <div class="empty" role="status">{none}</div> : null;
  const { error } = first;
  // Nobody and nothing of this name: not a fault, but an empty list.
  if (error instanceof Failure && error.status === 404) return <div class="empty" role="status">{explain(error)}</div>;
  return error ? <Trouble error={error} retry={reload} /> : null;
}

/** Says to a screen reader what a search has found: its results come without a press. */
export function Found<T>({ of: { items, more } }: { of: Pages<T> }) {
  return <p class="visually-hidden" role="status">{items && items.length > 0 ? t().common.found(items.length, more !== null) : ""}</p>;
}

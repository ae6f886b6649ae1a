// Lists that continue: each page is fetched when it is asked for.

import { useState } from "preact/hooks";
import { t } from "../language";
import { useAction, useLoad, type Loaded } from "./load";
import { Button, Trouble } from "./basics";

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
  const normal = async (cursor: string | undefined, signal?: AbortSignal): Promise<Page<T>> => {
    const { items, nextCursor } = await load(cursor, signal);
    return { items, nextCursor: nextCursor ?? null };
  };
  const first = useLoad(key, (signal) => normal(undefined, signal), everySeconds ? { everySeconds } : { onReturn: true });
  const [rest, setRest] = useState<{ of: string | null; items: T[]; next: string | null }>({ of: null, items: [], next: null });
  // A first page that was read again is followed by the same pages as long as it ends at the same place.
  const continued = rest.of !== null && rest.of === first.data?.nextCursor;
  const next = continued ? rest.next : (first.data?.nextCursor ?? null);
  const { run, busy, error } = useAction(async () => {
    const page = await normal(next ?? undefined);
    setRest({ of: first.data?.nextCursor ?? null, items: [...(continued ? rest.items : []), ...page.items], next: page.nextCursor });
  });
  const more = next === null ? null : (
    <div class="more">
      {error ? <Trouble error={error} /> : null}
      <Button busy={busy} onClick={() => void run()}>{t().common.more}</Button>
    </div>
  );
  const items = first.data && [...first.data.items, ...(continued ? rest.items : [])];
  return { items, first, reload: first.reload, more };
}

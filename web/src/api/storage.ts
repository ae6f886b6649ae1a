// What a browser keeps for the page. One that refuses to keep anything gets a page that forgets at a reload.

type Kept = Pick<Storage, "getItem" | "setItem" | "removeItem">;

function open(find: () => Storage): Kept {
  try {
    const storage = find();
    storage.getItem("");
    return storage;
  } catch {
    const kept = new Map<string, string>();
    return {
      getItem: (name) => kept.get(name) ?? null,
      setItem: (name, value) => void kept.set(name, value),
      removeItem: (name) => void kept.delete(name),
    };
  }
}

/** Kept as long as the tab. */
export const tabStorage = open(() => sessionStorage);

/** Kept until the visitor clears it. */
export const lastingStorage = open(() => localStorage);

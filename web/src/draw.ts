// Recomputes a draw from what is public (docs/draw.md), with the browser's own cryptography.

export interface DrawResult {
  seedFits: boolean;
  countFits: boolean;
  orderFits: boolean;
  entrantCount: number;
  /** The drawn number of the visitor's own token; null for one from after the opening. */
  place: number | null;
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const unhex = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length: text.length / 2 }, (_, at) => Number.parseInt(text.slice(at * 2, at * 2 + 2), 16));
const sha256 = async (bytes: Uint8Array<ArrayBuffer>): Promise<string> => hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));

/** How many are computed at once: enough to be fast, few enough for the page to stay responsive. */
const AT_ONCE = 500;

export async function checkDraw(
  draw: { commitment: string; seed: string; entrantCount: number },
  entrants: readonly string[],
  queueToken: string | null,
  onProgress: (share: number) => void,
): Promise<DrawResult> {
  const seed = unhex(draw.seed);
  const seedFits = (await sha256(seed)) === draw.commitment;
  const key = await crypto.subtle.importKey("raw", seed, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const encoder = new TextEncoder();
  let orderFits = true;
  let earlier = "";
  for (let from = 0; from < entrants.length; from += AT_ONCE) {
    const some = entrants.slice(from, from + AT_ONCE);
    const macs = await Promise.all(some.map((it) => crypto.subtle.sign("HMAC", key, encoder.encode(it))));
    for (const mac of macs) {
      const text = hex(new Uint8Array(mac));
      orderFits &&= earlier < text;
      earlier = text;
    }
    onProgress(Math.min(1, (from + AT_ONCE) / entrants.length));
  }
  const own = queueToken ? entrants.indexOf(await sha256(encoder.encode(queueToken))) : -1;
  return {
    seedFits,
    countFits: entrants.length === draw.entrantCount,
    orderFits,
    entrantCount: entrants.length,
    place: own >= 0 ? own + 1 : null,
  };
}

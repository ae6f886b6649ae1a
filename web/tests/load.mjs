// How one instance bears the streams of many browsers: each has one of its place and one of the seats.
//
//   node web/tests/load.mjs [BROWSERS]   BASE_URL names a server with demo data; by default scripts/run's.

import { setTimeout as pause } from "node:timers/promises";

const base = process.env.BASE_URL ?? "http://127.0.0.1:8080";
const browsers = Number(process.argv[2] ?? 200);
const api = `${base}/api/v1`;

async function request(method, path, body, headers = {}) {
  const response = await fetch(api + path, {
    method,
    headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID(), ...headers },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

async function account(name) {
  const email = `load-${Date.now().toString(36)}-${name}@demo.example`;
  await request("POST", "/users", { email, password: "a-long-password-1", name: "Load" });
  const { accessToken } = await request("POST", "/auth/login", { email, password: "a-long-password-1" });
  return { Authorization: `Bearer ${accessToken}` };
}

const admin = await request("POST", "/auth/login", { email: "admin@demo.example", password: "demo-password-1" });
const adm = { Authorization: `Bearer ${admin.accessToken}` };
const { venueId } = await request("POST", "/admin/venues", { name: "Load hall", address: "Seoul" }, adm);
const { concertId } = await request("POST", "/admin/concerts", { title: "Load", artist: "Load", category: "POP" }, adm);
const sections = [{ name: "Floor", grade: "R", rows: 50, seatsPerRow: 40, price: "1000" }];
const { performanceId } = await request("POST", `/admin/concerts/${concertId}/performances`, {
  venueId, startsAt: new Date(Date.now() + 30 * 86_400_000).toISOString(), seating: { sections },
}, adm);
await request("PUT", `/admin/concerts/${concertId}/queue`, {
  mode: "OPEN", admitCount: 1000, admitIntervalSeconds: 1, maxActive: 10000, activeSeconds: 3600, claimSeconds: 600,
}, adm);

const buyers = [];
for (let from = 0; from < browsers; from += 10) {
  buyers.push(...await Promise.all(Array.from({ length: Math.min(10, browsers - from) }, async (_, at) => {
    const headers = await account(from + at);
    const { queueToken } = await request("POST", "/queue/tokens", { concertId }, headers);
    return { ...headers, "Queue-Token": queueToken };
  })));
}

let open = 0;
let ended = 0;
let snapshots = 0;
const arrivals = new Map();
const abort = new AbortController();

async function follow(path, headers) {
  const response = await fetch(api + path, { headers, signal: abort.signal });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  open += 1;
  let text = "";
  try {
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const event = text.slice(0, end);
        text = text.slice(end + 2);
        if (event.startsWith("event: snapshot")) snapshots += 1;
        else if (event.startsWith("event: seats")) {
          const now = performance.now();
          for (const { seatId, status } of JSON.parse(event.slice(event.indexOf("data: ") + 6)).changed) {
            if (status === "HELD") arrivals.get(seatId)?.push(now);
          }
        }
      }
    }
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  } finally {
    if (!abort.signal.aborted) ended += 1;
  }
}

const cpu = async () => {
  const text = await (await fetch(`${base}/metrics`)).text();
  return Number(/^process_cpu_seconds_total (\S+)/m.exec(text)?.[1] ?? 0);
};
const begun = performance.now();
const streams = buyers.flatMap((headers) => [
  follow("/queue/tokens/current/events", { "Queue-Token": headers["Queue-Token"] }),
  follow(`/performances/${performanceId}/seats/events`, headers),
]);
streams.forEach((it) => it.catch((error) => console.error(error.message)));
while (open < streams.length || snapshots < buyers.length) await pause(20);
const opened = performance.now() - begun;

const idleFrom = [await cpu(), performance.now()];
await pause(5_000);
const idle = (await cpu() - idleFrom[0]) / ((performance.now() - idleFrom[1]) / 1000);

const { seats } = await request("GET", `/performances/${performanceId}/seats`, undefined, buyers[0]);
const holds = [];
const busyFrom = [await cpu(), performance.now()];
for (let at = 0; at < Math.min(100, buyers.length); at++) {
  const { seatId } = seats[at * 7];
  arrivals.set(seatId, []);
  holds.push([seatId, performance.now()]);
  await request("POST", "/bookings", { performanceId, seatIds: [seatId] }, buyers[at]);
  await pause(20);
}
await pause(2_000);
const busy = (await cpu() - busyFrom[0]) / ((performance.now() - busyFrom[1]) / 1000);
const delays = holds.flatMap(([seatId, from]) => arrivals.get(seatId).map((at) => at - from)).sort((a, b) => a - b);
const lost = holds.length * buyers.length - delays.length;
const at = (share) => Math.round(delays[Math.min(delays.length - 1, Math.floor(delays.length * share))]);
console.log(`${streams.length} streams of ${buyers.length} browsers, open after ${Math.round(opened)} ms`);
console.log(`${holds.length} holds: seen by every stream after 50 % ${at(0.5)} ms, 99 % ${at(0.99)} ms, all ${at(1)} ms; not seen ${lost}`);
console.log(`processor: ${(idle * 100).toFixed(1)} % of one core idle, ${(busy * 100).toFixed(1)} % during the holds; streams that ended: ${ended}`);
abort.abort();
if (lost > 0 || ended > 0) process.exitCode = 1;

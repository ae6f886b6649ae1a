// Runs examples/clients/browser/follow.js in headless Chromium, on a page of another origin than the server's.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import puppeteer from "puppeteer-core";

const base = process.env.BASE_URL ?? "http://127.0.0.1:8080";
const snippet = await readFile(new URL("../../examples/clients/browser/follow.js", import.meta.url));

const pages = createServer((request, response) => {
  const isSnippet = request.url === "/follow.js";
  response.setHeader("Content-Type", isSnippet ? "text/javascript" : "text/html");
  response.end(isSnippet ? snippet : "<!doctype html><title>Another origin</title>");
});
await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  const seen = await page.evaluate(buy, base);
  console.log(JSON.stringify(seen));
  const good =
    seen.statuses.at(-1) === "ACTIVE" && seen.first === "snapshot" && seen.changed > 0 && seen.replayed === "true" &&
    seen.requestId !== null && seen.refused === "QUEUE_TOKEN_INVALID" && seen.cookies === "";
  if (!good) throw new Error("the browser saw something else");
} finally {
  await browser.close();
  pages.close();
}

/** What the page does; it runs in the browser. */
async function buy(base) {
  const { follow } = await import("/follow.js");
  const api = `${base}/api/v1`;
  const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
  const post = async (path, body, more = {}) => {
    const response = await fetch(api + path, {
      method: "POST",
      headers: { ...headers, ...more, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return { response, body: await response.json() };
  };
  const account = { email: `browser-${crypto.randomUUID()}@demo.example`, password: "browser-password-1" };
  await post("/users", { ...account, name: "Browser" });
  headers.Authorization = `Bearer ${(await post("/auth/login", account)).body.accessToken}`;
  const { items } = await (await fetch(`${api}/concerts`)).json();
  const { concertId } = items[0];
  const performances = await (await fetch(`${api}/concerts/${concertId}/performances?available=true`)).json();
  const { performanceId } = performances.items[0];
  const joined = await post("/queue/tokens", { concertId });
  headers["Queue-Token"] = joined.body.queueToken;

  const statuses = [];
  await follow(`${api}/queue/tokens/current/events`, {
    headers: { "Queue-Token": headers["Queue-Token"] },
    onEvent: ({ data }) => {
      statuses.push(data.status);
      return data.status === "WAITING";
    },
  });

  const key = { "Idempotency-Key": crypto.randomUUID() };
  let first, changed, hold;
  await follow(`${api}/performances/${performanceId}/seats/events`, {
    headers,
    onEvent: ({ event, data }) => {
      first ??= event;
      hold ??= post("/bookings", { performanceId, bestAvailable: { quantity: 2 } }, key);
      changed = data.changed?.length ?? 0;
      return event !== "seats";
    },
  });
  await hold;
  const again = await post("/bookings", { performanceId, bestAvailable: { quantity: 2 } }, key);

  let refused;
  await follow(`${api}/queue/tokens/current/events`, { headers: { "Queue-Token": "x" }, onEvent: () => {} }).catch(
    (error) => (refused = error.problem.code),
  );
  return {
    statuses,
    first,
    changed,
    refused,
    replayed: again.response.headers.get("Idempotency-Replayed"),
    requestId: again.response.headers.get("X-Request-Id"),
    cookies: document.cookie,
  };
}

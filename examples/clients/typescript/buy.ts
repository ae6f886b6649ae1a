// A complete purchase, with types from the server's own OpenAPI document: see README.md beside this folder.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type QueueToken = components["schemas"]["QueueTokenResponse"];

const api = createClient<paths>({ baseUrl: process.env["BASE_URL"] ?? "http://127.0.0.1:8080" });

// Headers that every request sends once their values are known. The API uses no cookies.
const tokens: Record<string, string> = {};
api.use({
  onRequest({ request }) {
    for (const [name, value] of Object.entries(tokens)) request.headers.set(name, value);
    return request;
  },
});

/** Returns the body of a successful response. A problem ends the program with its code. */
function expect<T>(answer: { data?: T; error?: { code: string; detail: string } }): T {
  if (answer.data === undefined) throw new Error(`${answer.error?.code}: ${answer.error?.detail}`);
  return answer.data;
}

async function logIn(): Promise<void> {
  const email = `example-${crypto.randomUUID()}@demo.example`;
  const password = "example-password-1";
  expect(await api.POST("/api/v1/users", { body: { email, password, name: "Example" } }));
  const login = expect(await api.POST("/api/v1/auth/login", { body: { email, password } }));
  tokens["Authorization"] = `Bearer ${login.accessToken}`;
}

/** Joins the queue of a concert and waits for admission. */
async function waitForTurn(concertId: number): Promise<void> {
  let place: QueueToken = expect(await api.POST("/api/v1/queue/tokens", { body: { concertId } }));
  tokens["Queue-Token"] = place.queueToken;
  while (place.status !== "ACTIVE") {
    if (place.status !== "WAITING" && place.status !== "SCHEDULED") throw new Error(`the place is ${place.status}`);
    const { pollAfterSeconds } = place;
    await new Promise((resolve) => setTimeout(resolve, pollAfterSeconds * 1000));
    place = expect(await api.GET("/api/v1/queue/tokens/current"));
  }
}

/** Pays for a booking. If the balance is too low, it charges the price first. */
async function pay(bookingId: string): Promise<string> {
  // A new idempotency key for each attempt. A request that is repeated with the same key has one effect.
  const attempt = () =>
    api.POST("/api/v1/payments", {
      params: { header: { "Idempotency-Key": crypto.randomUUID() } },
      body: { bookingId },
    });
  const first = await attempt();
  if (first.error === undefined) return first.data.paymentId;
  // The compiler derives the additional members of the problem from its code.
  if (first.error.code !== "INSUFFICIENT_POINTS") throw new Error(first.error.code);
  console.log(`the balance is ${first.error.balance}, needed are ${first.error.required}`);
  expect(
    await api.POST("/api/v1/points/charges", {
      params: { header: { "Idempotency-Key": crypto.randomUUID() } },
      body: { amount: first.error.required },
    }),
  );
  return expect(await attempt()).paymentId;
}

await logIn();
const concert = expect(await api.GET("/api/v1/concerts")).items.find((concert) => !concert.soldOut);
if (concert === undefined) throw new Error("no concert has seats left");
const { concertId } = concert;
const performance = expect(
  await api.GET("/api/v1/concerts/{concertId}/performances", {
    params: { path: { concertId }, query: { available: true } },
  }),
).items[0];
if (performance === undefined) throw new Error("no performance has seats left");
await waitForTurn(concertId);
const booking = expect(
  await api.POST("/api/v1/bookings", {
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: { performanceId: performance.performanceId, bestAvailable: { quantity: 2 } },
  }),
);
console.log(`held ${booking.seats.map((seat) => `${seat.section} ${seat.row}-${seat.number}`).join(", ")}`);
const paymentId = await pay(booking.bookingId);
const paid = expect(
  await api.GET("/api/v1/bookings/{bookingId}", { params: { path: { bookingId: booking.bookingId } } }),
);
console.log(`booking ${paid.bookingId} is ${paid.status}, by payment ${paymentId}`);
if (paid.status !== "CONFIRMED") throw new Error("it was not paid");

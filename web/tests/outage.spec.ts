import { Server, buyer, enter, expect, openList, seat, test } from "./stage";

test("a server that is killed and comes back costs neither the place nor the seats", async ({ browser, admin, databaseUrl }) => {
  const fragile = await Server.start(databaseUrl);
  try {
    const sale = await admin.sale();
    const waiting = await admin.sale({ queue: { mode: "PAUSED" } });
    const [one, two] = await Promise.all([buyer(browser, fragile.url, "1000000"), buyer(browser, fragile.url)]);
    await two.page.goto(fragile.url + waiting.path);
    await two.page.getByRole("button", { name: "Join the queue" }).click();
    await expect(two.page.locator(".queue-place")).toHaveText("1");
    await enter(one.page, fragile.url, sale);
    await openList(one.page);
    await seat(one.page, "Floor", "A", 1).click();

    await fragile.kill();
    await one.page.getByRole("button", { name: "Hold 1 seat" }).click();
    await expect(one.page.getByText("No connection.")).toBeVisible();
    await expect(two.page.getByText("connection lost, trying again")).toBeVisible();
    await fragile.run();

    // The hold goes on by itself, under the same key.
    await expect(one.page.getByRole("timer")).toBeVisible({ timeout: 30_000 });
    await expect(two.page.locator(".queue-place")).toHaveText("1");
    await expect(two.page.getByText("live")).toBeVisible({ timeout: 30_000 });
    await admin.queue(waiting.concertId, { mode: "QUEUE" });
    await expect(two.page.getByRole("heading", { name: "Choose your seats" })).toBeVisible({ timeout: 30_000 });
  } finally {
    await fragile.stop();
  }
});

test("a payment whose answer was lost is repeated, and taken once", async ({ browser, url, admin }) => {
  const sale = await admin.sale();
  const { page, api, context } = await buyer(browser, url, "1000000");
  await enter(page, url, sale);
  await openList(page);
  await seat(page, "Floor", "A", 1).click();
  await page.getByRole("button", { name: "Hold 1 seat" }).click();
  const keys: string[] = [];
  await context.route("**/api/v1/payments", async (route) => {
    keys.push((await route.request().headerValue("Idempotency-Key")) ?? "");
    const response = await route.fetch();
    // The server has paid; the first answer gets lost on the way.
    if (keys.length === 1) await route.abort();
    else await route.fulfill({ response });
  });
  await page.getByRole("button", { name: "Pay 150,000 P" }).click();
  await expect(page.getByRole("heading", { name: "Booked" })).toBeVisible();
  expect(keys.length).toBe(2);
  expect(keys[0]).toBe(keys[1]);
  expect((await api.get("/payments")).items.length).toBe(1);
  expect((await api.get("/points")).balance).toBe("850000");
});

test("a top-up whose answer was lost is finished after a reload, and charged once", async ({ browser, url }) => {
  const { page, api, context } = await buyer(browser, url);
  await page.getByRole("link", { name: "Points" }).click();
  await context.route("**/api/v1/points/charges", async (route) => {
    await route.fetch();
    await route.abort();
  });
  await page.getByRole("button", { name: "Top up", exact: true }).click();
  await expect(page.getByText("No connection.")).toBeVisible();
  await page.reload();
  await context.unroute("**/api/v1/points/charges");
  await expect(page.getByText("A top-up of 100,000 P wasn't confirmed.")).toBeVisible();
  await page.getByRole("button", { name: "Finish it" }).click();
  await expect(page.getByText("100,000 P were added.")).toBeVisible();
  expect((await api.get("/points")).balance).toBe("100000");
});

test("a server that asks for patience is asked again after it", async ({ page, context, url }) => {
  let refused = 0;
  await context.route("**/api/v1/concerts?*", async (route) => {
    refused += 1;
    if (refused > 2) return route.continue();
    await route.fulfill({
      status: 503,
      headers: { "Retry-After": "1", "Content-Type": "application/problem+json" },
      body: JSON.stringify({ code: "OVERLOADED", status: 503, title: "Overloaded" }),
    });
  });
  await page.goto(`${url}/`);
  await expect(page.getByText("Many people are here")).toBeVisible();
  await expect(page.getByRole("link", { name: /Spring in Seoul/ })).toBeVisible();
  await expect(page.getByText("Many people are here")).toHaveCount(0);
});

test("where a proxy keeps streams back, the place falls by polling", async ({ browser, url, admin }) => {
  const sale = await admin.sale({ queue: { mode: "PAUSED" } });
  const { page, context } = await buyer(browser, url);
  await context.route("**/events", (route) => route.abort());
  await page.goto(url + sale.path);
  await page.getByRole("button", { name: "Join the queue" }).click();
  await expect(page.getByText("asking now and then")).toBeVisible();
  await admin.queue(sale.concertId, { mode: "OPEN" });
  await expect(page.getByRole("heading", { name: "Choose your seats" })).toBeVisible({ timeout: 30_000 });
});

import { Server, buyer, enter, expect, logIn, openList, seat, test, type Api, type Page, type Sale } from "./stage";

let server: Server;

test.beforeAll(async () => {
  server = await Server.start(process.env.TEST_DATABASE_URL!, { PAYMENT_PROVIDER: "sandbox" });
});

test.afterAll(async () => server.stop());

/** Holds a seat that the buyer has no points for, and leaves for the provider's page. The address of the booking. */
async function leaveForPoints(page: Page, sale: Sale): Promise<string> {
  await enter(page, server.url, sale);
  await openList(page);
  await seat(page, "Floor", "A", 1).click();
  await page.getByRole("button", { name: "Hold 1 seat" }).click();
  await expect(page.getByText("150,000 P are missing.")).toBeVisible();
  const address = page.url();
  await page.getByRole("button", { name: "Top up 150,000 P" }).click();
  await expect(page.getByRole("heading", { name: "Payment sandbox" })).toBeVisible();
  return address;
}

const remembered = (page: Page): Promise<string | null> => page.evaluate(() => sessionStorage.getItem("top-up"));

test("points are bought on the provider's page, which leads back to them", async ({ browser }) => {
  const { page, api } = await buyer(browser, server.url);
  await page.getByRole("link", { name: "Points" }).click();
  await page.getByRole("button", { name: "Top up", exact: true }).click();
  await page.getByRole("button", { name: "Pay", exact: true }).click();
  await page.getByRole("link", { name: "Back to the shop" }).click();
  await expect(page).toHaveURL(`${server.url}/#/points`);
  await expect(page.getByText("Completed")).toBeVisible();
  await expect(page.locator(".balance")).toHaveText("100,000 P");
  expect((await api.get("/points")).balance).toBe("100000");
});

test("who buys points for held seats comes back to the seats, and pays them", async ({ browser, admin }) => {
  const sale = await admin.sale();
  const { page, api } = await buyer(browser, server.url);
  const booking = await leaveForPoints(page, sale);
  await page.getByRole("button", { name: "Pay", exact: true }).click();
  await page.getByRole("link", { name: "Back to the shop" }).click();
  await expect(page.getByText("150,000 P were added.")).toBeVisible();
  await expect(page.getByRole("timer")).toContainText(/[34]:\d\d/);
  await expect(page).toHaveURL(booking);
  expect(await remembered(page)).toBeNull();
  await page.reload();
  await expect(page).toHaveURL(booking);
  await page.getByRole("button", { name: "Pay 150,000 P" }).click();
  await expect(page.getByRole("heading", { name: "Booked" })).toBeVisible();
  expect((await api.get("/points/top-ups")).items.length).toBe(1);
});

test("a payment that is told late is waited for, also over a reload, and isn't asked for twice", async ({ browser, admin }) => {
  const sale = await admin.sale();
  const { page, api } = await buyer(browser, server.url);
  const booking = await leaveForPoints(page, sale);
  await page.getByRole("button", { name: /late or never/ }).click();
  await page.getByRole("link", { name: "Back to the shop" }).click();
  for (const reload of [false, true]) {
    if (reload) await page.reload();
    await expect(page.getByText("The payment is being confirmed")).toBeVisible();
    await expect(page.getByText("150,000 P are missing.")).toBeVisible();
    await expect(page.getByRole("button", { name: /^Top up/ })).toHaveCount(0);
  }
  // The server asks the provider after ten seconds.
  await expect(page.getByText("150,000 P were added.")).toBeVisible({ timeout: 40_000 });
  await expect(page).toHaveURL(booking);
  await expect(page.getByRole("button", { name: "Pay 150,000 P" })).toBeEnabled();
  expect((await api.get("/points/top-ups")).items.length).toBe(1);
});

test("a declined payment leads back to the seats, which can be paid otherwise", async ({ browser, admin }) => {
  const sale = await admin.sale();
  const { page } = await buyer(browser, server.url);
  const booking = await leaveForPoints(page, sale);
  await page.getByRole("button", { name: "Have the payment declined" }).click();
  await page.getByRole("link", { name: "Back to the shop" }).click();
  await expect(page.getByText("The payment for 150,000 P didn't succeed.")).toBeVisible();
  await expect(page).toHaveURL(booking);
  await page.getByRole("button", { name: "Top up 150,000 P" }).click();
  await page.getByRole("button", { name: "Pay", exact: true }).click();
  await page.getByRole("link", { name: "Back to the shop" }).click();
  await expect(page.getByText("150,000 P were added.")).toBeVisible();
});

test("who goes back from the provider without paying finds the seats, and so does a second tab", async ({ browser, admin }) => {
  const sale = await admin.sale();
  const { page, api, context } = await buyer(browser, server.url);
  const booking = await leaveForPoints(page, sale);
  const provider = page.url();
  await page.goBack();
  await expect(page).toHaveURL(booking);
  await expect(page.getByRole("timer")).toBeVisible();
  await expect(page.getByRole("button", { name: "Top up 150,000 P" })).toBeEnabled();
  // The provider's page leads into another tab, which remembers nothing: the seats are named there too.
  const second = await context.newPage();
  await second.goto(provider);
  await second.getByRole("button", { name: "Pay", exact: true }).click();
  await second.getByRole("link", { name: "Back to the shop" }).click();
  await expect(second).toHaveURL(`${server.url}/#/points`);
  await expect(second.locator(".balance")).toHaveText("150,000 P");
  await second.getByRole("link", { name: /1 seat held for you/ }).click();
  await expect(second.getByRole("timer")).toBeVisible();
  // Its own tab knows of the points once it is looked at again.
  await page.bringToFront();
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.getByRole("button", { name: "Pay 150,000 P" }).click();
  await expect(page.getByRole("heading", { name: "Booked" })).toBeVisible();
  expect((await api.get("/points")).balance).toBe("0");
});

/** Buys points through the API, and has the sandbox do with them what it is told. */
async function topUp(api: Api, amount: string, outcome: string): Promise<{ topUpId: string }> {
  const started = await api.post("/points/top-ups", { amount });
  await fetch(started.checkoutUrl, { method: "POST", body: new URLSearchParams({ outcome }), redirect: "manual" });
  return started;
}

test("an operator searches top-ups, looks at the payer, and sends a payment back", async ({ browser, page }) => {
  const one = await buyer(browser, server.url);
  const two = await buyer(browser, server.url);
  await topUp(one.api, "70000", "success");
  await topUp(one.api, "30000", "failure");
  await topUp(two.api, "20000", "success");
  await logIn(page, server.url, "admin@demo.example", "demo-password-1");
  await page.getByRole("link", { name: "Operator" }).click();
  await page.getByRole("link", { name: "Top-ups" }).click();
  const rows = page.locator(".rows > li");
  await expect(rows.filter({ hasText: two.api.email })).toHaveCount(1);
  await page.getByLabel("User: e-mail or id").fill(one.api.email);
  await expect(rows).toHaveCount(2);
  await page.getByLabel("Status").selectOption("COMPLETED");
  await expect(rows).toHaveCount(1);
  await expect(rows).toContainText("70,000 P");
  // The search survives a reload.
  await page.reload();
  await expect(rows).toHaveCount(1);
  await page.getByLabel("To", { exact: true }).fill("2000-01-01");
  await expect(page.getByText("No top-up matches.")).toBeVisible();
  await page.getByLabel("To", { exact: true }).fill("");
  await page.getByLabel("From", { exact: true }).fill("2000-01-01");
  await page.getByRole("button", { name: new RegExp(one.api.email) }).click();
  await page.getByLabel("Reason").fill("Paid by mistake");
  await page.getByRole("button", { name: /return the payment/ }).click();
  await expect(page.getByText("being paid back").or(page.getByText("Paid back")).first()).toBeVisible();
  expect((await one.api.get("/points")).balance).toBe("0");

  // The payer's address leads to the account, and from there back to its top-ups.
  await page.getByRole("link", { name: one.api.email }).click();
  await expect(page).toHaveURL(/#\/operator\/users\?query=/);
  await expect(rows).toHaveCount(1);
  await page.locator(".details").getByRole("link", { name: "Top-ups" }).click();
  await expect(rows).toHaveCount(2);
  await page.goBack();
  await expect(rows).toHaveCount(1);
  await page.goForward();
  await expect(rows).toHaveCount(2);
  await page.getByLabel("User: e-mail or id").fill("nobody@nowhere.example");
  await expect(page.getByText("There is no such account.")).toBeVisible();
});

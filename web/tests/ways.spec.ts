// Ways through the page that nobody means to go: addresses, other tabs, browsers that keep nothing.

import { Api, PASSWORD, buyer, enter, expect, logIn, openList, seat, test, unique, type Page } from "./stage";

/** Changes the address as a visitor who types, or a link. */
const visit = (page: Page, path: string): Promise<void> => page.evaluate((it) => void (location.hash = it), path);

test("a search of concerts follows the address, and the browser's ways back and forth", async ({ page, url, admin }) => {
  const [one, two] = [await admin.sale({ title: unique("First") }), await admin.sale({ title: unique("Second") })];
  const search = page.getByLabel("Title or artist");
  const cards = page.locator(".concert");
  await page.goto(`${url}/#/?query=${encodeURIComponent(one.title)}`);
  await expect(search).toHaveValue(one.title);
  await expect(cards).toHaveCount(1);
  await visit(page, `/?query=${encodeURIComponent(two.title)}&from=2001-01-01`);
  await expect(search).toHaveValue(two.title);
  await expect(page.getByLabel("From", { exact: true })).toHaveValue("2001-01-01");
  await expect(cards).toContainText(two.title);
  await page.goBack();
  await expect(search).toHaveValue(one.title);
  await expect(cards).toContainText(one.title);
  await page.goForward();
  await expect(search).toHaveValue(two.title);
  // What is typed becomes the address, and the way back from elsewhere leads to it.
  await search.fill(`${one.title} `);
  await expect(cards).toContainText(one.title);
  await cards.click();
  await expect(page.getByRole("heading", { name: one.title })).toBeVisible();
  await page.goBack();
  await expect(search).toHaveValue(`${one.title} `);
  await expect(cards).toHaveCount(1);
  await page.getByRole("link", { name: "Concerts", exact: true }).click();
  await expect(search).toHaveValue("");
  await visit(page, "/?from=2002-02-02&to=2001-01-01");
  await page.getByRole("button", { name: "Clear the search" }).click();
  await expect(cards.first()).toBeVisible();
  await expect(page).toHaveURL(`${url}/#/`);
});

test("an operator's searches follow the address, too", async ({ browser, page, url, admin }) => {
  const [one, two] = await Promise.all([buyer(browser, url), buyer(browser, url)]);
  const sale = await admin.sale();
  for (const { api } of [one, two]) {
    const token = { "Queue-Token": await api.join(sale.concertId) };
    await api.post("/bookings", { performanceId: sale.performanceId, bestAvailable: { quantity: 1 } }, token);
  }
  await logIn(page, url, "admin@demo.example", "demo-password-1");
  const rows = page.locator(".rows > li");
  for (const [view, field, label] of [["users", "query", "E-mail, name or id"], ["bookings", "user", "User: e-mail or id"]] as const) {
    await visit(page, `/operator/${view}?${field}=${one.api.email}`);
    await expect(page.getByLabel(label)).toHaveValue(one.api.email);
    await expect(rows).toHaveCount(1);
    await expect(rows).toContainText(one.api.email);
    await visit(page, `/operator/${view}?${field}=${two.api.email}`);
    await expect(rows).toContainText(two.api.email);
    await page.goBack();
    await expect(page.getByLabel(label)).toHaveValue(one.api.email);
    await expect(rows).toContainText(one.api.email);
  }
  await visit(page, `/operator/bookings?concertId=${sale.concertId}&status=PENDING`);
  await expect(rows).toHaveCount(2);
  await expect(page.getByLabel("Status")).toHaveValue("PENDING");
  await visit(page, `/operator/bookings?concertId=${sale.concertId}&status=NONSENSE`);
  await expect(page.getByLabel("Status")).toHaveValue("");
  await expect(rows).toHaveCount(2);
  await visit(page, "/operator/bookings?concertId=nonsense");
  await expect(page.getByText("This concert doesn't exist")).toBeVisible();
  await visit(page, "/operator/top-ups?from=2002-02-02&to=2001-01-01");
  await expect(page.getByText("must not be before from")).toBeVisible();
  await expect(page.getByRole("button", { name: "Try again" })).toHaveCount(0);
  // An account that is named by its id is opened.
  await visit(page, `/operator/users?query=${two.api.userId}`);
  await expect(rows).toHaveCount(1);
  await expect(page.locator(".details")).toBeVisible();
});

test("an address of something that doesn't exist leads on, and offers no second try", async ({ page, url, admin }) => {
  const [sale, other] = [await admin.sale(), await admin.sale()];
  await logIn(page, url, "admin@demo.example", "demo-password-1");
  for (const [path, way] of [
    ["/nonsense", "To the concerts"],
    ["/concerts/nonsense", "To the concerts"],
    ["/concerts/%E0%A4", "To the concerts"],
    ["/concerts/999999999", "To the concerts"],
    ["/concerts/999999999/performances/999999999", "To the concerts"],
    [`/concerts/${sale.concertId}/performances/999999999`, "To the concert's dates"],
    [`/concerts/${sale.concertId}/performances/${other.performanceId}`, "To the concert's dates"],
    ["/bookings/nonsense", "To my bookings"],
    ["/bookings/01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10", "To my bookings"],
    ["/operator/nonsense", "Sales"],
    ["/operator/concerts/999999999", "Sales"],
    ["/operator/concerts/nonsense", "Sales"],
    ["/operator/performances/999999999", "Sales"],
  ] as const) {
    await page.goto(`${url}/#${path}`);
    await expect(page.getByRole("heading", { name: "There is no such page." }), path).toBeVisible();
    await expect(page.locator("main .button"), path).toHaveText([way]);
  }
  await page.goto(`${url}/#/operator/users?query=01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10`);
  await expect(page.getByText("There is no such account.")).toBeVisible();
  await expect(page.getByRole("button", { name: "Try again" })).toHaveCount(0);
});

test("a view that fails keeps the ways out of it", async ({ page, url, admin }) => {
  const sale = await admin.sale();
  await page.route(`**/api/v1/concerts/${sale.concertId}`, (route) => route.fulfill({ json: {} }));
  await page.goto(`${url}/#/concerts/${sale.concertId}`);
  await expect(page.getByRole("heading", { name: "That didn't work" })).toBeVisible();
  await page.getByRole("link", { name: "To the concerts" }).click();
  await expect(page.getByRole("heading", { name: "Concerts" })).toBeVisible();
});

test("a browser that keeps nothing buys all the same", async ({ browser, url, admin }) => {
  const sale = await admin.sale();
  const api = await Api.account(url, "1000000");
  const context = await browser.newContext();
  await context.addInitScript(() => {
    for (const name of ["localStorage", "sessionStorage"]) {
      Object.defineProperty(window, name, { get: () => { throw new DOMException("denied", "SecurityError"); } });
    }
  });
  const page = await context.newPage();
  await logIn(page, url, api.email);
  await enter(page, url, sale);
  await page.getByRole("button", { name: "Find and hold" }).click();
  await page.getByRole("button", { name: /^Pay/ }).click();
  await expect(page.getByRole("heading", { name: "Booked" })).toBeVisible();
});

test("the browser's tab says which place one has, and that the turn has come", async ({ browser, url, admin }) => {
  const sale = await admin.sale({ queue: { mode: "PAUSED" } });
  const { page } = await buyer(browser, url);
  await page.goto(url + sale.path);
  await page.getByRole("button", { name: "Join the queue" }).click();
  await expect(page).toHaveTitle(`1 · ${sale.title} · Concert Reservation`);
  await page.getByRole("link", { name: "Account", exact: true }).click();
  await expect(page).toHaveTitle("Account · Concert Reservation");
  await admin.queue(sale.concertId, { mode: "OPEN" });
  await expect(page).toHaveTitle("It is your turn · Account · Concert Reservation");
  await expect(page.getByRole("status").filter({ hasText: `${sale.title}: It is your turn` })).toBeAttached();
});

test("the focus stays where one is when what was pressed goes", async ({ browser, url, admin }) => {
  const sale = await admin.sale();
  const { page } = await buyer(browser, url, "1000000");
  await enter(page, url, sale);
  await openList(page);
  await seat(page, "Floor", "A", 1).click();
  await seat(page, "Floor", "A", 2).click();
  await page.getByRole("button", { name: "Remove Floor, row A, seat 1" }).press("Enter");
  await expect(page.getByRole("heading", { name: "Your selection" })).toBeFocused();
  await page.getByRole("button", { name: "Hold 1 seat" }).press("Enter");
  const release = page.getByRole("button", { name: "Release the seats" });
  await release.press("Enter");
  await expect(page.getByText("The seats go back on sale. Release them?")).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(release).toBeFocused();
  await page.getByRole("button", { name: /^Pay/ }).press("Enter");
  await expect(page.getByRole("heading", { name: "Booked" })).toBeFocused();
});

test("a list that is read again after an action keeps its length", async ({ browser, url }) => {
  const { page, api } = await buyer(browser, url);
  for (let count = 0; count < 24; count++) await new Api(url).logIn(api.email, PASSWORD);
  await page.getByRole("link", { name: "Account", exact: true }).click();
  const devices = page.locator(".devices > li");
  await expect(devices).toHaveCount(20);
  await page.getByRole("button", { name: "Show more" }).click();
  await expect(devices).toHaveCount(26);
  await devices.nth(21).getByRole("button").click();
  await expect(devices).toHaveCount(25);
});

test("on a phone all of an operator's tabs are in sight, and each row of a table is a card", async ({ browser, url, admin }) => {
  await admin.sale();
  const context = await browser.newContext({ viewport: { width: 390, height: 844 } });
  const page = await context.newPage();
  await logIn(page, url, "admin@demo.example", "demo-password-1");
  await page.goto(`${url}/#/operator/actions`);
  await expect(page.locator("tbody tr").first()).toBeVisible();
  for (const tab of await page.locator(".subnav a").all()) await expect(tab).toBeInViewport({ ratio: 1 });
  const values = page.locator("tbody tr").first().locator("td:not(:empty)");
  const boxes = await Promise.all((await values.all()).map((it) => it.boundingBox()));
  for (const box of boxes) expect(box!.width).toBeGreaterThan(300);
  await expect(page.getByRole("cell").first()).toBeVisible();
  await expect(page.getByRole("columnheader", { name: "Of what" })).toBeAttached();
});

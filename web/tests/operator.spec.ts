import { buyer, enter, expect, logIn, openList, seat, test } from "./stage";

test("an operator pauses a sale while buyers wait, and lets them in again", async ({ browser, page, url, admin }) => {
  const sale = await admin.sale({ queue: { mode: "QUEUE", maxActive: 1 } });
  const [one, two] = await Promise.all([buyer(browser, url), buyer(browser, url)]);
  await enter(one.page, url, sale);
  await two.page.goto(url + sale.path);
  await two.page.getByRole("button", { name: "Join the queue" }).click();
  await expect(two.page.locator(".queue-place")).toHaveText("1");

  await logIn(page, url, "admin@demo.example", "demo-password-1");
  await page.getByRole("link", { name: "Operator" }).click();
  await page.getByRole("link", { name: new RegExp(sale.title) }).click();
  await expect(page.locator(".figure").first()).toContainText("1");
  await page.getByRole("button", { name: "Paused" }).click();
  await expect(page.locator(".tag.mode")).toHaveText("Paused");
  await expect(two.page.getByText("The sale is paused")).toBeVisible();
  await page.getByLabel("Active at most").fill("2");
  await page.getByRole("button", { name: "Apply" }).click();
  await expect(page.getByText("Applied.")).toBeVisible();
  await expect(two.page.locator(".queue-place")).toHaveText("1");
  await page.getByRole("button", { name: "Queue", exact: true }).click();
  await expect(two.page.getByRole("heading", { name: "Choose your seats" })).toBeVisible({ timeout: 30_000 });
});

test("an operator sees seats held and sold as it happens", async ({ browser, page, url, admin }) => {
  const sale = await admin.sale();
  await logIn(page, url, "admin@demo.example", "demo-password-1");
  await page.goto(`${url}/#/operator/concerts/${sale.concertId}`);
  const figure = (label: string) => page.locator(".figure", { has: page.getByText(label, { exact: true }) }).locator("strong");
  await expect(figure("Held")).toHaveText("0");
  const one = await buyer(browser, url, "1000000");
  await enter(one.page, url, sale);
  await openList(one.page);
  await seat(one.page, "Floor", "A", 1).click();
  await one.page.getByRole("button", { name: "Hold 1 seat" }).click();
  await expect(figure("Held")).toHaveText("1");
  await one.page.getByRole("button", { name: /^Pay/ }).click();
  await expect(figure("Sold")).toHaveText("1");
  await expect(figure("Revenue")).toHaveText("150,000 P");
  await page.getByRole("link", { name: "Open the house plan" }).click();
  await openList(page);
  await expect(seat(page, "Floor", "A", 1)).toHaveAccessibleName(/sold/);
});

test("an operator runs the audit, searches users, and reads the log", async ({ browser, page, url }) => {
  const { api } = await buyer(browser, url);
  const { email } = api;
  await logIn(page, url, "admin@demo.example", "demo-password-1");
  await page.getByRole("link", { name: "Operator" }).click();
  await page.getByRole("link", { name: "Audit" }).click();
  await page.getByRole("button", { name: "Run the audit" }).click();
  await expect(page.getByText("Every invariant holds.")).toBeVisible({ timeout: 60_000 });
  await page.getByRole("link", { name: "Users" }).click();
  await page.getByLabel("E-mail, name or id").fill(email);
  await expect(page.locator(".rows li")).toHaveCount(1);
  await page.getByRole("button", { name: new RegExp(email) }).click();
  await page.getByLabel("Reason").fill("A test of blocking");
  await page.getByRole("button", { name: "Block", exact: true }).click();
  await expect(page.locator(".rows .tag", { hasText: "Blocked" })).toBeVisible();
  await expect(api.get("/points")).rejects.toThrow();
  await page.getByRole("link", { name: "Log", exact: true }).click();
  await expect(page.getByText("A test of blocking").first()).toBeVisible();
});

test("a buyer has no way into the operator's part", async ({ browser, url }) => {
  const { page } = await buyer(browser, url);
  await expect(page.getByRole("link", { name: "Operator" })).toHaveCount(0);
  await page.goto(`${url}/#/operator`);
  await expect(page.getByRole("heading", { name: "This part is for administrators." })).toBeVisible();
  await page.getByRole("button", { name: "Log in as somebody else" }).click();
  await page.getByLabel("E-mail", { exact: true }).fill("admin@demo.example");
  await page.getByLabel("Password", { exact: true }).fill("demo-password-1");
  await page.getByRole("button", { name: "Log in" }).click();
  await expect(page.getByRole("heading", { name: "Sales" })).toBeVisible();
});

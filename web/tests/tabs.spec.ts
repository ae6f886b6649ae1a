import { buyer, enter, expect, test } from "./stage";

test("a second tab has the login and the place, and both end together", async ({ browser, url, admin }) => {
  const sale = await admin.sale({ queue: { mode: "PAUSED" } });
  const { page, context } = await buyer(browser, url);
  const streams = new Set<unknown>();
  context.on("request", (request) => request.url().endsWith("/current/events") && streams.add(request));
  await page.goto(url + sale.path);
  await page.getByRole("button", { name: "Join the queue" }).click();
  await expect(page.locator(".queue-place")).toHaveText("1");
  const second = await context.newPage();
  await second.goto(url + sale.path);
  await expect(second.locator(".queue-place")).toHaveText("1");
  await admin.queue(sale.concertId, { mode: "OPEN" });
  for (const tab of [page, second]) await expect(tab.getByRole("heading", { name: "Choose your seats" })).toBeVisible();
  // One tab follows the place for both.
  expect(streams.size).toBe(1);
  await second.getByRole("link", { name: "Account" }).click();
  await second.getByRole("button", { name: "Log out", exact: true }).first().click();
  await expect(page.getByRole("heading", { name: "Log in" })).toBeVisible();
});

test("a login that ended elsewhere asks for another, and goes on where it was", async ({ browser, url, admin }) => {
  const sale = await admin.sale();
  const { page, api } = await buyer(browser, url);
  await enter(page, url, sale);
  await api.request("DELETE", "/users/me/sessions");
  await page.reload();
  await expect(page.getByText("You have been logged out.")).toBeVisible();
  await page.getByLabel("E-mail", { exact: true }).fill(api.email);
  await page.getByLabel("Password", { exact: true }).fill("a-long-password-1");
  await page.getByRole("button", { name: "Log in" }).click();
  await expect(page.getByRole("button", { name: "Join the queue" })).toBeVisible();
  await page.getByRole("button", { name: "Join the queue" }).click();
  await expect(page.getByRole("heading", { name: "Choose your seats" })).toBeVisible();
});

import { buyer, enter, expect, openList, seat, test } from "./stage";

test("of two buyers who want one seat, one holds it and the other sees it go", async ({ browser, url, admin }) => {
  const sale = await admin.sale();
  const [one, two] = await Promise.all([buyer(browser, url), buyer(browser, url)]);
  for (const { page } of [one, two]) {
    await enter(page, url, sale);
    await openList(page);
    await seat(page, "Floor", "A", 5).click();
  }
  await seat(two.page, "Floor", "A", 6).click();
  await two.page.getByLabel("Seats", { exact: true }).selectOption("4");
  await one.page.getByRole("button", { name: "Hold 1 seat" }).click();
  await expect(one.page.getByRole("timer")).toBeVisible();
  // By the stream, without any press.
  await expect(two.page.getByText("A selected seat has just been taken by somebody else.")).toBeVisible();
  await expect(seat(two.page, "Floor", "A", 5)).toBeDisabled();
  await expect(two.page.locator(".picked li")).toHaveCount(1);
  // What somebody else does changes nothing that was chosen.
  await expect(two.page.getByLabel("Seats", { exact: true })).toHaveValue("4");
  await one.page.getByRole("button", { name: "Release the seats" }).click();
  await one.page.getByRole("button", { name: "Release the seats" }).click();
  await expect(one.page.getByRole("heading", { name: "Released" })).toBeVisible();
  await expect(seat(two.page, "Floor", "A", 5)).toBeEnabled();
});

test("a conflict that the stream hadn't shown yet is marked on the seats", async ({ browser, url, admin }) => {
  const sale = await admin.sale();
  const [one, two] = await Promise.all([buyer(browser, url), buyer(browser, url)]);
  // The second buyer's seats are read once, and are old from then on.
  let reads = 0;
  await two.context.route("**/seats/events", (route) => route.abort());
  await two.context.route(/\/seats$/, (route) => (reads++ === 0 ? route.continue() : route.abort()));
  await enter(two.page, url, sale);
  await openList(two.page);
  await seat(two.page, "Floor", "B", 1).click();
  await seat(two.page, "Floor", "B", 2).click();
  await enter(one.page, url, sale);
  await openList(one.page);
  await seat(one.page, "Floor", "B", 2).click();
  await one.page.getByRole("button", { name: "Hold 1 seat" }).click();
  await expect(one.page.getByRole("timer")).toBeVisible();
  const marked = two.page.locator(".seat.conflict");
  await two.page.getByRole("button", { name: /^Hold/ }).click();
  await expect(two.page.getByText(/have just been taken|has just been taken/)).toBeVisible();
  await expect(marked).toHaveText("2");
  // What is left is one press away.
  await two.page.getByRole("button", { name: "Hold 1 seat" }).click();
  await expect(two.page.getByRole("timer")).toBeVisible();
});

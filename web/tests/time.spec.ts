import { Server, buyer, enter, expect, openList, seat, test } from "./stage";

test("when the countdown ends the booking says so and leads back to the seats", async ({ browser, admin, databaseUrl }) => {
  const hasty = await Server.start(databaseUrl, { HOLD_SECONDS: "4" });
  try {
    const sale = await admin.sale();
    const { page } = await buyer(browser, hasty.url, "1000000");
    await enter(page, hasty.url, sale);
    await openList(page);
    await seat(page, "Floor", "A", 1).click();
    await page.getByRole("button", { name: "Hold 1 seat" }).click();
    await expect(page.getByRole("timer")).toContainText(/0:0[1-4]/);
    await expect(page.getByRole("heading", { name: "The time is over" })).toBeVisible();
    await page.getByRole("link", { name: "Choose seats again" }).click();
    await openList(page);
    await expect(seat(page, "Floor", "A", 1)).toBeEnabled();
  } finally {
    await hasty.stop();
  }
});

test("a wrong clock of the visitor's computer changes no countdown", async ({ browser, url, admin }) => {
  const sale = await admin.sale();
  const { page, context } = await buyer(browser, url);
  await context.addInitScript(() => {
    const real = Date.now;
    Date.now = () => real() + 3_600_000;
  });
  await enter(page, url, sale);
  await expect(page.locator(".timer")).toContainText(/9:\d\d/);
  await page.getByRole("button", { name: "Find and hold" }).click();
  await expect(page.getByRole("timer")).toContainText(/4:\d\d/);
});

test("the time to a sale's opening is the server's, whatever the visitor's clock says", async ({ browser, url, admin }) => {
  const sale = await admin.sale({ queue: { mode: "QUEUE", salesOpenAt: new Date(Date.now() + 1_800_000).toISOString() } });
  for (const skewMilliseconds of [-3_600_000, 3_600_000]) {
    const context = await browser.newContext();
    await context.addInitScript((skew) => {
      const real = Date.now;
      Date.now = () => real() + skew;
    }, skewMilliseconds);
    const page = await context.newPage();
    await page.goto(`${url}/#/concerts/${sale.concertId}`);
    await expect(page.getByText(/Opens in (29|30):\d\d/)).toBeVisible();
    await expect(page.getByRole("button", { name: "Enter the draw" })).toBeVisible();
  }
});

test("a turn that ends leads back into the queue", async ({ browser, url, admin }) => {
  const sale = await admin.sale({ queue: { mode: "OPEN", activeSeconds: 4 } });
  const { page } = await buyer(browser, url);
  await enter(page, url, sale);
  await expect(page.getByRole("heading", { name: "Your turn is over" })).toBeVisible();
  await page.getByRole("button", { name: "Join again" }).click();
  await expect(page.getByRole("heading", { name: "Choose your seats" })).toBeVisible();
});

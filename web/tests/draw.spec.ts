import { buyer, expect, test } from "./stage";

test("a buyer from before the opening checks the draw in the browser", async ({ browser, url, admin }) => {
  const early = await Promise.all([buyer(browser, url), buyer(browser, url)]);
  const opensAt = Date.now() + 12_000;
  const sale = await admin.sale({ queue: { mode: "QUEUE", salesOpenAt: new Date(opensAt).toISOString() } });
  for (const { page } of early) {
    await page.goto(`${url}/#/concerts/${sale.concertId}`);
    await page.getByRole("button", { name: "Enter the draw" }).click();
    await expect(page.getByText("You are in the draw")).toBeVisible();
  }
  const [{ page }] = early as [(typeof early)[0]];
  await expect(page.getByRole("heading", { name: "Choose your seats" })).toBeVisible({ timeout: 40_000 });
  await page.goto(`${url}/#/concerts/${sale.concertId}`);
  await page.getByRole("button", { name: "Check it here" }).click();
  await expect(page.getByText("The draw is right.")).toBeVisible();
  await expect(page.getByText(/You were drawn as number [12] of 2/)).toBeVisible();
});

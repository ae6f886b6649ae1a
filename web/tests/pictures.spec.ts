// Pictures of every view, wide and narrow, light and dark: PICTURES=yes, into .local/web/pictures or PICTURES_DIR.

import { fileURLToPath } from "node:url";
import { Api, enter, expect, logIn, test, type Page } from "./stage";

const folder = process.env.PICTURES_DIR ?? fileURLToPath(new URL("../../.local/web/pictures", import.meta.url));

test.skip(!process.env.PICTURES, "only when pictures are wanted");

for (const [scheme, width, height] of [["light", 1400, 900], ["dark", 1400, 900], ["light", 390, 844], ["dark", 390, 844]] as const) {
  test(`pictures: ${scheme}, ${width} px`, async ({ browser, url, admin }) => {
    test.setTimeout(240_000);
    const settings = { colorScheme: scheme, viewport: { width, height }, deviceScaleFactor: width < 500 ? 2 : 1, hasTouch: width < 500 };
    const context = await browser.newContext(settings);
    const page = await context.newPage();
    const take = async (of: Page, name: string, fullPage = true): Promise<void> => {
      await expect(of.locator(".skeleton")).toHaveCount(0);
      await of.screenshot({ path: `${folder}/${name}-${width}-${scheme}.png`, fullPage, animations: "disabled" });
    };
    const open = async (of: Page, path: string): Promise<void> => {
      await of.goto(`${url}/#${path}`);
      await expect(of.locator("h1")).toBeVisible();
    };
    const hall = await admin.sale({
      title: "Night Lights",
      sections: [
        { name: "Floor", grade: "VIP", rows: 14, seatsPerRow: 26, price: "180000" },
        { name: "Left", grade: "R", rows: 16, seatsPerRow: 16, price: "140000" },
        { name: "Centre", grade: "R", rows: 16, seatsPerRow: 24, price: "140000" },
        { name: "Right", grade: "R", rows: 16, seatsPerRow: 16, price: "140000" },
        { name: "Balcony left", grade: "S", rows: 10, seatsPerRow: 26, price: "90000" },
        { name: "Balcony right", grade: "S", rows: 10, seatsPerRow: 26, price: "90000" },
      ],
    });
    await crowd(url, admin, hall.concertId, hall.performanceId);
    const waiting = await admin.sale({ title: "Long Queue", queue: { mode: "QUEUE", admitCount: 1, admitIntervalSeconds: 3600, maxActive: 1 } });
    for (let count = 0; count < 8; count++) await (await Api.account(url)).join(waiting.concertId);
    const drawn = await admin.sale({ title: "The Draw", queue: { mode: "QUEUE", salesOpenAt: new Date(Date.now() + 3 * 86_400_000).toISOString() } });

    await open(page, "/");
    await take(page, "01-concerts");
    await open(page, `/concerts/${hall.concertId}`);
    await take(page, "02-concert");
    await open(page, `/concerts/${drawn.concertId}`);
    await take(page, "03-draw");
    await open(page, "/login");
    await take(page, "04-login");
    await open(page, "/signup");
    await take(page, "05-signup");
    await open(page, "/reset");
    await take(page, "06-reset");
    const account = await Api.account(url, "700000");
    await logIn(page, url, account.email);
    await open(page, waiting.path.slice(2));
    await page.getByRole("button", { name: "Join the queue" }).click();
    await expect(page.locator(".queue-place")).toBeVisible();
    await take(page, "07-queue");
    await admin.queue(waiting.concertId, { mode: "PAUSED" });
    await page.reload();
    await expect(page.getByText("The sale is paused")).toBeVisible();
    await take(page, "08-paused");
    await page.getByRole("button", { name: "Leave the queue" }).click();
    await page.getByRole("button", { name: "Leave the queue" }).click();
    await enter(page, url, hall);
    await expect(page.getByRole("application")).toBeVisible();
    await page.getByRole("application").focus();
    for (const key of ["ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "Enter", "ArrowRight", "Enter"]) await page.keyboard.press(key);
    await page.getByRole("button", { name: "Show the whole house" }).click();
    await page.getByRole("heading", { name: "Your selection" }).focus().catch(() => {});
    await take(page, "09-plan", false);
    if (width < 500) await take(page, "09-plan-whole");
    await page.getByRole("button", { name: "Zoom in" }).click();
    await page.getByRole("button", { name: "Zoom in" }).click();
    await page.getByRole("button", { name: "Zoom in" }).click();
    await take(page, "10-plan-near", false);
    await page.getByRole("button", { name: "List", exact: true }).click();
    await take(page, "11-list", false);
    await page.getByRole("button", { name: /^Hold/ }).click();
    await expect(page.getByRole("timer")).toBeVisible();
    await take(page, "12-checkout");
    await open(page, "/");
    await expect(page.getByRole("link", { name: /held for you/ })).toBeVisible();
    await take(page, "13-held", false);
    await page.getByRole("link", { name: /held for you/ }).click();
    await page.getByRole("button", { name: /^Pay/ }).click();
    await expect(page.getByRole("heading", { name: "Booked" })).toBeVisible();
    await expect(page.getByRole("img", { name: /^QR/ }).first()).toBeVisible();
    await take(page, "14-booked");
    await open(page, "/bookings");
    await take(page, "15-bookings");
    await open(page, "/points");
    await take(page, "16-points");
    await open(page, "/account");
    await take(page, "17-account");
    await page.getByRole("button", { name: "한국어" }).click();
    await open(page, `/concerts/${hall.concertId}`);
    await take(page, "18-korean");
    await context.close();

    const operators = await browser.newContext(settings);
    const operator = await operators.newPage();
    await logIn(operator, url, "admin@demo.example", "demo-password-1");
    await open(operator, "/operator");
    await take(operator, "20-sales", false);
    await open(operator, `/operator/concerts/${hall.concertId}`);
    await expect(operator.locator(".line").first()).toBeAttached();
    await crowd(url, admin, hall.concertId, hall.performanceId);
    await expect.poll(() => operator.locator(".line").first().getAttribute("points").then((it) => it?.split(" ").length ?? 0)).toBeGreaterThan(3);
    await take(operator, "21-live");
    await open(operator, `/operator/performances/${hall.performanceId}`);
    await expect(operator.getByRole("application")).toBeVisible();
    await operator.getByRole("button", { name: "Select an area" }).click();
    const box = (await operator.getByRole("application").boundingBox())!;
    await operator.mouse.move(box.x + box.width * 0.55, box.y + box.height * 0.72);
    await operator.mouse.down();
    await operator.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.85, { steps: 4 });
    await operator.mouse.up();
    await take(operator, "22-house", false);
    for (const view of ["bookings", "users", "events", "actions"]) {
      await open(operator, `/operator/${view}`);
      await take(operator, `23-${view}`, false);
    }
    await open(operator, "/operator/audit");
    await operator.getByRole("button", { name: "Run the audit" }).click();
    await expect(operator.getByText("Every invariant holds.")).toBeVisible({ timeout: 60_000 });
    await take(operator, "24-audit");
    await operators.close();
  });
}

/** Buyers who hold and buy seats here and there. */
async function crowd(url: string, admin: Api, concertId: number, performanceId: number): Promise<void> {
  for (let count = 0; count < 14; count++) {
    const api = await Api.account(url, "2000000");
    const token = await api.join(concertId);
    const grade = ["VIP", "R", "S"][count % 3];
    const booking = await api.post("/bookings", { performanceId, bestAvailable: { quantity: 4, grade } }, { "Queue-Token": token });
    if (count % 4 !== 3) await api.post("/payments", { bookingId: booking.bookingId }, { "Queue-Token": token });
  }
  await admin.get(`/admin/concerts/${concertId}/queue`);
}

// Pictures of every view, wide and narrow, light and dark: PICTURES=yes, into .local/web/pictures or PICTURES_DIR.

import { fileURLToPath } from "node:url";
import { Api, Server, enter, expect, logIn, test, type Account, type Browser, type Page, type Sale } from "./stage";

const folder = process.env.PICTURES_DIR ?? fileURLToPath(new URL("../../.local/web/pictures", import.meta.url));

test.skip(!process.env.PICTURES, "only when pictures are wanted");

/** One server with a payment provider, and one whose holds end at once. */
let shop: Server;
let hasty: Server;

test.beforeAll(async () => {
  if (!process.env.PICTURES) return;
  shop = await Server.start(process.env.TEST_DATABASE_URL!, { PAYMENT_PROVIDER: "sandbox" });
  hasty = await Server.start(process.env.TEST_DATABASE_URL!, { HOLD_SECONDS: "1" });
});

test.afterAll(async () => {
  await shop?.stop();
  await hasty?.stop();
});

const SECTIONS = [
  { name: "Floor", grade: "VIP", rows: 14, seatsPerRow: 26, price: "180000" },
  { name: "Left", grade: "R", rows: 16, seatsPerRow: 16, price: "140000" },
  { name: "Centre", grade: "R", rows: 16, seatsPerRow: 24, price: "140000" },
  { name: "Right", grade: "R", rows: 16, seatsPerRow: 16, price: "140000" },
  { name: "Balcony left", grade: "S", rows: 10, seatsPerRow: 26, price: "90000" },
  { name: "Balcony right", grade: "S", rows: 10, seatsPerRow: 26, price: "90000" },
];

for (const [scheme, width, height] of [["light", 1400, 900], ["dark", 1400, 900], ["light", 390, 844], ["dark", 390, 844]] as const) {
  const settings = { colorScheme: scheme, viewport: { width, height }, deviceScaleFactor: width < 500 ? 2 : 1, hasTouch: width < 500 };
  const take = async (of: Page, name: string, fullPage = true): Promise<void> => {
    await expect(of.locator(".skeleton")).toHaveCount(0);
    await of.screenshot({ path: `${folder}/${name}-${width}-${scheme}.png`, fullPage, animations: "disabled" });
  };
  /** Opens a view on a server, and takes it. */
  const show = async (of: Page, server: string, path: string, name?: string, fullPage = true): Promise<void> => {
    await of.goto(`${server}/#${path}`);
    await expect(of.locator("h1")).toBeVisible();
    if (name) await take(of, name, fullPage);
  };
  const visitor = async (browser: Browser): Promise<Page> => (await browser.newContext(settings)).newPage();

  test(`pictures for visitors: ${scheme}, ${width} px`, async ({ browser, url, admin }) => {
    test.setTimeout(240_000);
    const page = await visitor(browser);
    const hall = await admin.sale({ title: "Night Lights", sections: SECTIONS });
    await crowd(url, admin, hall);
    const opening = new Date(Date.now() + 3 * 86_400_000).toISOString();
    const drawn = await admin.sale({ title: "The Draw", queue: { mode: "QUEUE", salesOpenAt: opening } });
    const paused = await admin.sale({ title: "A Pause", queue: { mode: "PAUSED" } });
    const soon = await admin.sale({ title: "Opening Night", queue: { mode: "QUEUE", salesOpenAt: new Date(Date.now() + 4_000).toISOString() } });
    const entrants = await Promise.all(Array.from({ length: 5 }, () => Api.account(url)));
    await Promise.all(entrants.map((it) => it.join(soon.concertId)));

    await show(page, url, "/", "01-concerts");
    await show(page, url, "/?query=nothing+of+this+name", "01-concerts-none");
    await page.route("**/api/v1/concerts?*", (route) => route.abort());
    await page.reload();
    await expect(page.locator(".connection")).toBeVisible();
    await take(page, "01-concerts-lost", false);
    await page.unroute("**/api/v1/concerts?*");
    await page.route("**/api/v1/concerts?*", (route) => route.fulfill({
      status: 503, headers: { "Retry-After": "1", "Content-Type": "application/problem+json" },
      body: JSON.stringify({ code: "OVERLOADED", status: 503, title: "Overloaded" }),
    }));
    await page.reload();
    await expect(page.getByText("Many people are here")).toBeVisible();
    await page.screenshot({ path: `${folder}/01-concerts-busy-${width}-${scheme}.png` });
    await page.unroute("**/api/v1/concerts?*");
    await show(page, url, `/concerts/${hall.concertId}`, "02-concert");
    await show(page, url, `/concerts/${paused.concertId}`, "02-concert-paused");
    await show(page, url, `/concerts/${drawn.concertId}`, "03-draw-before");
    await show(page, url, `/concerts/${soon.concertId}`);
    await page.getByRole("button", { name: "Check it here" }).click();
    await expect(page.getByText("The draw is right.")).toBeVisible();
    await take(page, "03-draw-checked");
    await show(page, url, "/concerts/999999999", "02-concert-unknown");
    await show(page, url, "/nothing", "00-unknown");
    await show(page, url, "/login");
    await expect(page.getByText("Demo server:")).toBeVisible();
    await page.getByLabel("E-mail", { exact: true }).fill("nobody@demo.example");
    await page.getByLabel("Password", { exact: true }).fill("a-wrong-password");
    await page.getByRole("button", { name: "Log in" }).click();
    await expect(page.getByText("E-mail or password is wrong.")).toBeVisible();
    await take(page, "04-login");
    await show(page, url, hall.path.slice(2), "04-login-needed");
    await show(page, url, "/signup", "05-signup");
    await show(page, url, "/reset", "06-reset");
    await page.getByRole("button", { name: "I have a code" }).click();
    await page.getByLabel("Code").fill("not-a-code");
    await page.getByLabel("New password").fill("another-password-1");
    await page.getByRole("button", { name: "Change the password" }).click();
    await expect(page.locator(".notice.bad, .field-error").first()).toBeVisible();
    await take(page, "06-reset-code");
    const ended = await Api.account(url);
    await logIn(page, url, ended.email);
    await show(page, url, "/points", "16-points-none");
    await show(page, url, "/bookings", "15-bookings-none");
    await show(page, url, "/bookings/nothing", "15-booking-unknown");
    await show(page, url, `/concerts/${hall.concertId}/performances/999999999`, "07-date-unknown");
    await ended.request("DELETE", "/users/me/sessions");
    await page.reload();
    await expect(page.getByText("You have been logged out.")).toBeVisible();
    await take(page, "04-login-ended");
  });

  test(`pictures of the queue and the seats: ${scheme}, ${width} px`, async ({ browser, url, admin }) => {
    test.setTimeout(240_000);
    const page = await visitor(browser);
    const hall = await admin.sale({ title: "Night Lights", sections: SECTIONS });
    await crowd(url, admin, hall);
    const waiting = await admin.sale({ title: "Long Queue", queue: { mode: "QUEUE", admitCount: 1, admitIntervalSeconds: 3600, maxActive: 1 } });
    for (let count = 0; count < 8; count++) await (await Api.account(url)).join(waiting.concertId);
    const drawn = await admin.sale({ title: "The Draw", queue: { mode: "QUEUE", salesOpenAt: new Date(Date.now() + 3 * 86_400_000).toISOString() } });
    const short = await admin.sale({ title: "A Short Turn", queue: { mode: "OPEN", activeSeconds: 2 } });
    const account = await Api.account(url, "700000");
    await logIn(page, url, account.email);

    await show(page, url, waiting.path.slice(2), "07-queue-join");
    await page.getByRole("button", { name: "Join the queue" }).click();
    await expect(page.locator(".queue-place")).toBeVisible();
    await take(page, "07-queue");
    await admin.queue(waiting.concertId, { mode: "PAUSED" });
    await page.reload();
    await expect(page.getByText("The sale is paused")).toBeVisible();
    await take(page, "08-paused");
    await page.getByRole("button", { name: "Leave the queue" }).click();
    await take(page, "08-leave-sure");
    await page.getByRole("button", { name: "Back", exact: true }).click();
    await show(page, url, drawn.path.slice(2));
    await page.getByRole("button", { name: "Join the queue" }).click();
    await expect(page.getByText("You are in the draw")).toBeVisible();
    await take(page, "08-scheduled");
    await show(page, url, "/", "13-chips", false);
    await enter(page, url, short);
    await expect(page.getByRole("heading", { name: "Your turn is over" })).toBeVisible();
    await take(page, "08-turn-over");
    await show(page, url, waiting.path.slice(2));
    await page.getByRole("button", { name: "Leave the queue" }).click();
    await page.getByRole("button", { name: "Leave the queue" }).click();
    await show(page, url, drawn.path.slice(2));
    await page.getByRole("button", { name: "Leave the queue" }).click();
    await page.getByRole("button", { name: "Leave the queue" }).click();

    await enter(page, url, hall);
    await expect(page.getByRole("application")).toBeVisible();
    await page.getByRole("application").focus();
    for (const key of ["ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "Enter", "ArrowRight", "Enter"]) await page.keyboard.press(key);
    await page.getByRole("button", { name: "Show the whole house" }).click();
    await take(page, "09-plan", false);
    if (width < 500) await take(page, "09-plan-whole");
    for (let count = 0; count < 3; count++) await page.getByRole("button", { name: "Zoom in" }).click();
    await take(page, "10-plan-near", false);
    await page.getByRole("button", { name: "List", exact: true }).click();
    await take(page, "11-list", false);
    // Somebody else is faster.
    const picked = await page.locator(".picked strong").first().textContent();
    const [, row, number] = /row (\w+), seat (\d+)/.exec(picked ?? "") ?? [];
    const rival = await Api.account(url);
    const token = { "Queue-Token": await rival.join(hall.concertId) };
    const { seats } = await rival.request("GET", `/performances/${hall.performanceId}/seats`, undefined, token);
    const wanted = seats.find((it: { section: string; row: string; number: number }) => it.section === "Floor" && it.row === row && it.number === Number(number));
    await rival.post("/bookings", { performanceId: hall.performanceId, seatIds: [wanted.seatId] }, token);
    await expect(page.getByText("has just been taken")).toBeVisible();
    await page.getByRole("button", { name: "Plan", exact: true }).click();
    await take(page, "11-taken");
    await page.getByRole("button", { name: /^Hold/ }).click();
    await expect(page.getByRole("timer")).toBeVisible();
    await take(page, "12-checkout");
    await show(page, url, "/", "13-held", false);
    await page.getByRole("link", { name: /held for you/ }).click();
    await page.getByRole("button", { name: "Release the seats" }).click();
    await take(page, "12-release-sure");
    await page.getByRole("button", { name: "Back", exact: true }).click();
    await page.getByRole("button", { name: /^Pay/ }).click();
    await expect(page.getByRole("heading", { name: "Booked" })).toBeVisible();
    await expect(page.getByRole("img", { name: /^QR/ }).first()).toBeVisible();
    await take(page, "14-booked");
    const bookingId = page.url().split("/").at(-1)!;
    const { items } = await account.get(`/bookings/${bookingId}/tickets`);
    await admin.post("/admin/admissions", { code: items[0].code });
    await page.reload();
    await expect(page.getByText(/^Admitted/)).toBeVisible();
    await take(page, "14-admitted");
    await ends(account, hall);
    await show(page, url, "/bookings", "15-bookings");
    for (const [status, name] of [["EXPIRED", "The time is over"], ["CANCELLED", "Released"], ["REFUNDED", "Refunded"]] as const) {
      const found = (await account.get(`/bookings?status=${status}`)).items[0];
      await show(page, url, `/bookings/${found.bookingId}`);
      await expect(page.getByRole("heading", { name })).toBeVisible();
      await take(page, `15-${status.toLowerCase()}`);
    }
    await show(page, url, "/points", "16-points");
    await page.route("**/api/v1/points/charges", (route) => route.abort());
    await page.getByRole("button", { name: "Top up", exact: true }).click();
    await page.reload();
    await expect(page.getByText("wasn't confirmed")).toBeVisible();
    await page.screenshot({ path: `${folder}/16-points-unfinished-${width}-${scheme}.png` });
    await page.unroute("**/api/v1/points/charges");
    await show(page, url, "/account", "17-account");
    await page.getByRole("button", { name: "Delete the account" }).click();
    await page.getByRole("button", { name: "Delete the account" }).click();
    await expect(page.locator(".notice").last()).toBeVisible();
    await page.locator(".notice").last().scrollIntoViewIfNeeded();
    await take(page, "17-account-delete", false);
  });

  test(`pictures of top-ups: ${scheme}, ${width} px`, async ({ browser, admin }) => {
    test.setTimeout(240_000);
    const { url } = shop;
    const page = await visitor(browser);
    const hall = await admin.sale({ title: "Night Lights" });
    const account = await Api.account(url);
    await logIn(page, url, account.email);
    await enter(page, url, hall);
    await page.getByRole("button", { name: "Find and hold" }).click();
    await page.getByRole("button", { name: /^Top up/ }).click();
    await expect(page.getByRole("heading", { name: "Payment sandbox" })).toBeVisible();
    await page.screenshot({ path: `${folder}/18-provider-${width}-${scheme}.png` });
    await page.getByRole("button", { name: /late or never/ }).click();
    await page.getByRole("link", { name: "Back to the shop" }).click();
    await expect(page.getByText("being confirmed")).toBeVisible();
    await take(page, "18-settling");
    const [late] = (await account.get("/points/top-ups")).items;
    await tell(late.checkoutUrl, "notify");
    await expect(page.getByText("were added")).toBeVisible();
    await take(page, "18-settled");
    const { checkoutUrl } = await account.post("/points/top-ups", { amount: "50000" });
    await tell(checkoutUrl, "failure");
    await account.post("/points/top-ups", { amount: "20000" });
    await show(page, url, "/points", "18-points");

    const operator = await visitor(browser);
    await logIn(operator, url, "admin@demo.example", "demo-password-1");
    await show(operator, url, `/operator/top-ups?user=${account.email}`);
    await expect(operator.locator(".rows > li")).toHaveCount(3);
    await take(operator, "23-top-ups");
    await operator.locator("button.row").last().click();
    await take(operator, "23-top-ups-open");
    await show(operator, url, "/operator/top-ups?from=2030-01-01&to=2029-01-01", "23-top-ups-refused");
    await show(operator, url, "/operator/top-ups?user=nobody");
    await operator.reload();
    await expect(operator.getByText("There is no such account.")).toBeVisible();
    await take(operator, "23-top-ups-none");
  });

  test(`pictures for operators: ${scheme}, ${width} px`, async ({ browser, url, admin }) => {
    test.setTimeout(240_000);
    const hall = await admin.sale({ title: "Night Lights", sections: SECTIONS });
    await crowd(url, admin, hall);
    const operator = await visitor(browser);
    await logIn(operator, url, "admin@demo.example", "demo-password-1");
    await show(operator, url, "/operator", "20-sales", false);
    await show(operator, url, "/operator/concerts/999999999", "21-live-unknown");
    await show(operator, url, `/operator/concerts/${hall.concertId}`);
    await expect(operator.locator(".line").first()).toBeAttached();
    await crowd(url, admin, hall);
    await expect.poll(() => operator.locator(".line").first().getAttribute("points").then((it) => it?.split(" ").length ?? 0)).toBeGreaterThan(3);
    await take(operator, "21-live");
    await operator.getByRole("button", { name: "Paused" }).click();
    await expect(operator.locator(".tag.mode")).toHaveText("Paused");
    await take(operator, "21-live-paused");
    await show(operator, url, `/operator/performances/${hall.performanceId}`);
    await expect(operator.getByRole("application")).toBeVisible();
    await operator.getByRole("button", { name: "Select an area" }).click();
    const box = (await operator.getByRole("application").boundingBox())!;
    await operator.mouse.move(box.x + box.width * 0.55, box.y + box.height * 0.72);
    await operator.mouse.down();
    await operator.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.85, { steps: 4 });
    await operator.mouse.up();
    await take(operator, "22-house");
    await operator.getByLabel("Reason").fill("Behind the mixing desk");
    await operator.getByRole("button", { name: /^Block/ }).click();
    await expect(operator.getByRole("button", { name: /^Block/ })).toHaveCount(0);
    await take(operator, "22-house-blocked", false);
    for (const view of ["bookings", "users"]) {
      await show(operator, url, `/operator/${view}`, `23-${view}`, false);
      await operator.locator("button.row").first().click();
      await take(operator, `23-${view}-open`, false);
    }
    for (const view of ["actions", "events"]) await show(operator, url, `/operator/${view}`, `24-${view}`, false);
    // A receiver that refuses parks its events only after a day: the answer is made up.
    const parked = Array.from({ length: 3 }, (_, at) => ({
      eventId: `01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b1${at}`, type: ["booking.confirmed", "seats.held", "booking.refunded"][at], status: "PARKED",
      destination: ["webhook", "kafka", "slack"][at], attempts: 12, lastError: ["HTTP 500", "the broker doesn't answer", "HTTP 403: invalid_token"][at],
      createdAt: new Date(Date.now() - at * 3_600_000).toISOString(),
    }));
    await operator.route("**/api/v1/admin/events?*", (route) => route.fulfill({ json: { items: parked, nextCursor: null } }));
    await operator.reload();
    await expect(operator.getByRole("button", { name: "Send again" }).first()).toBeVisible();
    await take(operator, "24-events-parked", false);
    await show(operator, url, "/operator/audit");
    await operator.getByRole("button", { name: "Run the audit" }).click();
    await expect(operator.getByText("Every invariant holds.")).toBeVisible({ timeout: 60_000 });
    await take(operator, "25-audit");

    await admin.queue(hall.concertId, { mode: "OPEN" });
    const account = await Api.account(url, "1000000");
    const token = { "Queue-Token": await account.join(hall.concertId) };
    const booking = await holdBest(account, hall, token, 1);
    await account.post("/payments", { bookingId: booking.bookingId }, token);
    const { items } = await account.get(`/bookings/${booking.bookingId}/tickets`);
    await show(operator, url, "/operator/door");
    for (const [name, outcome] of [["admitted", "Admitted"], ["used", "This ticket has been used already."]]) {
      await operator.getByLabel("Code of the ticket").fill(items[0].code);
      await operator.getByRole("button", { name: "Admit", exact: true }).click();
      await expect(operator.getByText(outcome!)).toBeVisible();
      await take(operator, `26-door-${name}`, false);
    }
    const buyer = await visitor(browser);
    await logIn(buyer, url, account.email);
    await buyer.goto(`${url}/#/operator`);
    await expect(buyer.getByText("This part is for administrators.")).toBeVisible();
    await take(buyer, "26-forbidden");
  });

  test(`pictures in Korean: ${scheme}, ${width} px`, async ({ browser, url, admin }) => {
    test.setTimeout(240_000);
    const hall = await admin.sale({ title: "밤의 불빛", sections: SECTIONS });
    await crowd(url, admin, hall);
    const account = await Api.account(url, "200000");
    const page = await visitor(browser);
    await logIn(page, url, account.email);
    await page.getByRole("button", { name: "한국어" }).click();
    const views: [string, string][] = [
      ["concerts", "/"], ["concerts-none", "/?query=nothing+of+this+name"], ["concert", `/concerts/${hall.concertId}`],
      ["concert-unknown", "/concerts/999999999"], ["unknown", "/nothing"], ["account", "/account"], ["points", "/points"],
      ["forbidden", "/operator"], ["join", hall.path.slice(2)],
    ];
    for (const [name, path] of views) await show(page, url, path, `30-${name}`);
    await page.locator("main .button.primary").click();
    await expect(page.getByRole("application")).toBeVisible();
    await take(page, "30-plan", false);
    await page.locator(".tabs button").nth(1).click();
    await take(page, "30-list", false);
    await page.locator(".best .button").click();
    await expect(page.getByRole("timer")).toBeVisible();
    await take(page, "30-checkout");
    await show(page, url, "/", "30-held", false);
    await page.locator(".banner").click();
    await page.locator(".checkout .notice .button").click();
    await expect(page.locator(".checkout .button.primary")).toBeEnabled();
    await page.locator(".checkout .button.primary").click();
    await expect(page.locator(".ticket img").first()).toBeVisible();
    await take(page, "30-booked");
    await show(page, url, "/bookings", "30-bookings");
    const waiting = await admin.sale({ title: "긴 줄", queue: { mode: "QUEUE", admitCount: 1, admitIntervalSeconds: 3600, maxActive: 1 } });
    for (let count = 0; count < 3; count++) await (await Api.account(url)).join(waiting.concertId);
    await show(page, url, waiting.path.slice(2));
    await page.locator("main .button.primary").click();
    await expect(page.locator(".queue-place")).toBeVisible();
    await take(page, "30-queue");
    await page.evaluate(() => sessionStorage.clear());
    await page.goto("about:blank");
    for (const view of ["login", "signup", "reset"]) await show(page, url, `/${view}`, `30-${view}`);

    const operator = await visitor(browser);
    await logIn(operator, url, "admin@demo.example", "demo-password-1");
    await operator.getByRole("button", { name: "한국어" }).click();
    await show(operator, url, `/operator/concerts/${hall.concertId}`, "31-live");
    await show(operator, url, `/operator/performances/${hall.performanceId}`);
    await expect(operator.getByRole("application")).toBeVisible();
    await take(operator, "31-house", false);
    for (const view of ["bookings", "users", "top-ups"]) {
      await show(operator, url, `/operator/${view}`, `31-${view}`, false);
      const row = operator.locator("button.row").first();
      if ((await row.count()) === 0) continue;
      await row.click();
      await take(operator, `31-${view}-open`, false);
    }
    for (const view of ["door", "events", "actions"]) await show(operator, url, `/operator/${view}`, `31-${view}`, false);
    await show(operator, url, "/operator/audit");
    await operator.locator("main .button.primary").click();
    await expect(operator.locator(".notice.good")).toBeVisible({ timeout: 60_000 });
    await take(operator, "31-audit");
    await show(operator, url, "/operator", "31-sales", false);
  });
}

/** What the sandbox is to do with a checkout. */
const tell = (checkoutUrl: string, outcome: string): Promise<unknown> =>
  fetch(checkoutUrl, { method: "POST", body: new URLSearchParams({ outcome }), redirect: "manual" });

const holdBest = (api: Api, { performanceId }: Sale, token: Record<string, string>, quantity: number, grade?: string): Promise<any> =>
  api.post("/bookings", { performanceId, bestAvailable: { quantity, ...(grade && { grade }) } }, token);

/** Bookings that ended in each way. */
async function ends(account: Account, hall: Sale): Promise<void> {
  const token = { "Queue-Token": await account.join(hall.concertId) };
  const late = new Api(hasty.url);
  await late.logIn(account.email, "a-long-password-1");
  await holdBest(late, hall, token, 1, "S");
  const released = await holdBest(account, hall, token, 2, "S");
  await account.post(`/bookings/${released.bookingId}/cancel`);
  const paid = await holdBest(account, hall, token, 1, "S");
  await account.post("/payments", { bookingId: paid.bookingId }, token);
  await account.post(`/bookings/${paid.bookingId}/cancel`);
  await expect.poll(async () => (await account.get("/bookings?status=EXPIRED")).items.length).toBe(1);
}

/** Buyers who hold and buy seats here and there. */
async function crowd(url: string, admin: Api, hall: Sale): Promise<void> {
  for (let count = 0; count < 14; count++) {
    const api = await Api.account(url, "2000000");
    const token = { "Queue-Token": await api.join(hall.concertId) };
    const booking = await holdBest(api, hall, token, 4, ["VIP", "R", "S"][count % 3]);
    if (count % 4 !== 3) await api.post("/payments", { bookingId: booking.bookingId }, token);
  }
  await admin.get(`/admin/concerts/${hall.concertId}/queue`);
}

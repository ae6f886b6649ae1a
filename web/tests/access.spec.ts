import { AxeBuilder } from "@axe-core/playwright";
import { Api, expect, logIn, test, type Page } from "./stage";

async function findings(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]).analyze();
  return violations
    .filter((it) => it.impact === "serious" || it.impact === "critical")
    .flatMap((it) => it.nodes.map((node) => `${it.id}: ${node.html.slice(0, 160)} ${node.failureSummary ?? ""}`));
}

async function overflow(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

for (const [scheme, width, locale] of [["light", 1400, "en-GB"], ["dark", 390, "ko-KR"]] as const) {
  test(`no view has serious findings of axe or overflows: ${scheme}, ${width} px, ${locale}`, async ({ browser, url, admin }) => {
    test.slow();
    const sale = await admin.sale({ queue: { mode: "OPEN" } });
    const waiting = await admin.sale({ queue: { mode: "PAUSED" } });
    const api = await Api.account(url, "1000000");
    // In English to log in; the language is chosen below.
    const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: 844 } });
    const page = await context.newPage();
    const bad: string[] = [];
    const check = async (view: string): Promise<void> => {
      await expect(page.locator(".skeleton")).toHaveCount(0);
      bad.push(...(await findings(page)).map((it) => `${view}: ${it}`));
      if ((await overflow(page)) > 0) bad.push(`${view}: is wider than the screen by ${await overflow(page)} px`);
    };
    await page.goto(`${url}/#/login`);
    await check("login");
    await logIn(page, url, api.email);
    await page.evaluate((language) => localStorage.setItem("language", language), locale.slice(0, 2));
    const open = async (view: string, path: string): Promise<void> => {
      await page.goto(`${url}/#${path}`);
      await page.reload();
      await expect(page.locator("h1")).toBeVisible();
      await check(view);
    };
    await open("concerts", "/");
    await open("concert", `/concerts/${sale.concertId}`);
    await open("queue", waiting.path.slice(2));
    await page.locator("main .button.primary").click();
    await expect(page.locator(".queue-place")).toBeVisible();
    await check("waiting");
    await open("sale", sale.path.slice(2));
    await page.locator("main .button.primary").click();
    await expect(page.getByRole("application")).toBeVisible();
    await check("plan");
    await page.locator(".tabs button").nth(1).click();
    await check("list");
    await page.locator(".best .button").click();
    await expect(page.getByRole("timer")).toBeVisible();
    await check("checkout");
    await page.locator(".checkout .button.primary").click();
    await expect(page.locator(".lead")).toBeVisible();
    await check("booked");
    for (const view of ["bookings", "points", "account", "operator", "nothing", "bookings/nothing", "concerts/999999999"]) await open(view, `/${view}`);
    await open("signup", "/signup");
    await open("reset", "/reset");
    await context.close();

    const operators = await browser.newContext({ colorScheme: scheme, viewport: { width, height: 844 } });
    const operator = await operators.newPage();
    await logIn(operator, url, "admin@demo.example", "demo-password-1");
    for (const [view, path] of [
      ["sales", "/operator"], ["live", `/operator/concerts/${sale.concertId}`], ["house", `/operator/performances/${sale.performanceId}`],
      ["users", "/operator/users"], ["bookings", "/operator/bookings"], ["top-ups", "/operator/top-ups"], ["door", "/operator/door"], ["events", "/operator/events"], ["audit", "/operator/audit"],
      ["actions", "/operator/actions"],
    ] as const) {
      await operator.goto(`${url}/#${path}`);
      await expect(operator.locator("h1")).toBeVisible();
      await expect(operator.locator(".skeleton")).toHaveCount(0);
      bad.push(...(await findings(operator)).map((it) => `operator ${view}: ${it}`));
      // What is behind a row: its details and their form.
      const row = operator.locator("button.row").first();
      if ((await row.count()) > 0) {
        await row.click();
        bad.push(...(await findings(operator)).map((it) => `operator ${view}, opened: ${it}`));
      }
      if ((await overflow(operator)) > 0) bad.push(`operator ${view}: is wider than the screen by ${await overflow(operator)} px`);
    }
    expect(bad).toEqual([]);
  });
}

test("the page speaks the browser's language, and the other at a press", async ({ browser, url }) => {
  const context = await browser.newContext({ locale: "ko-KR" });
  const page = await context.newPage();
  await page.goto(`${url}/`);
  await expect(page.getByRole("heading", { name: "공연" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "ko");
  await page.getByRole("button", { name: "English" }).click();
  await expect(page.getByRole("heading", { name: "Concerts" })).toBeVisible();
  await page.reload();
  await expect(page.getByRole("heading", { name: "Concerts" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "en");
});

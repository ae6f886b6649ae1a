// Lighthouse against the budget, as a slow phone and as a desktop: LIGHTHOUSE=yes. The reports go to .local/web/lighthouse.

import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "@playwright/test";
import { freePort } from "./server";
import { Api, expect, logIn, test, type Sale } from "./stage";

/** The least scores, of 100. */
const SCORES = { performance: 90, accessibility: 95, "best-practices": 95 };

/** What the page itself may weigh compressed: the document and its files. */
const BYTES = 100_000;

const folder = fileURLToPath(new URL("../../.local/web/lighthouse", import.meta.url));

interface Request {
  url: string;
  transferSize: number;
}

test.skip(!process.env.LIGHTHOUSE, "only when it is wanted");

const VIEWS: { name: string; form: "mobile" | "desktop"; as?: "buyer" | "operator"; path: (sale: Sale) => string }[] = [
  { name: "concerts", form: "mobile", path: () => "/" },
  { name: "concerts", form: "desktop", path: () => "/" },
  { name: "concert", form: "mobile", path: (sale) => `/concerts/${sale.concertId}` },
  { name: "login", form: "mobile", path: () => "/login" },
  { name: "seats", form: "mobile", as: "buyer", path: (sale) => sale.path.slice(2) },
  { name: "seats", form: "desktop", as: "buyer", path: (sale) => sale.path.slice(2) },
  { name: "points", form: "mobile", as: "buyer", path: () => "/points" },
  { name: "sale", form: "desktop", as: "operator", path: (sale) => `/operator/concerts/${sale.concertId}` },
  { name: "house", form: "desktop", as: "operator", path: (sale) => `/operator/performances/${sale.performanceId}` },
];

for (const { name, form, as, path } of VIEWS) {
  test(`Lighthouse: ${name}${as ? ` of the ${as}` : ""}, ${form}`, async ({ url, admin }, info) => {
    test.setTimeout(180_000);
    // It is large, and the other tests don't need it.
    const { default: lighthouse, desktopConfig } = await import("lighthouse");
    const sale = await admin.sale();
    const port = await freePort();
    const context = await chromium.launchPersistentContext(info.outputPath("profile"), {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox", `--remote-debugging-port=${port}`],
      locale: "en-GB",
    });
    try {
      // The tab that is measured takes the login over from this one, as any other tab does.
      const page = context.pages()[0] ?? (await context.newPage());
      if (as === "operator") await logIn(page, url, "admin@demo.example", "demo-password-1");
      if (as === "buyer") {
        await logIn(page, url, (await Api.account(url, "100000")).email);
        await page.goto(url + sale.path);
        await page.getByRole("button", { name: "Join the queue" }).click();
        await expect(page.getByRole("application")).toBeVisible();
        await page.goto(`${url}/#/account`);
      }
      const settings = { port, output: "html" as const, onlyCategories: Object.keys(SCORES), disableStorageReset: true };
      const result = await lighthouse(`${url}/#${path(sale)}`, settings, form === "desktop" ? desktopConfig : undefined);
      if (!result) throw new Error("Lighthouse gave no result");
      const { lhr, report } = result;
      mkdirSync(folder, { recursive: true });
      writeFileSync(`${folder}/${name}-${form}.html`, String(report));
      if (lhr.runtimeError) throw new Error(lhr.runtimeError.message);
      const requests = (lhr.audits["network-requests"]?.details as unknown as { items: Request[] }).items;
      const own = requests.filter((it) => /^\/($|assets\/)/.test(new URL(it.url).pathname));
      const bytes = own.reduce((sum, it) => sum + it.transferSize, 0);
      const scores = Object.fromEntries(Object.values(lhr.categories).map((it) => [it.id, Math.round(100 * (it.score ?? 0))]));
      const shown = (id: string): string => lhr.audits[id]?.displayValue?.replaceAll("\u00a0", " ") ?? "?";
      console.log(`  ${JSON.stringify(scores)}, ${bytes} bytes; first paint ${shown("first-contentful-paint")}, ` +
        `largest ${shown("largest-contentful-paint")}, blocked ${shown("total-blocking-time")}, shift ${shown("cumulative-layout-shift")}`);
      const missed = Object.values(lhr.categories)
        .flatMap(({ auditRefs }) => auditRefs)
        .filter(({ id, weight }) => weight > 0 && (lhr.audits[id]?.score ?? 1) < 0.9)
        .map(({ id }) => `${id}: ${lhr.audits[id]?.title} ${shown(id)}`);
      if (missed.length > 0) console.log(missed.map((it) => `    ${it}`).join("\n"));
      expect(bytes).toBeLessThanOrEqual(BYTES);
      expect(own.length).toBeGreaterThanOrEqual(3);
      for (const [category, least] of Object.entries(SCORES)) {
        expect(scores[category], `${category}: ${missed.join("; ")}`).toBeGreaterThanOrEqual(least);
      }
    } finally {
      await context.close();
    }
  });
}

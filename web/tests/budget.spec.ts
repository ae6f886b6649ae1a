import { buyer, enter, expect, test } from "./stage";

test("the page weighs at most 100 kB compressed, comes from this server alone, and is there at once", async ({ browser, url }) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const foreign: string[] = [];
  page.on("request", (request) => !request.url().startsWith(url) && foreign.push(request.url()));
  const complaints: string[] = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(`${url}/`);
  await expect(page.getByRole("link", { name: /Spring in Seoul/ })).toBeVisible();
  const { bytes, milliseconds, paint } = await page.evaluate(() => {
    const entries = performance.getEntriesByType("resource") as PerformanceResourceTiming[];
    const navigation = performance.getEntriesByType("navigation")[0] as PerformanceNavigationTiming;
    const own = entries.filter((it) => it.name.includes("/assets/"));
    return {
      bytes: navigation.encodedBodySize + own.reduce((sum, it) => sum + it.encodedBodySize, 0),
      milliseconds: navigation.domContentLoadedEventEnd,
      paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
    };
  });
  console.log(`  ${bytes} bytes, loaded after ${Math.round(milliseconds)} ms, first paint after ${Math.round(paint)} ms`);
  expect(bytes).toBeLessThan(100_000);
  expect(milliseconds).toBeLessThan(3_000);
  expect(foreign).toEqual([]);
  expect(complaints).toEqual([]);
  // A second visit asks for the index alone.
  const again = await context.newPage();
  const asked: string[] = [];
  again.on("response", (response) => !response.fromServiceWorker() && asked.push(`${response.status()} ${new URL(response.url()).pathname}`));
  await again.goto(`${url}/`);
  await expect(again.getByRole("link", { name: /Spring in Seoul/ })).toBeVisible();
  const fetched = await again.evaluate(() =>
    (performance.getEntriesByType("resource") as PerformanceResourceTiming[])
      .filter((it) => it.name.includes("/assets/") && it.transferSize > 0).length);
  expect(fetched).toBe(0);
});

for (const [total, sections, most] of [[10_000, 4, 50], [100_000, 10, 250]] as const) {
  test(`a house of ${total.toLocaleString("en")} seats moves without a stutter`, async ({ browser, url, admin }) => {
    test.slow();
    const perSection = Math.sqrt(total / sections);
    const sale = await admin.sale({
      sections: Array.from({ length: sections }, (_, at) => ({
        name: `Block ${at + 1}`, grade: ["VIP", "R", "S", "A"][at % 4]!, rows: Math.round(perSection),
        seatsPerRow: Math.round(perSection), price: `${150_000 - (at % 4) * 30_000}`,
      })),
    });
    const { page } = await buyer(browser, url);
    await enter(page, url, sale);
    const begun = Date.now();
    await expect(page.getByRole("application")).toBeVisible({ timeout: 60_000 });
    const shown = Date.now() - begun;
    const box = (await page.getByRole("application").boundingBox())!;
    const frames = page.evaluate(() => new Promise<number[]>((resolve) => {
      const gaps: number[] = [];
      let last = performance.now();
      const frame = (now: number): void => {
        gaps.push(now - last);
        last = now;
        if (gaps.length < 60) requestAnimationFrame(frame);
        else resolve(gaps.slice(2));
      };
      requestAnimationFrame(frame);
    }));
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.down();
    for (let step = 0; step < 40; step++) {
      await page.mouse.move(box.x + box.width / 2 + Math.sin(step / 4) * 120, box.y + box.height / 2 + Math.cos(step / 4) * 80);
    }
    await page.mouse.up();
    const gaps = (await frames).sort((a, b) => a - b);
    const median = gaps[Math.floor(gaps.length / 2)]!;
    console.log(`  plan after ${shown} ms; frames: median ${median.toFixed(0)} ms, 95 % below ${gaps[Math.floor(gaps.length * 0.95)]!.toFixed(0)} ms`);
    expect(median).toBeLessThan(most);
  });
}

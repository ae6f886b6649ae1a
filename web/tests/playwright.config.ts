import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: ".",
  outputDir: "../test-results",
  // One database and one server for all; each test has a concert of its own.
  workers: 1,
  retries: 0,
  timeout: 90_000,
  expect: { timeout: 15_000 },
  reporter: [["list"]],
  globalSetup: "./setup.ts",
  use: {
    locale: "en-GB",
    timezoneId: "Asia/Seoul",
    viewport: { width: 1400, height: 900 },
    actionTimeout: 15_000,
    launchOptions: { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] },
  },
});

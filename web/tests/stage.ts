// What tests have in common: accounts, concerts of their own, and the ways through the page.

import { expect, test as base, type Browser, type BrowserContext, type Page } from "@playwright/test";
import { Server } from "./server";

export const PASSWORD = "a-long-password-1";

export interface Section {
  name: string;
  grade: string;
  rows: number;
  seatsPerRow: number;
  price: string;
}

export interface Sale {
  concertId: number;
  performanceId: number;
  title: string;
  path: string;
}

export const QUEUE = { mode: "QUEUE", admitCount: 200, admitIntervalSeconds: 10, maxActive: 2000, activeSeconds: 600, claimSeconds: 60 };

export type Account = Api & { email: string; userId: string };

let count = 0;
/** A name that no other run has used. */
export const unique = (name: string): string => `${name} ${Date.now().toString(36)}${count++}`;

/** The API, as the tests prepare and check with it. */
export class Api {
  private token = "";

  constructor(readonly url: string) {}

  static async admin(url: string): Promise<Api> {
    const api = new Api(url);
    await api.logIn("admin@demo.example", "demo-password-1");
    return api;
  }

  static async account(url: string, points = "0"): Promise<Account> {
    const api = new Api(url);
    const email = `${unique("buyer").replace(" ", "-")}@demo.example`;
    const { userId } = await api.post("/users", { email, password: PASSWORD, name: "Min Kim" });
    await api.logIn(email, PASSWORD);
    if (points !== "0") await api.post("/points/charges", { amount: points });
    return Object.assign(api, { email, userId });
  }

  async logIn(email: string, password: string): Promise<void> {
    this.token = (await this.post("/auth/login", { email, password })).accessToken;
  }

  async request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<any> {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        ...(this.token && { Authorization: `Bearer ${this.token}` }),
        ...(body !== undefined && { "Content-Type": "application/json" }),
        "Idempotency-Key": crypto.randomUUID(),
        ...headers,
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  get = (path: string): Promise<any> => this.request("GET", path);
  post = (path: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<any> =>
    this.request("POST", path, body, headers);

  /** A concert on sale, admitting at once unless `queue` says otherwise. */
  async sale(options: { queue?: object; sections?: Section[]; title?: string } = {}): Promise<Sale> {
    const title = options.title ?? unique("Evening");
    const { venueId } = await this.post("/admin/venues", { name: "Han River Hall", address: "Seoul" });
    const { concertId } = await this.post("/admin/concerts", { title, artist: "The Long Rivers", category: "POP", description: "One evening." });
    const sections = options.sections ?? [
      { name: "Floor", grade: "VIP", rows: 4, seatsPerRow: 10, price: "150000" },
      { name: "Balcony", grade: "R", rows: 6, seatsPerRow: 12, price: "90000" },
    ];
    const startsAt = new Date(Date.now() + 30 * 86_400_000).toISOString();
    const { performanceId } = await this.post(`/admin/concerts/${concertId}/performances`, { venueId, startsAt, seating: { sections } });
    await this.queue(concertId, { mode: "OPEN", ...options.queue });
    return { concertId, performanceId, title, path: `/#/concerts/${concertId}/performances/${performanceId}` };
  }

  async queue(concertId: number, settings: object): Promise<void> {
    await this.request("PUT", `/admin/concerts/${concertId}/queue`, { ...QUEUE, ...settings });
  }

  async join(concertId: number): Promise<string> {
    return (await this.post("/queue/tokens", { concertId })).queueToken;
  }
}

export const test = base.extend<{ admin: Api; url: string; databaseUrl: string; closing: void }>({
  // Pages of one test would go on asking during the next ones.
  closing: [async ({ browser }, use) => {
    await use();
    await Promise.all(browser.contexts().map((context) => context.close()));
  }, { auto: true }],
  url: async ({}, use) => use(process.env.TEST_URL!),
  databaseUrl: async ({}, use) => use(process.env.TEST_DATABASE_URL!),
  admin: async ({ url }, use) => use(await Api.admin(url)),
});

export { expect, Server };
export type { Browser, BrowserContext, Page };

/** Logs in through the page. */
export async function logIn(page: Page, url: string, email: string, password = PASSWORD): Promise<void> {
  await page.goto(`${url}/#/login`);
  await page.getByLabel("E-mail", { exact: true }).fill(email);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
  await expect(page.getByRole("link", { name: "Account", exact: true })).toBeVisible();
}

/** A buyer of their own, logged in on a page of their own. */
export async function buyer(browser: Browser, url: string, points = "0"): Promise<{ page: Page; api: Account; context: BrowserContext }> {
  const api = await Api.account(url, points);
  const context = await browser.newContext();
  const page = await context.newPage();
  await logIn(page, url, api.email);
  return { page, api, context };
}

/** From a sale's address to its seats. */
export async function enter(page: Page, url: string, sale: Sale): Promise<void> {
  await page.goto(url + sale.path);
  await page.getByRole("button", { name: "Join the queue" }).click();
  await expect(page.getByRole("heading", { name: "Choose your seats" })).toBeVisible();
}

/** The button of a seat in the list. */
export const seat = (page: Page, section: string, row: string, number: number) =>
  page.getByRole("button", { name: new RegExp(`^${section}, row ${row}, seat ${number},`) });

export async function openList(page: Page): Promise<void> {
  await page.getByRole("button", { name: "List", exact: true }).click();
  await expect(page.getByLabel("Section")).toBeVisible();
}

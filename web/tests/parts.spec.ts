import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Api, PASSWORD, Server, buyer, enter, expect, logIn, openList, seat, test } from "./stage";

/** The last code that a server without mail has logged for an account. */
async function loggedCode(server: Server, userId: string, purpose: string): Promise<string> {
  const path = fileURLToPath(new URL(`../../.local/web/server-${server.port}.log`, import.meta.url));
  let code: string | undefined;
  await expect.poll(() => {
    const lines = readFileSync(path, "utf8").split("\n").filter((line) => line.includes(userId) && line.includes(purpose) && /code="?[\w-]+/.test(line));
    code = /code="?([\w-]+)/.exec(lines.at(-1) ?? "")?.[1];
    return code;
  }).toBeTruthy();
  return code!;
}

test("an e-mail address is confirmed, and a forgotten password replaced, by codes", async ({ browser, page, databaseUrl }) => {
  const server = await Server.start(databaseUrl);
  try {
    const { page: account, api } = await buyer(browser, server.url);
    const { email } = api;
    await account.getByRole("link", { name: "Account", exact: true }).click();
    await expect(account.getByText("not confirmed")).toBeVisible();
    await account.getByLabel("Code").fill("wrong");
    await account.getByRole("button", { name: "Confirm", exact: true }).click();
    await expect(account.getByText(/code/i).last()).toBeVisible();
    await account.getByLabel("Code").fill(await loggedCode(server, api.userId, "VERIF"));
    await account.getByRole("button", { name: "Confirm", exact: true }).click();
    await expect(account.locator(".tag.confirmed").first()).toHaveText("confirmed");

    await page.goto(`${server.url}/#/login`);
    await page.getByRole("link", { name: "Forgotten the password?" }).click();
    await page.getByLabel("E-mail").fill(email);
    await page.getByRole("button", { name: "Send the code" }).click();
    await expect(page.getByText("a code is on its way")).toBeVisible();
    await page.getByLabel("Code").fill("not-the-code");
    await page.getByLabel("New password").fill("another-password-1");
    await page.getByRole("button", { name: "Change the password" }).click();
    await expect(page.getByText("This code is wrong, used or too old.")).toBeVisible();
    await expect(page.getByLabel("Code")).toHaveValue("not-the-code");
    await page.getByLabel("Code").fill(await loggedCode(server, api.userId, "RESET"));
    await page.getByRole("button", { name: "Change the password" }).click();
    await expect(page.getByText("Log in with it.")).toBeVisible();
    await logIn(page, server.url, email, "another-password-1");
  } finally {
    await server.stop();
  }
});

test("an account with points is deleted only after a second answer that names them", async ({ browser, url }) => {
  const { page, api } = await buyer(browser, url, "50000");
  await page.getByRole("link", { name: "Account", exact: true }).click();
  const remove = page.getByRole("button", { name: "Delete the account" });
  await remove.click();
  await remove.click();
  const question = page.getByText("The account still has 50,000 P.");
  await expect(question).toBeFocused();
  await page.getByRole("button", { name: "Back", exact: true }).click();
  await expect(question).toBeHidden();
  expect((await api.get("/points")).balance).toBe("50000");
  await remove.click();
  await remove.click();
  await page.getByRole("button", { name: "Delete and give up 50,000 P" }).click();
  await expect(page.getByRole("link", { name: "Log in" })).toBeVisible();
  await expect(new Api(url).logIn(api.email, PASSWORD)).rejects.toThrow("401");
});

test("an operator blocks seats by selecting them, and buyers see them go and come back", async ({ browser, page, url, admin }) => {
  const sale = await admin.sale();
  const holder = await Api.account(url);
  const token = { "Queue-Token": await holder.join(sale.concertId) };
  await holder.post("/bookings", { performanceId: sale.performanceId, bestAvailable: { quantity: 1, grade: "R" } }, token);
  const one = await buyer(browser, url);
  await enter(one.page, url, sale);
  await openList(one.page);
  await logIn(page, url, "admin@demo.example", "demo-password-1");
  await page.goto(`${url}/#/operator/performances/${sale.performanceId}`);
  // The whole house, of which one seat is held: what is selected is what the button is about.
  await page.getByRole("button", { name: "Select an area" }).click();
  const plan = (await page.getByRole("application").boundingBox())!;
  await page.mouse.move(plan.x + 2, plan.y + 2);
  await page.mouse.down();
  await page.mouse.move(plan.x + plan.width - 2, plan.y + plan.height - 2, { steps: 4 });
  await page.mouse.up();
  await expect(page.getByRole("button", { name: "Block 111 seats" })).toBeVisible();
  await expect(page.getByText("111 seats", { exact: true })).toBeAttached();
  await page.getByRole("button", { name: "Clear the selection" }).click();
  await openList(page);
  await seat(page, "Floor", "A", 1).click();
  await seat(page, "Floor", "A", 2).click();
  await page.getByLabel("Reason").fill("Behind the mixing desk");
  await page.getByRole("button", { name: "Block 2 seats" }).click();
  await expect(seat(page, "Floor", "A", 1)).toHaveAccessibleName(/not on sale/);
  await expect(seat(one.page, "Floor", "A", 1)).toHaveAccessibleName(/not on sale/);
  await seat(page, "Floor", "A", 1).click();
  await page.getByLabel("Reason").fill("Moved the desk");
  await page.getByRole("button", { name: "Unblock 1 seat" }).click();
  await expect(seat(one.page, "Floor", "A", 1)).toHaveAccessibleName(/, free/);
});

test("the door admits a ticket once", async ({ page, url, admin }) => {
  const sale = await admin.sale();
  const api = await Api.account(url, "1000000");
  const token = { "Queue-Token": await api.join(sale.concertId) };
  const booking = await api.post("/bookings", { performanceId: sale.performanceId, bestAvailable: { quantity: 1 } }, token);
  await api.post("/payments", { bookingId: booking.bookingId }, token);
  const { items } = await api.get(`/bookings/${booking.bookingId}/tickets`);
  await logIn(page, url, "admin@demo.example", "demo-password-1");
  await page.goto(`${url}/#/operator/door`);
  for (const outcome of ["Admitted", "This ticket has been used already."]) {
    await page.getByLabel("Code of the ticket").fill(items[0].code);
    await page.getByRole("button", { name: "Admit", exact: true }).click();
    await expect(page.getByText(outcome)).toBeVisible();
  }
  await page.getByLabel("Code of the ticket").fill("AAAA");
  await page.getByRole("button", { name: "Admit", exact: true }).click();
  await expect(page.getByText("This is no ticket of this house.")).toBeVisible();
});

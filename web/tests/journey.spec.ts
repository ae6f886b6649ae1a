import { Api, buyer, enter, expect, openList, seat, test, unique, PASSWORD } from "./stage";

test("a visitor finds a concert, signs up, and leaves with a ticket", async ({ page, url, admin }) => {
  const sale = await admin.sale({ queue: { mode: "QUEUE" } });
  await page.goto(`${url}/`);
  await page.getByLabel("Title or artist").fill(sale.title);
  await page.getByRole("link", { name: new RegExp(sale.title) }).click();
  await expect(page.getByRole("heading", { name: sale.title })).toBeVisible();
  await page.getByRole("button", { name: "Get tickets" }).click();

  // The way leads on behind the login.
  await page.getByRole("link", { name: "Create an account" }).click();
  await page.getByLabel("Name").fill("Min Kim");
  await page.getByLabel("E-mail").fill(`${unique("visitor").replace(" ", "-")}@demo.example`);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Create an account" }).click();
  await expect(page.getByRole("heading", { name: "Choose your seats" })).toBeVisible();

  await page.getByRole("button", { name: "Find and hold" }).click();
  await expect(page.getByRole("timer")).toContainText(/4:\d\d/);
  await page.getByRole("button", { name: "Extend the time" }).click();
  await expect(page.getByRole("timer")).toContainText(/6:\d\d/);
  await page.getByRole("button", { name: "Top up 300,000 P" }).click();
  await page.getByRole("button", { name: "Pay 300,000 P" }).click();
  await expect(page.getByRole("heading", { name: "Booked" })).toBeVisible();
  await expect(page.getByRole("img", { name: /^QR code/ })).toHaveCount(2);

  await page.getByRole("link", { name: "Bookings" }).click();
  await page.getByRole("link", { name: new RegExp(sale.title) }).click();
  await page.getByRole("button", { name: "Cancel and refund" }).click();
  await page.getByRole("button", { name: "Cancel and refund" }).click();
  await expect(page.getByRole("heading", { name: "Refunded" })).toBeVisible();
  await page.getByRole("link", { name: "Points" }).click();
  await expect(page.locator(".balance")).toHaveText("300,000 P");
});

test("the plan is used by keyboard alone", async ({ browser, url, admin }) => {
  const sale = await admin.sale();
  const { page } = await buyer(browser, url);
  await enter(page, url, sale);
  const plan = page.getByRole("application");
  await plan.focus();
  await page.keyboard.press("ArrowRight");
  await expect(page.locator("[aria-live=assertive]")).toContainText("Floor, row A, seat 1, VIP, 150,000 P, free");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  await expect(page.locator("[aria-live=assertive]")).toContainText("Floor, row B, seat 2");
  await page.keyboard.press("Enter");
  await expect(page.locator("[aria-live=assertive]")).toContainText("Selected");
  await page.getByRole("button", { name: "Hold 1 seat" }).press("Enter");
  await expect(page.getByRole("rowheader", { name: "Floor, row B, seat 2" })).toBeVisible();
});

test("a seat is selected on the plan with the mouse", async ({ browser, url, admin }) => {
  const sale = await admin.sale({ sections: [{ name: "Floor", grade: "VIP", rows: 1, seatsPerRow: 3, price: "1000" }] });
  const { page } = await buyer(browser, url);
  await enter(page, url, sale);
  const plan = page.getByRole("application");
  const box = (await plan.boundingBox())!;
  // Three seats in the middle of the plan: one of them is under the pointer somewhere along a column.
  for (let y = 0.3; y < 1 && (await page.locator(".picked li").count()) === 0; y += 0.02) {
    await page.mouse.click(box.x + box.width / 2, box.y + box.height * y);
  }
  await expect(page.locator(".picked li")).toContainText("seat 2");
});

test("a booking is found again after a reload, and on every view until it is paid", async ({ browser, url, admin }) => {
  const sale = await admin.sale();
  const { page } = await buyer(browser, url, "1000000");
  await enter(page, url, sale);
  await openList(page);
  await seat(page, "Floor", "A", 3).click();
  await page.getByRole("button", { name: "Hold 1 seat" }).click();
  await expect(page.getByRole("timer")).toBeVisible();
  await page.reload();
  await expect(page.getByRole("timer")).toBeVisible();
  await page.getByRole("link", { name: "Concerts" }).click();
  await page.getByRole("link", { name: /1 seat held for you/ }).click();
  await page.getByRole("button", { name: "Pay 150,000 P" }).click();
  await expect(page.getByRole("heading", { name: "Booked" })).toBeVisible();
  await page.getByRole("link", { name: "Concerts" }).click();
  await expect(page.getByRole("link", { name: /held for you/ })).toHaveCount(0);
});

test("an account is renamed, gets another password, and ends another device's login", async ({ browser, url }) => {
  const { page, api } = await buyer(browser, url);
  const elsewhere = new Api(url);
  await elsewhere.logIn(api.email, PASSWORD);
  await page.getByRole("link", { name: "Account" }).click();
  await page.getByLabel("Name").fill("Min Lee");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("Saved.")).toBeVisible();
  await page.getByLabel("Current password").fill("wrong-password-1");
  await page.getByLabel("New password").fill("another-password-1");
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page.getByText("E-mail or password is wrong.")).toBeVisible();
  await page.getByLabel("Current password").fill(PASSWORD);
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page.getByText("The password is changed.")).toBeVisible();
  await expect(elsewhere.get("/points")).rejects.toThrow("401");
  await expect(page.getByText("this device")).toBeVisible();
});

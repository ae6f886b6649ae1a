//! All steps of a buyer, over HTTP.

use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::TestApp;

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_new_user_signs_up_and_confirms_a_booking(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(2, 5).await;
    sale.set_queue(&app, json!({"mode": "QUEUE"})).await;
    let newcomer = app.anonymous();

    let account = json!({"email": "jin@example.org", "password": "correct horse", "name": "Jin"});
    newcomer.post("/api/v1/users", account).await.expect(201);
    let login = json!({"email": "JIN@example.org", "password": "correct horse"});
    let login = newcomer.post("/api/v1/auth/login", login).await.expect(200);
    let user_id = login.text("userId").parse().unwrap();
    let buyer = newcomer.with_token(login.text("accessToken"), user_id);

    let concerts = buyer.get("/api/v1/concerts").await.expect(200).json();
    assert_eq!(concerts["items"][0]["concertId"], sale.concert_id);
    assert_eq!(sale.available(&buyer).await, 10);

    let buyer = sale.join(buyer).await;
    let waiting = buyer.get("/api/v1/queue/tokens/current").await.expect(200).json();
    assert_eq!((&waiting["status"], &waiting["position"]), (&json!("WAITING"), &json!(1)));
    let path = format!("/api/v1/performances/{}/seats", sale.performance_id);
    buyer.get(&path).await.expect_problem(403, "QUEUE_TOKEN_NOT_ACTIVE");
    app.tick().await;
    let active = buyer.get("/api/v1/queue/tokens/current").await.expect(200).json();
    assert_eq!((&active["status"], &active["position"]), (&json!("ACTIVE"), &json!(0)));

    let seats = buyer.get(&path).await.expect(200).json();
    assert_eq!(seats["seats"].as_array().unwrap().len(), 10);
    let booking = buyer.hold(sale.performance_id, &sale.seats[..2]).await.expect(201);
    assert_eq!(booking.json()["totalPrice"], "100000");
    assert_eq!(booking.json()["secondsLeft"], 300);
    assert_eq!(sale.available(&buyer).await, 8);
    let booking_id = booking.text("bookingId");

    buyer.pay(&booking_id, "pay-1").await.expect_problem(402, "INSUFFICIENT_POINTS");
    buyer.charge("150000").await;
    let paid = buyer.pay(&booking_id, "pay-2").await.expect(201).json();
    assert_eq!(paid["balance"], "50000");
    assert_eq!(paid["booking"]["status"], "CONFIRMED");
    assert_eq!(buyer.booking(&booking_id).await["status"], "CONFIRMED");
    let done = buyer.get("/api/v1/queue/tokens/current").await.expect(200).json();
    assert_eq!(done["status"], "COMPLETED");
    assert_eq!(sale.available(&buyer).await, 8);
    app.assert_invariants_hold().await;
}

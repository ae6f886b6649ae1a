//! A sale as its promoter follows it.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Sale, TestApp};

async fn sales(admin: &Client, sale: &Sale) -> Value {
    let path = format!("/api/v1/admin/concerts/{}/sales", sale.concert_id);
    let body = admin.get(&path).await.expect(200).json();
    assert_eq!(body["concertId"], sale.concert_id);
    body["performances"][0].clone()
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn sales_count_what_is_held_sold_and_paid_by_the_clock(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(2, 3).await;
    let admin = app.admin().await;
    let figures = async || {
        let found = sales(&admin, &sale).await;
        let number = |name: &str| found[name].as_u64().unwrap();
        let revenue = found["revenue"].as_str().unwrap().to_owned();
        (number("heldSeats"), number("soldSeats"), number("availableSeats"), revenue)
    };
    assert_eq!(figures().await, (0, 0, 6, "0".to_owned()));
    let buyer = app.buyer_with_points(&sale, "200000").await;
    let booking = buyer.hold(sale.performance_id, &sale.seats[..2]).await.expect(201).text("bookingId");
    let other = app.buyer(&sale).await;
    other.hold(sale.performance_id, &sale.seats[2..3]).await.expect(201);
    assert_eq!(figures().await, (3, 0, 3, "0".to_owned()));
    buyer.pay(&booking, "pay").await.expect(201);
    assert_eq!(figures().await, (1, 2, 3, "100000".to_owned()));
    // A hold is over at its deadline, whether or not a job has run; a refund gives the points back.
    app.advance(300);
    assert_eq!(figures().await, (0, 2, 4, "100000".to_owned()));
    buyer.send(Method::POST, &format!("/api/v1/bookings/{booking}/cancel"), &[], None).await.expect(200);
    assert_eq!(figures().await, (0, 0, 6, "0".to_owned()));
    let block = json!({"seatIds": sale.seats[..2], "reason": "For guests."});
    admin.post(&format!("/api/v1/admin/performances/{}/seats/block", sale.performance_id), block).await.expect(200);
    assert_eq!(
        (figures().await, sales(&admin, &sale).await["blockedSeats"].as_u64()),
        ((0, 0, 4, "0".to_owned()), Some(2))
    );
    admin.get("/api/v1/admin/concerts/999999/sales").await.expect_problem(404, "CONCERT_NOT_FOUND");
    buyer.get(&format!("/api/v1/admin/concerts/{}/sales", sale.concert_id)).await.expect_problem(403, "FORBIDDEN");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn promoters_see_the_seats_without_a_queue_token(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start_two(options);
    let sale = app.sale(1, 3).await;
    sale.set_queue(&app, json!({"mode": "PAUSED"})).await;
    let admin = app.admin().await;
    let path = format!("/api/v1/admin/performances/{}/seats", sale.performance_id);
    let house = admin.get(&path).await.expect(200);
    let statuses: Vec<_> =
        house.json()["seats"].as_array().unwrap().iter().map(|seat| seat["status"].clone()).collect();
    assert_eq!(statuses, ["AVAILABLE"; 3]);
    let tag = house.header("etag").to_owned();
    admin.send(Method::GET, &path, &[("If-None-Match", &tag)], None).await.expect(304);
    admin.get("/api/v1/admin/performances/999999/seats").await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
    app.user().await.get(&path).await.expect_problem(403, "FORBIDDEN");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_performance_can_be_read_also_when_it_is_over(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = TestApp::start(options);
    let sale = app.sale(1, 3).await;
    let anonymous = app.anonymous();
    let path = format!("/api/v1/performances/{}", sale.performance_id);
    let before = anonymous.get(&path).await.expect(200).json();
    assert_eq!((&before["availableSeats"], &before["concertId"]), (&json!(3), &json!(sale.concert_id)), "{before}");
    app.advance(31 * 86_400);
    let after = anonymous.get(&path).await.expect(200).json();
    assert_eq!((&after["availableSeats"], &after["startsAt"]), (&json!(0), &before["startsAt"]), "{after}");
    anonymous.get("/api/v1/performances/999999").await.expect_problem(404, "PERFORMANCE_NOT_FOUND");
}

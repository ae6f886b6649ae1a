//! Mails about bookings: after payment, refund and a performance's cancellation.

use axum::http::Method;
use serde_json::json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, ReceivedMail, ReceivedPicture, Sale, SmtpServer, Tables, TestApp, read_png_qr};

/// Holds and pays for the first seats of a sale. Returns the booking's id.
async fn buy(buyer: &Client, sale: &Sale, seats: &[u64], language: &str) -> String {
    let booking = buyer.hold(sale.performance_id, seats).await.expect(201).text("bookingId");
    let headers = [("Idempotency-Key", booking.as_str()), ("Accept-Language", language)];
    let body = json!({"bookingId": booking});
    buyer.send(Method::POST, "/api/v1/payments", &headers, Some(body)).await.expect(201);
    booking
}

async fn cancel(buyer: &Client, booking: &str, language: &str) {
    let path = format!("/api/v1/bookings/{booking}/cancel");
    buyer.send(Method::POST, &path, &[("Accept-Language", language)], Some(json!({}))).await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_payment_and_a_refund_are_mailed_with_the_seats(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 2, &mails.settings(&mut url));
    let sale = app.sale(2, 4).await;
    let admin = app.admin().await;
    let title = json!({"title": "Rock & <b>\"Roll\"</b>"});
    let path = format!("/api/v1/admin/concerts/{}", sale.concert_id);
    admin.send(Method::PATCH, &path, &[], Some(title)).await.expect(200);
    let buyer = app.buyer_with_points(&sale, "100000").await;
    let booking = buy(&buyer, &sale, &sale.seats[1..3], "ko-KR,ko;q=0.9").await;
    cancel(&buyer, &booking, "en-GB").await;
    app.relay().await;

    let received = mails.drain().await;
    assert_eq!(received.len(), 2, "{received:?}");
    let [confirmation, refund] = [&received[0], &received[1]];
    assert!(received.iter().all(|mail| mail.to() == confirmation.to() && mail.text.contains(&booking)));
    // Both are in the language of the buyer's last request as of their sending.
    assert_eq!(confirmation.subject(), "Your booking is confirmed: Rock & <b>\"Roll\"</b>");
    assert_eq!(refund.subject(), "Your booking is cancelled: Rock & <b>\"Roll\"</b>");
    for line in [
        "Concert: Rock & <b>\"Roll\"</b> – Jin",
        "Date: Sunday, 20 December 2026, 08:00 UTC (20 December, 17:00 in Korea)",
        "Venue: Hall, Seoul",
        "Paid: 100,000 points",
        "- Floor, A, 2, R, 50,000 points",
        "- Floor, A, 3, R, 50,000 points",
    ] {
        assert!(confirmation.text.lines().any(|it| it == line), "{line}: {}", confirmation.text);
    }
    assert!(refund.text.lines().any(|line| line == "Refunded: 100,000 points"), "{}", refund.text);
    assert!(confirmation.html.contains("Rock &amp; &lt;b&gt;") && !confirmation.html.contains("<b>"));
    assert_ne!(confirmation.headers["message-id"], refund.headers["message-id"]);
}

/// One hold is cancelled by its user, another one ends with its user's place in the queue.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_cancellation_of_a_hold_is_mailed(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 2, &mails.settings(&mut url));
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    let hold = |seat: usize| buyer.hold(sale.performance_id, &sale.seats[seat..=seat]);
    let booking = hold(0).await.expect(201).text("bookingId");
    cancel(&buyer, &booking, "ko").await;
    hold(1).await.expect(201);
    buyer.delete("/api/v1/queue/tokens/current").await.expect(204);
    app.relay().await;
    let received = mails.drain().await;
    let mut subjects: Vec<_> = received.iter().map(|mail| mail.subject().to_owned()).collect();
    subjects.sort();
    // The second is in the language of the user's latest booking that has one.
    assert_eq!(subjects, ["예매가 취소되었습니다: Spring"; 2]);
    let line = "금액: 50,000 포인트";
    assert!(received.iter().all(|mail| mail.text.lines().any(|it| it == line)), "{received:?}");
}

/// A performance is cancelled after its buyers have paid in two languages; one hold is unpaid.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_cancelled_performance_is_mailed_in_each_buyers_language(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 2, &mails.settings(&mut url));
    let sale = app.sale(1, 3).await;
    let mut expected = Vec::new();
    for (seat, language) in sale.seats.iter().zip(["ko", "fr, en;q=0.5"]) {
        let buyer = app.buyer_with_points(&sale, "50000").await;
        let email = buyer.get("/api/v1/users/me").await.expect(200).text("email");
        buy(&buyer, &sale, &[*seat], language).await;
        let heading = if language == "ko" { "공연이 취소되었습니다" } else { "The performance is cancelled" };
        expected.push((email, format!("{heading}: Spring")));
    }
    let holder = app.buyer(&sale).await;
    holder.hold(sale.performance_id, &sale.seats[2..]).await.expect(201);
    let email = holder.get("/api/v1/users/me").await.expect(200).text("email");
    expected.push((email, "The performance is cancelled: Spring".to_owned()));
    app.relay().await;
    assert_eq!(mails.drain().await.len(), 2);
    let path = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
    app.admin().await.post(&path, json!({})).await.expect(202);
    app.tick().await;
    app.relay().await;
    let mut received: Vec<_> =
        mails.drain().await.iter().map(|mail| (mail.to().to_owned(), mail.subject().to_owned())).collect();
    received.sort();
    expected.sort();
    assert_eq!(received, expected);
}

/// The confirmation is refused once; the refund, which happens meanwhile, waits for it.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_mails_of_a_booking_keep_their_order(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut mails, mut url) = (SmtpServer::start_with(&["--replies", "451,250"]).await, String::new());
    let app = TestApp::start_with(options, 2, &mails.settings(&mut url));
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    let booking = buy(&buyer, &sale, &sale.seats, "en").await;
    app.relay().await;
    assert_eq!(mails.drain().await.len(), 1);
    cancel(&buyer, &booking, "en").await;
    app.relay().await;
    assert_eq!(mails.drain().await.len(), 0);
    app.advance(5);
    app.relay().await;
    let subjects: Vec<_> = mails.drain().await.iter().map(|mail| mail.subject().to_owned()).collect();
    assert_eq!(subjects, ["Your booking is confirmed: Spring", "Your booking is cancelled: Spring"]);
}

/// The mail server is down until the buyer's account is deleted. Nothing is sent then, and nothing is left to send.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_deleted_user_gets_no_mail_about_a_booking(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 1, &mails.settings(&mut url));
    let sale = app.sale(1, 1).await;
    let buyer = app.buyer_with_points(&sale, "50000").await;
    buy(&buyer, &sale, &sale.seats, "en").await;
    app.advance(31 * 86_400);
    app.tick().await;
    buyer.delete("/api/v1/users/me").await.expect(204);
    app.relay().await;
    assert_eq!(mails.drain().await.len(), 0);
    assert_eq!(tables.count("SELECT COUNT(*) FROM event_deliveries WHERE status <> 'DELIVERED'").await, 0);
}

/// A performance gets another start after two of three bookings were paid. The mail of one buyer is refused at first.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_new_start_is_mailed_to_the_buyers_once_each(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut mails, mut url) = (SmtpServer::start_with(&["--replies", "250,250,451,250"]).await, String::new());
    let app = TestApp::start_with(options, 2, &mails.settings(&mut url));
    let sale = app.sale(1, 3).await;
    let mut expected = Vec::new();
    for (seat, language) in sale.seats.iter().zip(["ko", "en"]) {
        let buyer = app.buyer_with_points(&sale, "50000").await;
        buy(&buyer, &sale, &[*seat], language).await;
        let heading =
            if language == "ko" { "공연 일시가 변경되었습니다" } else { "The performance has a new date" };
        expected.push(format!("{heading}: Spring"));
    }
    app.buyer(&sale).await.hold(sale.performance_id, &sale.seats[2..]).await.expect(201);
    app.relay().await;
    mails.drain().await;
    let path = format!("/api/v1/admin/performances/{}", sale.performance_id);
    let start = json!({"startsAt": "2026-12-20T09:00:00Z"});
    app.admin().await.send(Method::PATCH, &path, &[], Some(start)).await.expect(200);
    // The event makes the notices, the notices are dispatched, and the refused one is due again.
    for _ in 0..4 {
        app.advance(2);
        app.relay().await;
    }
    let received = mails.drain().await;
    assert_eq!(received.iter().map(|mail| mail.status).collect::<Vec<_>>(), [Some(451), Some(250), Some(250)]);
    let mut accepted: Vec<_> = received[1..].iter().map(|mail| mail.subject().to_owned()).collect();
    accepted.sort();
    expected.sort();
    assert_eq!(accepted, expected);
    let ids: std::collections::BTreeSet<_> = received.iter().map(|mail| &mail.headers["message-id"]).collect();
    assert_eq!(ids.len(), 2);
    assert!(received[2].text.contains("December 2026, 09:00 UTC") || received[2].text.contains("18:00 한국 시간"));
}

/// The codes of a mail, as its pictures show them. Each is in the text, too, and the page refers to its picture.
fn codes(mail: &ReceivedMail) -> Vec<String> {
    let code = |(index, picture): (usize, &ReceivedPicture)| {
        assert_eq!((picture.content_type.as_str(), picture.disposition.as_str()), ("image/png", "inline"));
        assert_eq!(picture.name, format!("ticket-{}.png", index + 1));
        let reference = format!("src=\"cid:{}\"", picture.id.trim_matches(['<', '>']));
        assert_eq!(mail.html.matches(&reference).count(), 1, "{reference}: {}", mail.html);
        let code = read_png_qr(&picture.bytes());
        assert!(mail.text.lines().any(|line| line == code) && mail.html.contains(&code), "{code}");
        code
    };
    mail.pictures.iter().enumerate().map(code).collect()
}

/// The codes of a booking's tickets, as their owner loads them.
async fn tickets(owner: &Client, booking: &str) -> Vec<String> {
    let tickets = owner.get(&format!("/api/v1/bookings/{booking}/tickets")).await.expect(200).json();
    tickets["items"].as_array().unwrap().iter().map(|ticket| ticket["code"].as_str().unwrap().to_owned()).collect()
}

/// The mail of a payment and that of a gift: their codes open the door.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_confirmation_carries_a_ticket_for_each_seat(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 2, &mails.settings(&mut url));
    let (sale, admin) = (app.sale(1, 30).await, app.admin().await);
    let buyer = app.buyer_with_points(&sale, "150000").await;
    let booking = buy(&buyer, &sale, &sale.seats[..3], "ko").await;
    app.relay().await;
    let mail = mails.next().await;
    assert_eq!(codes(&mail), tickets(&buyer, &booking).await);
    assert!(mail.text.contains("Floor · A열 · 3번") && mail.html.contains("Floor · A열 · 3번"), "{}", mail.text);
    let admitted = admin.post("/api/v1/admin/admissions", json!({"code": codes(&mail)[2]})).await.expect(200);
    assert_eq!(admitted.json()["seat"]["seatId"], sale.seats[2]);

    // A gift of more seats than a mail has tickets, in the language of the payment before.
    let gift = json!({"userId": buyer.user_id(), "performanceId": sale.performance_id, "seatIds": sale.seats[3..],
        "reason": "a guest"});
    let gift = admin.post("/api/v1/admin/bookings", gift).await.expect(201).text("bookingId");
    app.relay().await;
    let mail = mails.next().await;
    assert_eq!(mail.subject(), "예매가 완료되었습니다: Spring");
    assert_eq!(codes(&mail), tickets(&buyer, &gift).await[..20]);
    assert!(mail.text.lines().any(|line| line.starts_with("입장권 27장 중 20장을")), "{}", mail.text);
    assert!(mail.html.len() < 100_000 && mail.size < 200_000, "{} and {} bytes", mail.html.len(), mail.size);
}

/// The mail server is down until a booking is refunded, and until another's performance is cancelled.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_late_confirmation_carries_no_ticket_of_a_cancelled_booking(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 1, &mails.settings(&mut url));
    let sale = app.sale(1, 2).await;
    let mut bookings = Vec::new();
    for seat in &sale.seats {
        let buyer = app.buyer_with_points(&sale, "50000").await;
        bookings.push((buy(&buyer, &sale, &[*seat], "en").await, buyer));
    }
    cancel(&bookings[0].1, &bookings[0].0, "en").await;
    let path = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
    app.admin().await.post(&path, json!({})).await.expect(202);
    app.relay().await;
    let received = mails.drain().await;
    let confirmations: Vec<_> = received.iter().filter(|mail| mail.subject().contains("confirmed")).collect();
    assert_eq!((received.len(), confirmations.len()), (4, 2), "{received:?}");
    assert!(received.iter().all(|mail| mail.pictures.is_empty() && !mail.html.contains("<img")));
    for mail in confirmations {
        assert!(mail.text.contains("was cancelled before this mail was sent"), "{}", mail.text);
    }
}

/// A gift is mailed in the language in which its user was last written to.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_gift_is_mailed_in_the_language_of_its_user(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let (mut mails, mut url) = (SmtpServer::start().await, String::new());
    let app = TestApp::start_with(options, 1, &mails.settings(&mut url));
    let (sale, admin) = (app.sale(1, 2).await, app.admin().await);
    for (seat, language, expected) in [
        (sale.seats[0], "ko", "예매가 완료되었습니다: Spring"),
        (sale.seats[1], "fr", "Your booking is confirmed: Spring"),
    ] {
        let user = app.user().await;
        app.advance(1);
        let path = "/api/v1/users/me/email-verification";
        user.send(Method::POST, path, &[("Accept-Language", language)], None).await.expect(202);
        let gift = json!({"userId": user.user_id(), "performanceId": sale.performance_id, "seatIds": [seat],
            "reason": "a guest"});
        admin.post("/api/v1/admin/bookings", gift).await.expect(201);
        app.relay().await;
        let received = mails.drain().await;
        assert!(received.iter().any(|mail| mail.subject() == expected), "{received:?}");
    }
}

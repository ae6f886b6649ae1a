//! Administrators' cancellations and deletions against buyers.

use axum::http::Method;
use chrono::TimeDelta;
use futures::future::BoxFuture;
use serde_json::json;

use crate::support::{Client, Reply, Sale, Servers, one_and_two_servers, race, tally};

one_and_two_servers!(
    a_performance_is_cancelled_while_its_seats_are_held_and_paid,
    a_performance_is_cancelled_while_its_bookings_are_refunded,
    cancellations_of_one_performance_have_one_event,
    an_interrupted_cancellation_is_finished_by_any_server,
    a_concert_is_deleted_while_its_seats_are_held,
    a_concerts_end_follows_concurrent_changes_of_its_performances,
);

/// Half of the buyers hold, half pay for their holds, and the performance is cancelled meanwhile. In every
/// case no live booking is left in the end, and every buyer has all points back.
async fn a_performance_is_cancelled_while_its_seats_are_held_and_paid(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(4, 10).await;
    let admin = app.admin().await;
    let buyers = app.buyers(&sale, 40).await;
    let mut runners: Vec<BoxFuture<'static, Reply>> = Vec::new();
    for (number, (buyer, seat)) in buyers.iter().zip(sale.seats.clone()).enumerate() {
        buyer.charge("50000").await;
        let (client, performance_id) = (buyer.clone(), sale.performance_id);
        if number % 2 == 0 {
            runners.push(Box::pin(async move { client.hold(performance_id, &[seat]).await }));
        } else {
            let booking_id = client.hold(performance_id, &[seat]).await.expect(201).text("bookingId");
            runners.push(Box::pin(async move { client.pay(&booking_id, "pay").await }));
        }
    }
    let path = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
    runners.push(Box::pin(async move { admin.post(&path, json!({})).await }));
    let replies = race(runners).await;
    for ((status, code), _) in tally(&replies) {
        let expected = matches!(
            (status, code.as_str()),
            (201 | 202, "") | (409, "SALES_CLOSED" | "BOOKING_NOT_PAYABLE") | (403, "QUEUE_TOKEN_EXPIRED")
        );
        assert!(expected, "{status} {code}");
    }
    app.tick().await;
    for buyer in &buyers {
        let bookings = buyer.get("/api/v1/bookings").await.expect(200).json();
        for booking in bookings["items"].as_array().unwrap() {
            assert!(matches!(booking["status"].as_str(), Some("CANCELLED" | "REFUNDED")), "{booking}");
        }
        assert_eq!(buyer.balance().await, "50000");
    }
    app.assert_invariants_hold().await;
}

/// Forty users have paid; all of them cancel while the performance is cancelled, twice. Each is refunded
/// once.
async fn a_performance_is_cancelled_while_its_bookings_are_refunded(servers: Servers) {
    let app = servers.start();
    let sale = app.sale(4, 10).await;
    let admin = app.admin().await;
    let buyers = app.buyers(&sale, 40).await;
    let mut runners: Vec<BoxFuture<'static, Reply>> = Vec::new();
    for (buyer, seat) in buyers.iter().cloned().zip(sale.seats.clone()) {
        buyer.charge("50000").await;
        let booking_id = buyer.hold(sale.performance_id, &[seat]).await.expect(201).text("bookingId");
        buyer.pay(&booking_id, "pay").await.expect(201);
        let path = format!("/api/v1/bookings/{booking_id}/cancel");
        runners.push(Box::pin(async move { buyer.post(&path, json!({})).await.expect(200) }));
    }
    for admin in [&admin, &admin].map(|admin| app.on_every_server(admin).pop().unwrap()) {
        let path = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
        runners.push(Box::pin(async move { admin.post(&path, json!({})).await.expect(202) }));
    }
    for reply in race(runners).await.iter().filter(|reply| reply.status == 200) {
        assert_eq!(reply.json()["status"], "REFUNDED");
    }
    for buyer in &buyers {
        assert_eq!(buyer.balance().await, "50000");
    }
    assert_eq!(bookings_left(&admin, sale.performance_id).await, 0);
    app.assert_invariants_hold().await;
}

/// One performance is cancelled four times at once, and its concert deleted meanwhile.
async fn cancellations_of_one_performance_have_one_event(servers: Servers) {
    let (tables, app) = (servers.tables().await, servers.start());
    let admins = app.on_every_server(&app.admin().await);
    for number in 0..5 {
        let sale = app.sale(1, 1).await;
        let concert = format!("/api/v1/admin/concerts/{}", sale.concert_id);
        let path = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
        let mut runners: Vec<BoxFuture<'static, Reply>> = Vec::new();
        for repetition in 0..4 {
            let (admin, path) = (admins[repetition % admins.len()].clone(), path.clone());
            runners.push(Box::pin(async move { admin.post(&path, json!({})).await }));
        }
        let admin = admins[number % admins.len()].clone();
        runners.insert(number, Box::pin(async move { admin.delete(&concert).await.expect(204) }));
        for ((status, code), _) in tally(&race(runners).await) {
            assert!(matches!((status, code.as_str()), (202 | 204, "") | (404, "PERFORMANCE_NOT_FOUND")), "{code}");
        }
    }
    let events = "SELECT COUNT(*) FROM outbox_events WHERE type = 'performance.cancelled'";
    assert_eq!(tables.count(events).await, 5);
    app.assert_invariants_hold().await;
}

async fn bookings_left(admin: &Client, performance_id: u64) -> u64 {
    let progress = admin.get(&format!("/api/v1/admin/performances/{performance_id}")).await.expect(200).json();
    progress["bookingsLeft"].as_u64().unwrap()
}

/// The request that cancels a performance is dropped in the middle of its bookings, as when its server dies. The
/// number of remaining bookings is shown, and the job of any server settles them.
async fn an_interrupted_cancellation_is_finished_by_any_server(servers: Servers) {
    const BOOKINGS: u64 = 150;
    let app = servers.start_with(&[("LANE_BATCH_LIMIT", "8"), ("MAX_SEATS_PER_USER", "100")]);
    let sale = app.sale(5, 30).await;
    let admin = app.admin().await;
    let holds = app.buyers(&sale, 30).await.into_iter().zip(sale.seats.chunks(5)).map(|(buyer, seats)| {
        let (performance_id, seats) = (sale.performance_id, seats.to_vec());
        async move {
            for seat in seats {
                buyer.hold(performance_id, &[seat]).await.expect(201);
            }
        }
    });
    race(holds).await;
    let path = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
    let mut request = Box::pin(admin.post(&path, json!({})));
    let left = loop {
        assert!(futures::poll!(&mut request).is_pending(), "it was done before it could be broken off");
        match bookings_left(&admin, sale.performance_id).await {
            BOOKINGS => {}
            left => break left,
        }
    };
    drop(request);
    assert!(left > 0);
    // Each run of the job does one batch.
    for _ in 0..3 {
        app.instances.last().unwrap().shared.concerts.finish_cancellations().await.unwrap();
    }
    assert_eq!(bookings_left(&admin, sale.performance_id).await, 0);
    assert!(!app.instances[0].shared.concerts.finish_cancellations().await.unwrap());
    app.assert_invariants_hold().await;
}

/// Ten users hold a seat while the concert is deleted. Either a hold succeeds and the concert stays, or no hold
/// succeeds and the concert is deleted.
async fn a_concert_is_deleted_while_its_seats_are_held(servers: Servers) {
    let app = servers.start();
    for _ in 0..5 {
        let sale = app.sale(1, 10).await;
        let admin = app.admin().await;
        let buyers = app.buyers(&sale, 10).await;
        let path = format!("/api/v1/admin/concerts/{}", sale.concert_id);
        let mut runners: Vec<BoxFuture<'static, Reply>> = Vec::new();
        for (buyer, seat) in buyers.into_iter().zip(sale.seats.clone()) {
            let performance_id = sale.performance_id;
            runners.push(Box::pin(async move { buyer.hold(performance_id, &[seat]).await }));
        }
        runners.insert(5, Box::pin(async move { admin.send(Method::DELETE, &path, &[], None).await }));
        let mut replies = race(runners).await;
        let deletion = replies.remove(5);
        let held = replies.iter().filter(|reply| reply.status == 201).count();
        if deletion.status == 204 {
            assert_eq!(held, 0, "{replies:?}");
        } else {
            deletion.expect_problem(409, "CONCERT_HAS_BOOKINGS");
            assert!(held > 0);
        }
        app.anonymous().get(&format!("/api/v1/concerts/{}", sale.concert_id)).await.expect(if held == 0 {
            404
        } else {
            200
        });
    }
    app.assert_invariants_hold().await;
}

/// The last of three performances is cancelled, while the one before it is cancelled, too, or one between them is
/// added. The concert ends with the last of those that are left: its queue is open until then, and no longer.
async fn a_concerts_end_follows_concurrent_changes_of_its_performances(servers: Servers) {
    let (tables, app) = (servers.tables().await, servers.start());
    let admins = app.on_every_server(&app.admin().await);
    let (here, there) = (&admins[0], &admins[admins.len() - 1]);
    let in_days = |days| (app.now() + TimeDelta::days(days)).to_rfc3339();
    let cancel = |admin: &Client, performance: u64| -> BoxFuture<'static, Reply> {
        let (admin, path) = (admin.clone(), format!("/api/v1/admin/performances/{performance}/cancel"));
        Box::pin(async move { admin.post(&path, json!({})).await.expect(202) })
    };
    for number in 0..10 {
        let sale = app.sale(1, 1).await;
        let (second, _) = sale.add_performance(&app, &in_days(200), 1, 1).await;
        let (last, _) = sale.add_performance(&app, &in_days(400), 1, 1).await;
        let other: BoxFuture<'static, Reply> = if number % 2 == 0 {
            cancel(there, second)
        } else {
            let path = format!("/api/v1/admin/concerts/{}/performances", sale.concert_id);
            let seating = json!({"sections": [Sale::floor(1, 1)]});
            let added = json!({"venueId": sale.venue_id, "startsAt": in_days(300), "seating": seating});
            let admin = there.clone();
            Box::pin(async move { admin.post(&path, added).await.expect(201) })
        };
        race([cancel(here, last), other]).await;
    }
    let wrong_ends = "SELECT COUNT(*) FROM concerts c WHERE c.last_performance_at <> (SELECT MAX(p.starts_at) \
                      FROM performances p WHERE p.concert_id = c.id AND p.cancelled_at IS NULL)";
    assert_eq!(tables.count(wrong_ends).await, 0);
    app.assert_invariants_hold().await;
}

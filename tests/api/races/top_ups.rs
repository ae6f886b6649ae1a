//! Races for top-ups: notifications, the job, deletion, and repeated requests, on one server and on two.

use futures::FutureExt;
use serde_json::json;
use uuid::Uuid;

use crate::support::{SANDBOX, Servers, TOP_UPS, id_of, notification, one_and_two_servers, race, tally};

one_and_two_servers!(
    a_notification_against_itself,
    a_notification_against_the_expiry,
    a_notification_against_the_deletion_of_the_account,
    one_key_makes_one_top_up,
    jobs_against_each_other_and_a_notification,
    refunding_a_top_up_against_spending_it,
);

async fn a_notification_against_itself(servers: Servers) {
    let app = servers.start_with(&SANDBOX);
    let user = app.user().await;
    for round in 1..=5 {
        let top_up = user.top_up("100").await;
        let paid = notification(&top_up, "PAID");
        let clients = app.on_every_server(&user).into_iter().cycle().take(8);
        let now = app.now();
        let replies = race(clients.map(|client| {
            let paid = paid.clone();
            async move { client.notify(&paid, now).await }
        }))
        .await;
        // One that kept losing the race is sent again by the provider.
        assert!(replies.iter().all(|reply| matches!(reply.status.as_u16(), 204 | 503)), "{replies:?}");
        assert_eq!(user.top_up_again(&top_up).await["status"], "COMPLETED");
        assert_eq!(user.balance().await, (100 * round).to_string());
    }
    app.assert_invariants_hold().await;
}

async fn a_notification_against_the_expiry(servers: Servers) {
    let app = servers.start_with(&SANDBOX);
    let user = app.user().await;
    for round in 1..=5 {
        let top_up = user.top_up("100").await;
        user.choose(&top_up, "late").await;
        app.advance(3_600);
        let paid = notification(&top_up, "PAID");
        let (client, now) = (user.clone(), app.now());
        let ((), reply) = tokio::join!(app.tick(), client.notify(&paid, now));
        assert!(matches!(reply.status.as_u16(), 204 | 503), "{reply:?}");
        assert_eq!(user.top_up_again(&top_up).await["status"], "COMPLETED");
        assert_eq!(user.balance().await, (100 * round).to_string());
    }
    app.assert_invariants_hold().await;
}

/// The points are credited before the account is deleted, or the money goes back.
async fn a_notification_against_the_deletion_of_the_account(servers: Servers) {
    let app = servers.start_with(&SANDBOX);
    for user in app.users(6).await {
        let top_up = user.top_up("100").await;
        user.choose(&top_up, "late").await;
        let paid = notification(&top_up, "PAID");
        let (client, now) = (app.on_every_server(&user).pop().unwrap(), app.now());
        let deleting = user.clone();
        let (notified, deleted) =
            tokio::join!(client.notify(&paid, now), deleting.delete("/api/v1/users/me?forfeitBalance=true"));
        deleted.expect(204);
        assert!(matches!(notified.status.as_u16(), 204 | 503), "{notified:?}");
        client.notify(&paid, now).await.expect(204);
        app.tick().await;
    }
    let pool = servers.tables().await.pool;
    let ended = "SELECT COUNT(*) FROM top_ups t LEFT JOIN point_transactions p ON p.id = t.id \
                 WHERE (t.status = 'COMPLETED' AND p.id IS NOT NULL) \
                 OR (t.status = 'FAILED' AND p.id IS NULL AND t.refunded_at IS NOT NULL)";
    let ended: i64 = sqlx::query_scalar(ended).fetch_one(&pool).await.unwrap();
    assert_eq!(ended, 6);
    app.assert_invariants_hold().await;
}

async fn one_key_makes_one_top_up(servers: Servers) {
    let app = servers.start_with(&SANDBOX);
    let user = app.user().await;
    for _ in 0..5 {
        let key = Uuid::now_v7().to_string();
        let clients = app.on_every_server(&user).into_iter().cycle().take(6);
        let replies = race(clients.map(|client| {
            let key = key.clone();
            async move { client.post_keyed(TOP_UPS, &key, json!({"amount": "100"})).await }
        }))
        .await;
        assert_eq!(tally(&replies), [((201, String::new()), 6)].into());
        assert!(replies.iter().all(|reply| reply.bytes == replies[0].bytes), "{replies:?}");
        let first = replies.iter().filter(|reply| reply.header("idempotency-replayed") != "true").count();
        assert_eq!(first, 1, "{replies:?}");
    }
    let list = user.get(TOP_UPS).await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 5);
}

async fn jobs_against_each_other_and_a_notification(servers: Servers) {
    let app = servers.start_with(&SANDBOX);
    let users = app.users(12).await;
    let mut top_ups = Vec::new();
    for user in &users {
        let top_up = user.top_up("100").await;
        user.choose(&top_up, "late").await;
        top_ups.push(top_up);
    }
    app.advance(10);
    let now = app.now();
    let notifying = race(users.iter().zip(&top_ups).map(|(user, top_up)| {
        let (user, paid) = (user.clone(), notification(top_up, "PAID"));
        async move { user.notify(&paid, now).await }
    }));
    let (replies, (), ()) = tokio::join!(notifying, app.tick(), app.tick());
    assert!(replies.iter().all(|reply| matches!(reply.status.as_u16(), 204 | 503)), "{replies:?}");
    app.tick().await;
    for (user, top_up) in users.iter().zip(&top_ups) {
        user.notify(&notification(top_up, "PAID"), now).await.expect(204);
        assert_eq!(user.balance().await, "100", "{}", id_of(top_up));
    }
    app.assert_invariants_hold().await;
}

/// The points pay for a seat, or go back to the payer; the other request finds too few. The provider gets
/// one refund request.
async fn refunding_a_top_up_against_spending_it(servers: Servers) {
    let app = servers.start_with(&SANDBOX);
    let sale = app.sale(6, 2).await;
    let admins = app.on_every_server(&app.admin().await);
    let buyers = app.buyers(&sale, sale.seats.len()).await;
    let mut refunded = 0;
    for (buyer, seat) in buyers.into_iter().zip(&sale.seats) {
        let top_up = buyer.top_up("50000").await;
        buyer.choose(&top_up, "success").await;
        let booking_id = buyer.hold(sale.performance_id, &[*seat]).await.expect(201).text("bookingId");
        let paying = app.on_every_server(&buyer).into_iter().cycle().take(2).map(|client| {
            let booking_id = booking_id.clone();
            async move { client.pay(&booking_id, "once").await }.boxed()
        });
        let refunding = admins.iter().cloned().cycle().take(2).map(|admin| {
            let path = format!("/api/v1/admin/top-ups/{}/refund", id_of(&top_up));
            async move { admin.post(&path, json!({"reason": "a race"})).await }.boxed()
        });
        let replies = race(paying.chain(refunding)).await;
        let is_refunded = buyer.top_up_again(&top_up).await["refundRequestedAt"].is_string();
        let too_few = (402, "INSUFFICIENT_POINTS".to_owned());
        let done = (if is_refunded { 202 } else { 201 }, String::new());
        assert_eq!(tally(&replies), [(done, 2), (too_few, 2)].into(), "{replies:?}");
        let status = if is_refunded { "PENDING" } else { "CONFIRMED" };
        assert_eq!(buyer.booking(&booking_id).await["status"], status);
        assert_eq!(buyer.balance().await, "0");
        refunded += i64::from(is_refunded);
        app.tick().await;
    }
    let pool = servers.tables().await.pool;
    let sent_back = "SELECT COUNT(*) FROM sandbox_checkouts WHERE refunded_at IS NOT NULL";
    assert_eq!(sqlx::query_scalar::<_, i64>(sent_back).fetch_one(&pool).await.unwrap(), refunded);
    app.assert_invariants_hold().await;
}

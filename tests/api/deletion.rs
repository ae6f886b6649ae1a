//! Deleting accounts and concerts: live bookings prevent it, ended ones don't, and nothing is written afterwards.

use axum::http::Method;
use chrono::TimeDelta;
use concert_reservation::{
    application::lane::Reply,
    domain::{
        id::{SessionId, UserId},
        points::Points,
        refusal::Refusal,
        token::AccessClaims,
        user::Role,
    },
};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use uuid::Uuid;

use crate::support::{Client, Process, Sale, Servers, Tables, TestApp, one_and_two_servers};

const ME: &str = "/api/v1/users/me";
const FORFEIT: &str = "/api/v1/users/me?forfeitBalance=true";

/// The time after its start at which a performance has ended.
const PERFORMANCE_SECONDS: i64 = 6 * 3_600;

one_and_two_servers!(a_charge_decided_after_a_deletion_is_refused);

/// The same user with an access token that is valid now.
fn with_fresh_token(app: &TestApp, client: &Client, role: Role) -> Client {
    let claims = AccessClaims {
        user_id: UserId(client.user_id()),
        session_id: SessionId(Uuid::now_v7()),
        role,
        expires_at: app.now() + TimeDelta::hours(1),
    };
    client.clone().with_token(app.ports().signer.access_token(&claims), client.user_id())
}

/// A buyer with one paid seat, and the clock one second before the performance ends.
async fn paid_until_the_end(app: &TestApp) -> (Sale, Client) {
    let sale = app.sale(1, 4).await;
    let buyer = app.buyer_with_points(&sale, "60000").await;
    let booking = buyer.hold(sale.performance_id, &sale.seats[..1]).await.expect(201).text("bookingId");
    buyer.pay(&booking, "pay").await.expect(201);
    app.advance(30 * 86_400 + PERFORMANCE_SECONDS - 1);
    (sale, buyer)
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_account_whose_performances_have_ended_is_deleted(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let (_, buyer) = paid_until_the_end(&app).await;
    let buyer = with_fresh_token(&app, &buyer, Role::User);
    buyer.delete(ME).await.expect_problem(409, "USER_HAS_LIVE_BOOKINGS");
    app.advance(1);
    buyer.delete(FORFEIT).await.expect(204);
    assert_eq!(tables.count("SELECT COUNT(*) FROM bookings WHERE status = 'CONFIRMED'").await, 1);
    assert_eq!(tables.count("SELECT CAST(SUM(balance) AS SIGNED) FROM point_wallets").await, 10_000);
    app.assert_invariants_hold().await;
}

/// The refused deletion changes nothing, and leaves the wallet open. The forfeited points stay in the books.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_balance_is_given_up_only_on_request(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let user = app.user().await;
    user.charge("50000.50").await;
    let before = tables.checksums().await;
    for path in [ME, "/api/v1/users/me?forfeitBalance=false"] {
        let problem = user.delete(path).await.expect_problem(409, "BALANCE_NOT_ZERO").json();
        assert_eq!(problem["balance"], "50000.50");
    }
    for query in ["forfeitBalance=yes", "forfeitBalance=", "forfeitBalance=true&forfeitBalance=true"] {
        user.delete(&format!("{ME}?{query}")).await.expect_problem(422, "VALIDATION_FAILED");
    }
    assert_eq!(tables.checksums().await, before);
    user.charge("1").await;
    user.delete(FORFEIT).await.expect(204);
    user.get(ME).await.expect_problem(401, "UNAUTHENTICATED");
    assert_eq!(tables.count("SELECT COUNT(*) FROM point_wallets WHERE balance = 50001.50").await, 1);
    assert_eq!(tables.count("SELECT COUNT(*) FROM point_transactions").await, 2);
    app.assert_invariants_hold().await;
}

/// The deletion doesn't change the ended performance and its paid booking: the job has nothing to refund.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_concert_whose_performances_have_ended_is_deleted(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let tables = Tables::of(&options).await;
    let app = TestApp::start(options);
    let (sale, buyer) = paid_until_the_end(&app).await;
    let admin = with_fresh_token(&app, &app.admin().await, Role::Admin);
    let path = format!("/api/v1/admin/concerts/{}", sale.concert_id);
    admin.send(Method::DELETE, &path, &[], None).await.expect_problem(409, "CONCERT_HAS_BOOKINGS");
    app.advance(1);
    admin.send(Method::DELETE, &path, &[], None).await.expect(204);
    admin.get(&format!("/api/v1/concerts/{}", sale.concert_id)).await.expect_problem(404, "CONCERT_NOT_FOUND");
    app.tick().await;
    assert_eq!(tables.count("SELECT COUNT(*) FROM performances WHERE cancelled_at IS NOT NULL").await, 0);
    let bookings = with_fresh_token(&app, &buyer, Role::User).get("/api/v1/bookings").await.expect(200).json();
    assert_eq!(bookings["items"][0]["status"], "CONFIRMED");
    app.assert_invariants_hold().await;
}

/// The charge has passed authentication and has read the wallet when the deletion commits; so it is decided again, and
/// finds the wallet closed. A lock on the account keeps both waiting, the deletion first.
async fn a_charge_decided_after_a_deletion_is_refused(servers: Servers) {
    let tables = servers.tables().await;
    let database = servers.options.get_database().unwrap().to_owned();
    let until_deleting = async || while Process::waiting(&tables.pool, &database).await.is_empty() {};
    // The newest MySQL checks foreign keys above its storage engine, which doesn't count that as waiting.
    let is_charge = |process: &Process| process.statement.starts_with("INSERT INTO point_");
    let until_charging = async || while !Process::list(&tables.pool, &database).await.iter().any(is_charge) {};
    let app = servers.start();
    for has_wallet in [false, true] {
        let user = app.user().await;
        if has_wallet {
            user.charge("10").await;
        }
        let user_id = UserId(user.user_id());
        let points = &app.instances.last().unwrap().shared.points;
        let amount: Points = "5".parse().unwrap();
        let mut lock = tables.pool.begin().await.unwrap();
        let locked = sqlx::query("SELECT id FROM users WHERE id = ? FOR UPDATE").bind(user_id.0);
        locked.execute(&mut *lock).await.unwrap();
        let (deletion, charge, ()) = tokio::join!(
            user.delete(FORFEIT),
            async {
                until_deleting().await;
                points.charge(user_id, amount, None, None).await.unwrap()
            },
            async {
                until_charging().await;
                lock.rollback().await.unwrap();
            },
        );
        deletion.expect(204);
        assert!(matches!(charge, Reply::Unrecorded(Err(Refusal::Unauthenticated))), "{has_wallet}: {charge:?}");
        let late = points.charge(user_id, amount, None, None).await.unwrap();
        assert!(matches!(late, Reply::Unrecorded(Err(Refusal::Unauthenticated))), "{has_wallet}: {late:?}");
    }
    app.assert_invariants_hold().await;
}

//! Accounts and sessions in a real database, also as seen by another instance.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta};
use concert_reservation::{
    application::{
        Ports,
        changes::ChangeCounter,
        error::AppError,
        event::Receivers,
        user::{SessionSettings, TokensInfo, UserFacade},
    },
    domain::{
        clock::{Clock, ClockCheck, Instant, ManualClock},
        concert::ConcertFields,
        id::{ConcertId, UserId},
        language::Language,
        queue::Queue,
        refusal::Refusal,
        text::{Email, Name},
        unit_of_work::Database,
        user::{Password, Role},
    },
    infrastructure::{
        mysql::MySqlDatabase, password::Argon2Hasher, randomness::OsRandomness, seed_vault::AeadSeedVault,
        token_signer::HmacTokenSigner,
    },
};
use sqlx::MySqlPool;

const PASSWORD: &str = "correct horse battery";

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One database, one clock, and any number of instances.
struct World {
    database: Arc<dyn Database>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new(pool: MySqlPool) -> Self {
        let start = DateTime::from_timestamp(1_795_161_600, 0).unwrap();
        Self { database: Arc::new(MySqlDatabase::new(pool)), clock: Arc::new(ManualClock::at(start)) }
    }

    fn instance(&self) -> UserFacade {
        self.instance_with(SessionSettings::default())
    }

    fn instance_with(&self, settings: SessionSettings) -> UserFacade {
        let ports = Ports {
            clock_check: Arc::new(ClockCheck::new(self.clock.clone())),
            database: Arc::clone(&self.database),
            back_office: Arc::clone(&self.database),
            clock: self.clock.clone(),
            randomness: Arc::new(OsRandomness),
            signer: Arc::new(HmacTokenSigner::new(&["a secret of more than 32 characters".to_owned()]).unwrap()),
            seeds: Arc::new(
                AeadSeedVault::new(&["a secret of more than 32 characters".to_owned()], Arc::new(OsRandomness))
                    .unwrap(),
            ),
            receivers: Receivers::new([]),
            event_written: Arc::default(),
            seat_change_counter: ChangeCounter::default(),
        };
        let hasher = Arc::new(Argon2Hasher::new(Arc::new(OsRandomness)));
        UserFacade::new(ports, Arc::clone(&self.database), hasher, 2, settings).unwrap()
    }
}

async fn sign_up(users: &UserFacade, email: &str) -> UserId {
    let (password, name) = (Password::new(PASSWORD).unwrap(), Name::new("Jin").unwrap());
    users.sign_up(address(email), password, name, CLIENT, Language::default()).await.unwrap().id
}

async fn log_in(users: &UserFacade, email: &str) -> TokensInfo {
    users.log_in(&address(email), PASSWORD.to_owned(), CLIENT, None).await.unwrap()
}

fn address(text: &str) -> Email {
    Email::new(text).unwrap()
}

fn refusal<T>(result: Result<T, AppError>) -> Refusal {
    match result {
        Err(AppError::Refused(refusal)) => refusal,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_account_is_created_once_and_needs_its_password(pool: MySqlPool) {
    let users = World::new(pool).instance();
    let id = sign_up(&users, "Jin@example.org").await;
    let again =
        users.create_admin(address("jin@EXAMPLE.org"), Password::new(PASSWORD).unwrap(), Name::new("Mina").unwrap());
    assert_eq!(refusal(again.await), Refusal::EmailTaken);

    let tokens = log_in(&users, "jin@example.org").await;
    assert_eq!((tokens.user_id, tokens.expires_in_seconds), (id, 3_600));
    assert_eq!(tokens.refresh_expires_in_seconds, 14 * 86_400);
    let claims = users.authenticate(&tokens.access_token).await.unwrap();
    assert_eq!((claims.user_id, claims.role), (id, Role::User));
    for (email, password) in [("jin@example.org", "correct horse batterz"), ("mina@example.org", PASSWORD)] {
        let refused = users.log_in(&address(email), password.to_owned(), CLIENT, None).await;
        assert_eq!(refusal(refused), Refusal::InvalidCredentials);
    }

    let renamed = users.rename(id, Name::new("Mina").unwrap()).await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.email.as_str()), ("Mina", "Jin@example.org"));
    assert_eq!(users.profile(id).await.unwrap().name.as_str(), "Mina");
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn expired_and_forged_access_tokens_are_refused(pool: MySqlPool) {
    let world = World::new(pool);
    let users = world.instance();
    sign_up(&users, "jin@example.org").await;
    let token = log_in(&users, "jin@example.org").await.access_token;
    world.clock.advance(TimeDelta::seconds(3_600) - TimeDelta::microseconds(1));
    users.authenticate(&token).await.unwrap();
    world.clock.advance(TimeDelta::microseconds(1));
    for token in [token.as_str(), "", "forged"] {
        assert_eq!(refusal(users.authenticate(token).await), Refusal::Unauthenticated);
    }
}

/// A login is ended on one instance. That instance refuses its tokens at once; the other, whose job doesn't run here,
/// as soon as a second has passed by the clock; so does one that is started later.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_logout_takes_effect_on_every_server_within_a_second(pool: MySqlPool) {
    let world = World::new(pool);
    let (here, there) = (world.instance(), world.instance());
    sign_up(&here, "jin@example.org").await;
    let tokens = log_in(&here, "jin@example.org").await;
    let other_login = log_in(&here, "jin@example.org").await;
    let claims = there.authenticate(&tokens.access_token).await.unwrap();

    here.log_out(claims.session_id).await.unwrap();
    here.log_out(claims.session_id).await.unwrap();
    assert_eq!(refusal(here.authenticate(&tokens.access_token).await), Refusal::Unauthenticated);
    world.clock.advance(TimeDelta::milliseconds(1_001));
    assert_eq!(refusal(there.authenticate(&tokens.access_token).await), Refusal::Unauthenticated);
    assert_eq!(refusal(there.refresh(&tokens.refresh_token).await), Refusal::InvalidRefreshToken);
    world.clock.advance(TimeDelta::minutes(30));
    assert_eq!(refusal(world.instance().authenticate(&tokens.access_token).await), Refusal::Unauthenticated);
    there.authenticate(&other_login.access_token).await.unwrap();
}

/// A login is ended while its access token has half an hour left. A server that is started later with shorter access
/// tokens still refuses it.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn shortening_access_tokens_revives_no_ended_session(pool: MySqlPool) {
    let world = World::new(pool);
    let before = world.instance();
    sign_up(&before, "jin@example.org").await;
    let token = log_in(&before, "jin@example.org").await.access_token;
    let claims = before.authenticate(&token).await.unwrap();
    before.log_out(claims.session_id).await.unwrap();
    world.clock.advance(TimeDelta::minutes(30));
    let after = world.instance_with(SessionSettings { access_token_seconds: 60, ..SessionSettings::default() });
    assert_eq!(refusal(after.authenticate(&token).await), Refusal::Unauthenticated);
    // Nor does it forget the login while it runs.
    world.clock.advance(TimeDelta::minutes(29));
    after.refresh_revocations().await.unwrap();
    world.clock.advance(TimeDelta::seconds(30));
    after.refresh_revocations().await.unwrap();
    assert_eq!(refusal(after.authenticate(&token).await), Refusal::Unauthenticated);
}

/// A refresh token is exchanged, then used a second time. The refusal must commit the session's end, so the token's
/// successor is refused as well, and so is every access token.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_second_use_of_a_refresh_token_ends_its_session(pool: MySqlPool) {
    let world = World::new(pool);
    let (here, there) = (world.instance(), world.instance());
    sign_up(&here, "jin@example.org").await;
    let first = log_in(&here, "jin@example.org").await;
    world.clock.advance(TimeDelta::days(13));
    let second = here.refresh(&first.refresh_token).await.unwrap();
    assert_ne!(second.refresh_token, first.refresh_token);
    there.authenticate(&second.access_token).await.unwrap();
    world.clock.advance(TimeDelta::days(13));
    let third = here.refresh(&second.refresh_token).await.unwrap();
    world.clock.advance(TimeDelta::seconds(10));

    assert_eq!(refusal(there.refresh(&second.refresh_token).await), Refusal::InvalidRefreshToken);
    assert_eq!(refusal(here.refresh(&third.refresh_token).await), Refusal::InvalidRefreshToken);
    assert_eq!(refusal(there.authenticate(&third.access_token).await), Refusal::Unauthenticated);

    let fresh = log_in(&here, "jin@example.org").await;
    world.clock.advance(TimeDelta::days(14));
    assert_eq!(refusal(here.refresh(&fresh.refresh_token).await), Refusal::InvalidRefreshToken);
    assert_eq!(refusal(here.refresh("unknown").await), Refusal::InvalidRefreshToken);
}

/// An account with one session and a place in a queue is deleted. Login fails, the place is free, the address too, and
/// the queue counts the departure.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_deleted_account_leaves_its_queues_and_cannot_log_in(pool: MySqlPool) {
    let world = World::new(pool.clone());
    let users = world.instance();
    let id = sign_up(&users, "jin@example.org").await;
    let tokens = log_in(&users, "jin@example.org").await;
    let concert = queue_with(&world, id).await;

    users.delete_account(id, false).await.unwrap();
    assert_eq!(refusal(users.authenticate(&tokens.access_token).await), Refusal::Unauthenticated);
    assert_eq!(refusal(users.refresh(&tokens.refresh_token).await), Refusal::InvalidRefreshToken);
    let login = users.log_in(&address("jin@example.org"), PASSWORD.to_owned(), CLIENT, None).await;
    assert_eq!(refusal(login), Refusal::InvalidCredentials);
    assert_eq!(refusal(users.profile(id).await), Refusal::Unauthenticated);
    assert_eq!(refusal(users.delete_account(id, false).await), Refusal::Unauthenticated);
    assert_ne!(sign_up(&users, "jin@example.org").await, id);

    let mut uow = world.database.begin().await.unwrap();
    assert!(uow.queue_tokens().list_live_concerts_of(id).await.unwrap().is_empty());
    let queue = uow.queues().find_queue(concert).await.unwrap().unwrap();
    assert_eq!(queue.departed_count, 1);
    let (status,): (String,) = sqlx::query_as("SELECT status FROM queue_tokens").fetch_one(&pool).await.unwrap();
    assert_eq!(status, "LEFT");
}

/// A user with a hold stays, also in the queue, until the hold has expired by the clock.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_account_with_a_live_booking_is_not_deleted(pool: MySqlPool) {
    let world = World::new(pool.clone());
    let users = world.instance();
    let id = sign_up(&users, "jin@example.org").await;
    let concert = queue_with(&world, id).await;
    hold(&pool, id, concert, world.clock.now() + TimeDelta::minutes(5)).await;

    assert_eq!(refusal(users.delete_account(id, false).await), Refusal::UserHasLiveBookings);
    let mut uow = world.database.begin().await.unwrap();
    assert_eq!(uow.queue_tokens().list_live_concerts_of(id).await.unwrap(), [concert]);
    drop(uow);
    world.clock.advance(TimeDelta::minutes(5));
    users.delete_account(id, false).await.unwrap();
}

/// A concert in whose queue the user waits.
async fn queue_with(world: &World, user_id: UserId) -> ConcertId {
    let now = world.clock.now();
    let name = || Name::new("IU").unwrap();
    let fields = ConcertFields { title: name(), artist: name(), category: name(), description: String::new() };
    let mut uow = world.database.begin().await.unwrap();
    let concert = uow.concerts().insert_concert(&fields, now).await.unwrap();
    let mut queue = Queue::new(concert, now);
    let token = queue.issue(user_id, 1, now).unwrap();
    uow.queues().insert_queue(&queue).await.unwrap();
    uow.queue_tokens().insert_tokens(&[token]).await.unwrap();
    uow.commit().await.unwrap();
    concert
}

/// A pending booking, held until then.
async fn hold(pool: &MySqlPool, user_id: UserId, concert: ConcertId, until: Instant) {
    let id = [7_u8; 16].as_slice();
    for statement in [
        "INSERT INTO venues (id, name, address, created_at) VALUES (1, 'Hall', 'Seoul', '2026-01-01')",
        "INSERT INTO performances (id, concert_id, venue_id, starts_at, total_seats, min_price, max_price, created_at) \
         SELECT 1, id, 1, '2027-12-31', 1, 5, 5, created_at FROM concerts",
    ] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
    sqlx::query(
        "INSERT INTO bookings (id, user_id, concert_id, performance_id, status, seat_count, total_price, held_until, \
         extended, created_at) VALUES (?, ?, ?, 1, 'PENDING', 1, 5, ?, FALSE, '2026-01-01')",
    )
    .bind(id)
    .bind(user_id.0)
    .bind(concert.0)
    .bind(until)
    .execute(pool)
    .await
    .unwrap();
}

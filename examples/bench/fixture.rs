//! Test data: users, sales, queue tokens. Users are inserted in bulk, without hashing passwords, so that preparation is
//! quick.

use std::sync::Arc;

use chrono::TimeDelta;
use concert_reservation::{
    app::{App, system_clock},
    application::concert::CreatePerformance,
    config::Config,
    domain::{
        concert::{ConcertFields, Seating, Section},
        id::{ConcertId, PerformanceId, SessionId, UserId},
        queue::{QueueMode, QueueSettings},
        randomness::new_uuid,
        text::Name,
        token::AccessClaims,
        user::Role,
    },
    infrastructure::mysql,
};
use futures::{StreamExt, TryStreamExt, stream};
use sqlx::{MySql, MySqlPool, QueryBuilder, mysql::MySqlConnectOptions};

/// Rows per statement.
const ROWS_PER_STATEMENT: usize = 1_000;

/// Concurrent joins: twice the batch limit of a lane.
const CONCURRENT_JOINS: usize = 256;

/// The price of each seat, in points.
pub(crate) const PRICE: &str = "50000";

const SEATS_PER_ROW: u16 = 100;

/// A user with an access token and, after joining, a queue token.
#[derive(Clone)]
pub(crate) struct Buyer {
    pub(crate) id: UserId,
    pub(crate) access_token: String,
    /// Empty before the user has joined.
    pub(crate) queue_token: String,
}

/// A concert with one performance.
#[derive(Clone)]
pub(crate) struct Sale {
    pub(crate) concert: ConcertId,
    pub(crate) performance: PerformanceId,
    pub(crate) seats: Vec<u64>,
}

/// Creates the data of a scenario, through the application's facades where that is fast enough.
pub(crate) struct Fixture {
    pub(crate) app: App,
    pub(crate) pool: MySqlPool,
}

impl Fixture {
    pub(crate) async fn new(config: &Config, database: &MySqlConnectOptions) -> anyhow::Result<Self> {
        mysql::migrate(database).await?;
        let app = App::build(config, database.clone(), system_clock())?;
        let pool = MySqlPool::connect_with(database.clone()).await?;
        Ok(Self { app, pool })
    }

    /// Creates `count` users with a session each.
    pub(crate) async fn buyers(&self, count: usize) -> anyhow::Result<Vec<Buyer>> {
        let mut buyers = Vec::with_capacity(count);
        while buyers.len() < count {
            let inserted = self.insert_users(ROWS_PER_STATEMENT.min(count - buyers.len())).await?;
            buyers.extend(inserted);
        }
        Ok(buyers)
    }

    async fn insert_users(&self, count: usize) -> anyhow::Result<Vec<Buyer>> {
        let ports = &self.app.ports;
        let now = ports.now();
        let ids: Vec<_> = (0..count)
            .map(|_| {
                let id = || new_uuid(&*ports.randomness, now);
                (UserId(id()), SessionId(id()))
            })
            .collect();
        let expires_at = now + TimeDelta::days(1);
        let mut users = QueryBuilder::<MySql>::new(
            "INSERT INTO users (id, email, email_key, password_hash, name, role, created_at) ",
        );
        users.push_values(&ids, |mut row, (user, _)| {
            let email = format!("{user}@bench.example");
            row.push_bind(user.0).push_bind(email.clone()).push_bind(email).push_bind("none: no login");
            row.push_bind("Bench").push_bind("USER").push_bind(now);
        });
        let mut sessions = QueryBuilder::<MySql>::new("INSERT INTO sessions (id, user_id, created_at, expires_at) ");
        sessions.push_values(&ids, |mut row, (user, session)| {
            row.push_bind(session.0).push_bind(user.0).push_bind(now).push_bind(expires_at);
        });
        let mut transaction = self.pool.begin().await?;
        users.build().execute(&mut *transaction).await?;
        sessions.build().execute(&mut *transaction).await?;
        transaction.commit().await?;
        let buyer = |(user_id, session_id)| {
            let claims = AccessClaims { user_id, session_id, role: Role::User, expires_at };
            Buyer { id: user_id, access_token: ports.signer.access_token(&claims), queue_token: String::new() }
        };
        Ok(ids.into_iter().map(buyer).collect())
    }

    /// Creates a sale that admits every user at once.
    pub(crate) async fn open_sale(&self, seats: usize) -> anyhow::Result<Sale> {
        let settings = QueueSettings {
            mode: QueueMode::Open,
            max_active: 1_000_000,
            active_seconds: 86_400,
            claim_seconds: 3_600,
            ..QueueSettings::default()
        };
        self.sale(seats, settings).await
    }

    /// Creates a sale that admits one user per hour, so that almost all of them wait.
    pub(crate) async fn closed_sale(&self) -> anyhow::Result<Sale> {
        let settings =
            QueueSettings { admit_count: 1, admit_interval_seconds: 3_600, max_active: 1, ..QueueSettings::default() };
        self.sale(usize::from(SEATS_PER_ROW), settings).await
    }

    /// Creates a concert with one performance of at least this many seats.
    pub(crate) async fn sale(&self, seats: usize, settings: QueueSettings) -> anyhow::Result<Sale> {
        let concerts = &self.app.shared.concerts;
        let name = Name::new("Bench")?;
        let venue = concerts.create_venue(None, &name, &name).await?;
        let fields = ConcertFields {
            title: name.clone(),
            artist: name.clone(),
            category: name.clone(),
            description: String::new(),
        };
        let concert = concerts.create_concert(None, &fields).await?.listed.concert.id;
        concerts.set_queue(None, concert, settings).await?;
        let seats_per_row = SEATS_PER_ROW.min(u16::try_from(seats).unwrap_or(u16::MAX));
        let rows = u16::try_from(seats.div_ceil(usize::from(seats_per_row)))?;
        let section = Section { name: name.clone(), grade: name, rows, seats_per_row, price: PRICE.parse()? };
        let starts_at = self.app.ports.now() + TimeDelta::days(30);
        let seating = Seating::new(vec![section])?;
        let command = CreatePerformance { concert_id: concert, venue_id: venue.id, starts_at, seating };
        let performance = concerts.create_performance(None, &command).await?.listed.performance.id;
        let seats = self.app.ports.database.read().await?.concerts().list_seats(performance).await?;
        Ok(Sale { concert, performance, seats: seats.into_iter().map(|seat| seat.id.0).collect() })
    }

    /// Joins the queue of a concert with all buyers, and stores their tokens.
    pub(crate) async fn join(&self, concert: ConcertId, buyers: &mut [Buyer]) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.app.shared);
        stream::iter(buyers.iter_mut().map(|buyer| async {
            buyer.queue_token = shared.queue.membership.join(buyer.id, concert).await?.0.text;
            anyhow::Ok(())
        }))
        .buffer_unordered(CONCURRENT_JOINS)
        .try_collect()
        .await
    }
}

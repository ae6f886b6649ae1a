//! Servers under test.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use concert_reservation::{
    app::{App, system_clock},
    application::Ports,
    config::Config,
    domain::{
        clock::{Clock, ManualClock},
        id::{CodeId, SessionId, UserId},
        randomness::new_uuid,
        text::{Email, Name},
        token::AccessClaims,
        user::{Role, Session, User},
    },
    infrastructure::mysql,
};
use sqlx::{MySqlPool, mysql::MySqlConnectOptions};
use uuid::Uuid;

use super::{Client, Sale};

/// The number of accounts that one transaction inserts.
const ACCOUNTS_PER_TRANSACTION: usize = 250;

/// The test's clock with an offset.
struct SkewedClock {
    clock: Arc<ManualClock>,
    skew: TimeDelta,
}

impl Clock for SkewedClock {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + self.skew
    }

    fn is_wall_clock(&self) -> bool {
        false
    }
}

/// The configuration of a test. Caches are off unless the test sets their age.
fn config(settings: &[(&str, &str)]) -> Config {
    let settings: BTreeMap<_, _> = settings.iter().copied().collect();
    let config = Config::from_lookup(|name| match name {
        "DEMO" if !settings.contains_key(name) => Some("true".to_owned()),
        "CATALOGUE_CACHE_MILLISECONDS" | "SEAT_MAP_CACHE_MILLISECONDS" if !settings.contains_key(name) => {
            Some("0".to_owned())
        }
        name => settings.get(name).map(|value| (*value).to_owned()),
    });
    config.expect("the settings of a test are good")
}

/// One database with one or more servers, which share a clock that only the test moves.
pub(crate) struct TestApp {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) instances: Vec<App>,
    routers: Vec<Router>,
    users: AtomicU64,
}

/// The options of the test's database at each node of the cluster in `CLUSTER_URLS`, or the given ones alone.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' environment says where the databases are, as DATABASE_URL does"
)]
fn nodes(options: MySqlConnectOptions) -> Vec<MySqlConnectOptions> {
    let Ok(urls) = std::env::var("CLUSTER_URLS") else { return vec![options] };
    let node = |url| mysql::parse_url(url).unwrap().database(options.get_database().unwrap());
    urls.split(',').map(node).collect()
}

impl TestApp {
    /// One server.
    pub(crate) fn start(options: MySqlConnectOptions) -> Self {
        Self::start_with(options, 1, &[])
    }

    /// Two servers on one database.
    pub(crate) fn start_two(options: MySqlConnectOptions) -> Self {
        Self::start_with(options, 2, &[])
    }

    /// Servers with some variables set.
    pub(crate) fn start_with(options: MySqlConnectOptions, instances: usize, settings: &[(&str, &str)]) -> Self {
        Self::start_skewed(options, &vec![0; instances], settings)
    }

    /// One server for each skew, which is the number of seconds by which its clock is ahead of the test's.
    pub(crate) fn start_skewed(options: MySqlConnectOptions, skews: &[i64], settings: &[(&str, &str)]) -> Self {
        let config = config(settings);
        let clock = Arc::new(ManualClock::at("2026-11-20T08:00:00Z".parse().unwrap()));
        let instances: Vec<_> = skews
            .iter()
            .zip(nodes(options).into_iter().cycle())
            .map(|(skew, options)| {
                let clock = Arc::new(SkewedClock { clock: Arc::clone(&clock), skew: TimeDelta::seconds(*skew) });
                App::build(&config, options, clock).expect("a server can be wired")
            })
            .collect();
        Self::of(clock, instances)
    }

    /// One server for each clock. The test's own clock stands at the machine's time of the start.
    pub(crate) fn start_with_clocks(
        options: &MySqlConnectOptions,
        clocks: impl IntoIterator<Item = Arc<dyn Clock>>,
    ) -> Self {
        let config = config(&[]);
        let build = |(clock, options)| App::build(&config, options, clock).expect("a server can be wired");
        let instances = clocks.into_iter().zip(nodes(options.clone()).into_iter().cycle()).map(build).collect();
        Self::of(Arc::new(ManualClock::at(system_clock().now())), instances)
    }

    fn of(clock: Arc<ManualClock>, instances: Vec<App>) -> Self {
        let routers = instances.iter().map(App::router).collect();
        Self { clock, instances, routers, users: AtomicU64::new(0) }
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.instances[0].ports
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// A client without a login.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(self.routers[0].clone())
    }

    /// A new user, logged in.
    pub(crate) async fn user(&self) -> Client {
        self.account(Role::User).await
    }

    /// A new administrator, logged in.
    pub(crate) async fn admin(&self) -> Client {
        self.account(Role::Admin).await
    }

    /// Many new users, logged in, spread over the servers.
    pub(crate) async fn users(&self, count: usize) -> Vec<Client> {
        let mut users = Vec::with_capacity(count);
        while users.len() < count {
            let number = ACCOUNTS_PER_TRANSACTION.min(count - users.len());
            users.extend(self.accounts(Role::User, number).await);
        }
        users
    }

    /// The same client with another server of the same database.
    pub(crate) fn at_instance(&self, client: &Client, instance: usize) -> Client {
        client.clone().with_router(self.routers[instance].clone())
    }

    async fn account(&self, role: Role) -> Client {
        self.accounts(role, 1).await.remove(0)
    }

    /// Inserts accounts and sessions like sign-ups and logins, without hashing a password.
    async fn accounts(&self, role: Role, count: usize) -> Vec<Client> {
        let ports = self.ports();
        let now = self.now();
        let mut uow = ports.database.begin().await.unwrap();
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            let number = self.users.fetch_add(1, Ordering::SeqCst);
            let user = User {
                id: UserId(new_uuid(&*ports.randomness, now)),
                email: Email::new(&format!("user{number}@example.org")).unwrap(),
                name: Name::new(&format!("User {number}")).unwrap(),
                role,
                password_hash: "none: this account was made by a test".to_owned(),
                created_at: now,
                email_verified_at: None,
                blocked_at: None,
            };
            let session = Session {
                id: SessionId(new_uuid(&*ports.randomness, now)),
                user_id: user.id,
                created_at: now,
                expires_at: now + TimeDelta::days(14),
                revoked_at: None,
            };
            uow.users().insert(&user).await.unwrap();
            uow.sessions().insert(&session, None).await.unwrap();
            let expires_at = now + TimeDelta::days(365);
            let claims = AccessClaims { user_id: user.id, session_id: session.id, role, expires_at };
            let token = ports.signer.access_token(&claims);
            let router = self.routers[usize::try_from(number).unwrap() % self.routers.len()].clone();
            clients.push(Client::new(router).with_token(token, user.id.0));
        }
        uow.commit().await.unwrap();
        clients
    }

    /// A sale in mode `OPEN`: one performance in 30 days, seats at 50,000 points.
    pub(crate) async fn sale(&self, rows: u64, seats_per_row: u64) -> Sale {
        self.sale_of(&[Sale::floor(rows, seats_per_row)]).await
    }

    /// The same with these sections.
    pub(crate) async fn sale_of(&self, sections: &[serde_json::Value]) -> Sale {
        Sale::create(self, sections).await
    }

    /// A user with an active queue token.
    pub(crate) async fn buyer(&self, sale: &Sale) -> Client {
        let user = self.user().await;
        sale.admit(user).await
    }

    /// A user with an active queue token and points.
    pub(crate) async fn buyer_with_points(&self, sale: &Sale, points: &str) -> Client {
        let buyer = self.buyer(sale).await;
        buyer.charge(points).await;
        buyer
    }

    /// Many users with active queue tokens, spread over the servers.
    pub(crate) async fn buyers(&self, sale: &Sale, count: usize) -> Vec<Client> {
        let users = self.users(count).await;
        futures::future::join_all(users.into_iter().map(|user| sale.admit(user))).await
    }

    /// The same client once for each server.
    pub(crate) fn on_every_server(&self, client: &Client) -> Vec<Client> {
        (0..self.instances.len()).map(|instance| self.at_instance(client, instance)).collect()
    }

    /// Runs every recurring job once, on every server.
    pub(crate) async fn tick(&self) {
        for instance in &self.instances {
            instance.shared.queue.admission.admit_due().await.unwrap();
            instance.shared.bookings.expire_holds(1_000).await.unwrap();
            instance.shared.users.refresh_revocations().await.unwrap();
            instance.shared.concerts.finish_cancellations().await.unwrap();
            instance.shared.top_ups.attend_due().await.unwrap();
        }
    }

    /// Sends every event that is due, on every server.
    pub(crate) async fn relay(&self) {
        for instance in &self.instances {
            instance.relay.run_once().await.unwrap();
        }
    }

    /// The texts of an account's codes that are neither used nor void, oldest first. Nothing but the server's secret
    /// reveals them.
    pub(crate) async fn codes(&self, pool: &MySqlPool, user_id: Uuid, purpose: &str) -> Vec<String> {
        let query =
            "SELECT id, key_id FROM mailed_codes WHERE user_id = ? AND purpose = ? AND used_at IS NULL ORDER BY id";
        let rows: Vec<(Uuid, u32)> = sqlx::query_as(query).bind(user_id).bind(purpose).fetch_all(pool).await.unwrap();
        let signer = &self.ports().signer;
        rows.into_iter().map(|(id, key)| signer.mailed_code(CodeId(id), key).unwrap().to_string()).collect()
    }

    /// Takes the only server out.
    pub(crate) fn into_single(mut self) -> App {
        self.instances.remove(0)
    }

    /// Closes every server. Remaining clients keep it from ending before the grace time is over.
    pub(crate) async fn close(self, grace: std::time::Duration) {
        let Self { instances, routers, .. } = self;
        drop(routers);
        for instance in instances {
            instance.close(grace).await;
        }
    }

    /// Fails unless every invariant holds.
    pub(crate) async fn assert_invariants_hold(&self) {
        let report = self.instances[0].shared.audit.check().await.unwrap();
        let broken: Vec<_> = report.invariants.iter().filter(|invariant| invariant.violations > 0).collect();
        assert!(broken.is_empty(), "broken invariants: {broken:#?}");
    }
}

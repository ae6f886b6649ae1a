//! Configuration: environment variables, and the same as flags. Every mistake is reported, not just the first.

mod values;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use ipnet::IpNet;
use url::Url;

pub use self::values::{ConfigErrors, DatabaseConnections, LogFormat, Secret, Secrets};
use crate::{
    application::{event::EventRetention, user::MAX_ACCESS_TOKEN_SECONDS},
    domain::{booking::HoldPolicy, event::SigningSecret},
    interfaces::http::{
        address::{AddressHeader, ProxySettings},
        rate_limit::RateLimitSettings,
        serve::ConnectionSettings,
    },
    telemetry::alerts::AlertSettings,
};

/// A secret as published in `.env.example`: good for a demonstration only.
pub const DEMO_SECRET: &str = "demo-secret-which-everybody-knows-0123456789";

/// How long Slack may take.
const ALERT_TIMEOUT: Duration = Duration::from_secs(5);

/// One variable: its name, its default, and what it is for. `.env.example` says the same (`tests/tidy.rs`).
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// In upper snake case; the flag is the same in lower kebab case.
    pub name: &'static str,
    /// What it is when nothing is said; empty for nothing.
    pub default: &'static str,
    /// One line for people.
    pub description: &'static str,
}

const fn variable(name: &'static str, default: &'static str, description: &'static str) -> Variable {
    Variable { name, default, description }
}

/// All variables, in the order of `.env.example`.
pub const VARIABLES: &[Variable] = &[
    variable(
        "DATABASE_URL",
        "mysql://root@127.0.0.1:3306/concert_reservation",
        "Where the database is: mysql://user:password@host:port/name",
    ),
    variable("DATABASE_CONNECT_SECONDS", "30", "How long serve waits for an absent database before it exits"),
    variable("DATABASE_MAX_CONNECTIONS", "32", "The most connections of this instance, those of the lanes included"),
    variable("LISTEN_ADDR", "127.0.0.1:8080", "The address to serve on"),
    variable(
        "OPERATIONS_LISTEN_ADDR",
        "",
        "An address of their own for /livez, /readyz and /metrics, which LISTEN_ADDR then lacks; empty for the same one",
    ),
    variable(
        "TOKEN_SECRET",
        DEMO_SECRET,
        "Signs tokens: 32 characters or more; several with commas, the first signs. The default needs DEMO=true",
    ),
    variable("DEMO", "false", "Permits the published TOKEN_SECRET and seed-demo: never where real points are sold"),
    variable("HOLD_SECONDS", "300", "How long seats are held unpaid"),
    variable("HOLD_EXTENSION_SECONDS", "120", "How much longer once a hold is extended"),
    variable("MAX_SEATS_PER_USER", "4", "The most seats of one performance in a user's live bookings (1 to 100)"),
    variable("REFUND_CUTOFF_HOURS", "24", "How long before a performance refunds close"),
    variable("ACCESS_TOKEN_SECONDS", "3600", "How long an access token works"),
    variable("REFRESH_TOKEN_DAYS", "14", "How long a refresh token works"),
    variable(
        "REFRESH_REUSE_SECONDS",
        "10",
        "How long a used refresh token gets its first answer again (0 to 300); later use ends its session",
    ),
    variable("SESSION_MAX_DAYS", "90", "How long after its login a session ends, however often it is refreshed"),
    variable("QUEUE_TOKEN_RETENTION_DAYS", "30", "How long ended queue tokens and the records of admissions are kept"),
    variable("LANES", "2", "The most transactions of each kind of write that work at once, about one per core"),
    variable("LANE_BATCH_LIMIT", "128", "The most commands in one transaction"),
    variable(
        "LANE_INBOX",
        "4096",
        "The most commands waiting for the lanes of one kind; beyond it requests are turned away",
    ),
    variable(
        "CATALOGUE_CACHE_MILLISECONDS",
        "1000",
        "How old lists of concerts and performances may be (0 to 1000); 0 reads them anew for everybody",
    ),
    variable(
        "SEAT_MAP_CACHE_MILLISECONDS",
        "3",
        "How old a seat map may be that another instance has changed (0 to 1000); 0 reads it anew for all who ask",
    ),
    variable("REQUEST_TIMEOUT_SECONDS", "30", "After how long a request is given up"),
    variable("BODY_SECONDS", "10", "How long a request's body may take to arrive"),
    variable("MAX_REQUESTS", "10000", "The most requests under way; the next are turned away at once with 503"),
    variable(
        "MAX_REQUESTS_PER_ADDRESS",
        "5000",
        "The most requests under way from one address; the next get 429. 0 for any number",
    ),
    variable(
        "MAX_CONNECTIONS",
        "20000",
        "The most connections of clients; beyond it idle ones are closed, or new ones wait to be taken on",
    ),
    variable(
        "MAX_CONNECTIONS_PER_ADDRESS",
        "10000",
        "The most connections from one address that isn't a trusted proxy's; 0 for any number",
    ),
    variable(
        "MAX_STREAMS_PER_TOKEN",
        "64",
        "The most open event streams of one queue token on this instance; 0 for any number",
    ),
    variable(
        "MAX_STREAMS_PER_USER",
        "128",
        "The most open event streams of one user on this instance; 0 for any number",
    ),
    variable(
        "WRITE_STALL_SECONDS",
        "30",
        "How long a client may leave what it is sent unread before it is disconnected",
    ),
    variable(
        "KEEP_ALIVE_SECONDS",
        "75",
        "How long a connection may stay without a request, or take to send its headers: longer than any proxy's own",
    ),
    variable("SHUTDOWN_GRACE_SECONDS", "20", "How long requests under way may take once the server is told to stop"),
    variable(
        "SHUTDOWN_DELAY_SECONDS",
        "3",
        "How much of that, half at most, a server told by SIGTERM goes on as ever but isn't ready, so that proxies see it",
    ),
    variable(
        "RATE_LIMIT_SIGN_UPS_PER_ADDRESS",
        "6000",
        "The most sign-ups from one address in a minute; 0 for any number",
    ),
    variable(
        "RATE_LIMIT_LOGINS_PER_ADDRESS",
        "12000",
        "The most logins from one address in a minute, failed ones included; 0 for any number",
    ),
    variable(
        "RATE_LIMIT_FAILED_LOGINS_PER_ACCOUNT",
        "100",
        "The most failed logins of one account in an hour, from wherever; 0 for any number",
    ),
    variable(
        "RATE_LIMIT_REFRESHES_PER_ADDRESS",
        "12000",
        "The most refresh tokens exchanged from one address in a minute; 0 for any number",
    ),
    variable(
        "RATE_LIMIT_JOINS_PER_ADDRESS",
        "0",
        "The most requests to join a queue from one address in a minute; 0 for any number",
    ),
    variable(
        "RATE_LIMIT_JOINS_PER_USER",
        "6000",
        "The most requests of one user to join a queue in a minute; 0 for any number",
    ),
    variable(
        "RATE_LIMIT_HOLDS_PER_ADDRESS",
        "0",
        "The most requests to hold seats from one address in a minute; 0 for any number",
    ),
    variable(
        "RATE_LIMIT_HOLDS_PER_USER",
        "18000",
        "The most requests of one user to hold seats in a minute; 0 for any number",
    ),
    variable(
        "TRUSTED_PROXIES",
        "",
        "Addresses or networks of proxies whose word about clients' addresses is taken, with commas: 10.0.0.0/8",
    ),
    variable(
        "TRUSTED_PROXIES_HEADER",
        "X-Forwarded-For",
        "Where they say it: X-Forwarded-For or Forwarded; they must write it themselves",
    ),
    variable("CORS_ALLOWED_ORIGINS", "", "Origins whose pages may call the server, with commas; * for any"),
    variable(
        "DATA_PLATFORM_URL",
        "",
        "Where events are sent, http or https; the same on every instance. Empty: nowhere",
    ),
    variable(
        "DATA_PLATFORM_SECRET",
        "",
        "Signs what is sent there: whsec_ and 32 bytes in base64, as of openssl rand -base64 32. Empty: not signed",
    ),
    variable(
        "WEBHOOK_ALLOW_PRIVATE",
        "false",
        "Permits webhooks on this machine and in private networks: for development",
    ),
    variable("EVENT_ATTEMPTS", "12", "How often an event is tried before it is parked; twelve take about a day"),
    variable(
        "EVENT_RETENTION_HOURS",
        "168",
        "How long an event is kept that every receiver has, and what an ended webhook didn't get",
    ),
    variable("PARKED_EVENT_RETENTION_DAYS", "0", "How long a parked event is kept, from when it happened; 0: for ever"),
    variable("LOG_FORMAT", "text", "text or json"),
    variable("LOG_LEVEL", "info", "error, warn, info, debug or trace; or a filter such as info,sqlx=debug"),
    variable("SLACK_WEBHOOK_URL", "", "Slack's address for alerts: errors are told there; empty for nowhere"),
    variable("ALERT_INTERVAL_SECONDS", "60", "How often errors of one kind are told at most"),
    variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "Where traces are sent, in a build with the feature otel: http://127.0.0.1:4318; empty for nowhere",
    ),
];

/// The configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DATABASE_URL`
    pub database_url: String,
    /// `DATABASE_CONNECT_SECONDS`
    pub database_connect_timeout: Duration,
    /// `DATABASE_MAX_CONNECTIONS`
    pub database_max_connections: u32,
    /// `LISTEN_ADDR`
    pub listen_addr: SocketAddr,
    /// `OPERATIONS_LISTEN_ADDR`, where it is another address
    pub operations_listen_addr: Option<SocketAddr>,
    /// `TOKEN_SECRET`
    pub token_secrets: Secrets,
    /// `DEMO`
    pub demo: bool,
    /// `HOLD_SECONDS`, `HOLD_EXTENSION_SECONDS`, `MAX_SEATS_PER_USER`, `REFUND_CUTOFF_HOURS`
    pub hold_policy: HoldPolicy,
    /// `ACCESS_TOKEN_SECONDS`
    pub access_token_seconds: u32,
    /// `REFRESH_TOKEN_DAYS`
    pub refresh_token_days: u32,
    /// `REFRESH_REUSE_SECONDS`
    pub refresh_reuse_seconds: u32,
    /// `SESSION_MAX_DAYS`
    pub session_max_days: u32,
    /// `QUEUE_TOKEN_RETENTION_DAYS`
    pub queue_token_retention: TimeDelta,
    /// `LANES`
    pub lanes: usize,
    /// `LANE_BATCH_LIMIT`
    pub lane_batch_limit: usize,
    /// `LANE_INBOX`
    pub lane_inbox: usize,
    /// `CATALOGUE_CACHE_MILLISECONDS`
    pub catalogue_cache: Duration,
    /// `SEAT_MAP_CACHE_MILLISECONDS`
    pub seat_map_cache: Duration,
    /// `REQUEST_TIMEOUT_SECONDS`
    pub request_timeout: Duration,
    /// `BODY_SECONDS`
    pub body_timeout: Duration,
    /// `MAX_REQUESTS`
    pub max_requests: usize,
    /// `MAX_REQUESTS_PER_ADDRESS`
    pub max_requests_per_address: usize,
    /// `MAX_STREAMS_PER_TOKEN`
    pub max_streams_per_token: usize,
    /// `MAX_STREAMS_PER_USER`
    pub max_streams_per_user: usize,
    /// `MAX_CONNECTIONS`, `MAX_CONNECTIONS_PER_ADDRESS`, `KEEP_ALIVE_SECONDS`, `WRITE_STALL_SECONDS`
    pub connections: ConnectionSettings,
    /// `SHUTDOWN_GRACE_SECONDS`
    pub shutdown_grace: Duration,
    /// `SHUTDOWN_DELAY_SECONDS`
    pub shutdown_delay: Duration,
    /// `RATE_LIMIT_FAILED_LOGINS_PER_ACCOUNT`
    pub failed_logins_per_account: u32,
    /// The other `RATE_LIMIT_…`
    pub rate_limits: RateLimitSettings,
    /// `TRUSTED_PROXIES`, `TRUSTED_PROXIES_HEADER`
    pub proxies: ProxySettings,
    /// `CORS_ALLOWED_ORIGINS`
    pub cors_allowed_origins: Vec<String>,
    /// `DATA_PLATFORM_URL`
    pub data_platform_url: Option<String>,
    /// `DATA_PLATFORM_SECRET`
    pub data_platform_secret: Option<SigningSecret>,
    /// `WEBHOOK_ALLOW_PRIVATE`
    pub webhook_allow_private: bool,
    /// `EVENT_ATTEMPTS`
    pub event_attempts: u16,
    /// `EVENT_RETENTION_HOURS`, `PARKED_EVENT_RETENTION_DAYS`
    pub event_retention: EventRetention,
    /// `LOG_FORMAT`
    pub log_format: LogFormat,
    /// `LOG_LEVEL`
    pub log_level: String,
    /// `SLACK_WEBHOOK_URL`, `ALERT_INTERVAL_SECONDS`
    pub alerts: Option<AlertSettings>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`
    pub trace_endpoint: Option<String>,
}

impl Config {
    /// Reads every variable through `lookup`; an empty value is none.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut reader = VariableReader { lookup, errors: BTreeMap::new() };
        let config = Self {
            database_url: reader.database_url(),
            database_connect_timeout: reader.seconds("DATABASE_CONNECT_SECONDS", 0, 3_600),
            database_max_connections: reader.number("DATABASE_MAX_CONNECTIONS", 1, 1_000),
            listen_addr: reader.parse("LISTEN_ADDR", "an address with a port, such as 127.0.0.1:8080"),
            operations_listen_addr: reader.operations_listen_addr(),
            token_secrets: reader.token_secrets(),
            demo: reader.flag("DEMO"),
            hold_policy: HoldPolicy {
                hold: TimeDelta::seconds(reader.number("HOLD_SECONDS", 1, 86_400)),
                extension: TimeDelta::seconds(reader.number("HOLD_EXTENSION_SECONDS", 1, 86_400)),
                max_seats_per_user: reader.number("MAX_SEATS_PER_USER", 1, 100),
                refund_cutoff_hours: reader.number("REFUND_CUTOFF_HOURS", 0, 87_600),
            },
            access_token_seconds: reader.number("ACCESS_TOKEN_SECONDS", 1, MAX_ACCESS_TOKEN_SECONDS),
            refresh_token_days: reader.number("REFRESH_TOKEN_DAYS", 1, 365),
            refresh_reuse_seconds: reader.number("REFRESH_REUSE_SECONDS", 0, 300),
            session_max_days: reader.number("SESSION_MAX_DAYS", 1, 3_650),
            queue_token_retention: TimeDelta::days(reader.number("QUEUE_TOKEN_RETENTION_DAYS", 1, 3_650)),
            lanes: reader.number("LANES", 1, 64),
            lane_batch_limit: reader.number("LANE_BATCH_LIMIT", 1, 512),
            lane_inbox: reader.number("LANE_INBOX", 1, 65_536),
            catalogue_cache: Duration::from_millis(reader.number("CATALOGUE_CACHE_MILLISECONDS", 0, 1_000)),
            seat_map_cache: Duration::from_millis(reader.number("SEAT_MAP_CACHE_MILLISECONDS", 0, 1_000)),
            request_timeout: reader.seconds("REQUEST_TIMEOUT_SECONDS", 1, 3_600),
            body_timeout: reader.seconds("BODY_SECONDS", 1, 3_600),
            max_requests: reader.number("MAX_REQUESTS", 1, 1_000_000),
            max_requests_per_address: reader.number("MAX_REQUESTS_PER_ADDRESS", 0, 1_000_000),
            max_streams_per_token: reader.number("MAX_STREAMS_PER_TOKEN", 0, 1_000_000),
            max_streams_per_user: reader.number("MAX_STREAMS_PER_USER", 0, 1_000_000),
            connections: ConnectionSettings {
                max_connections: reader.number("MAX_CONNECTIONS", 1, 1_000_000),
                max_connections_per_address: reader.number("MAX_CONNECTIONS_PER_ADDRESS", 0, 1_000_000),
                keep_alive: reader.seconds("KEEP_ALIVE_SECONDS", 1, 3_600),
                write_stall: reader.seconds("WRITE_STALL_SECONDS", 1, 3_600),
            },
            shutdown_grace: reader.seconds("SHUTDOWN_GRACE_SECONDS", 0, 3_600),
            shutdown_delay: reader.seconds("SHUTDOWN_DELAY_SECONDS", 0, 3_600),
            failed_logins_per_account: reader.rate_limit("RATE_LIMIT_FAILED_LOGINS_PER_ACCOUNT"),
            rate_limits: RateLimitSettings {
                sign_ups_per_address: reader.rate_limit("RATE_LIMIT_SIGN_UPS_PER_ADDRESS"),
                logins_per_address: reader.rate_limit("RATE_LIMIT_LOGINS_PER_ADDRESS"),
                refreshes_per_address: reader.rate_limit("RATE_LIMIT_REFRESHES_PER_ADDRESS"),
                joins_per_address: reader.rate_limit("RATE_LIMIT_JOINS_PER_ADDRESS"),
                joins_per_user: reader.rate_limit("RATE_LIMIT_JOINS_PER_USER"),
                holds_per_address: reader.rate_limit("RATE_LIMIT_HOLDS_PER_ADDRESS"),
                holds_per_user: reader.rate_limit("RATE_LIMIT_HOLDS_PER_USER"),
            },
            proxies: ProxySettings { trusted: reader.trusted_proxies(), header: reader.address_header() },
            cors_allowed_origins: reader.cors_allowed_origins(),
            data_platform_url: reader.data_platform_url(),
            data_platform_secret: reader.data_platform_secret(),
            webhook_allow_private: reader.flag("WEBHOOK_ALLOW_PRIVATE"),
            event_attempts: reader.number("EVENT_ATTEMPTS", 1, 100),
            event_retention: EventRetention {
                delivered: TimeDelta::hours(reader.number("EVENT_RETENTION_HOURS", 1, 87_600)),
                parked: Some(reader.number("PARKED_EVENT_RETENTION_DAYS", 0, 36_500))
                    .filter(|days| *days > 0)
                    .map(TimeDelta::days),
            },
            log_format: reader.log_format(),
            log_level: reader.log_level(),
            alerts: reader.alerts(),
            trace_endpoint: Some(reader.text("OTEL_EXPORTER_OTLP_ENDPOINT")).filter(|endpoint| !endpoint.is_empty()),
        };
        reader.check_database_connections(&config);
        if reader.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(reader.errors)) }
    }

    /// How long the server says that it is leaving before it drains: at least half of the grace time is for requests.
    pub fn shutdown_delay(&self) -> Duration {
        self.shutdown_delay.min(self.shutdown_grace / 2)
    }

    /// How many connections the lanes need: one each, of four kinds, presence having one lane.
    fn lane_connections(&self) -> u32 {
        u32::try_from(3 * self.lanes + 1).unwrap_or(u32::MAX)
    }

    /// Who gets how many connections to the database.
    pub fn database_connections(&self) -> DatabaseConnections {
        let minimum = DatabaseConnections::minimum(self.lane_connections());
        let spare = self.database_max_connections.saturating_sub(minimum.total());
        // One of each kind is for what commits while the next batch begins; without it that one waits.
        let lanes = minimum.lanes + spare.min(4);
        let rest =
            self.database_max_connections.saturating_sub(lanes + minimum.authentication + HEALTH_PROBE_CONNECTIONS);
        let back_office = (rest / 3).clamp(minimum.back_office, 8);
        let requests = rest.saturating_sub(back_office).max(minimum.requests);
        DatabaseConnections { lanes, back_office, requests, ..minimum }
    }
}

/// Asks whether the database is there.
const HEALTH_PROBE_CONNECTIONS: u32 = 1;

struct VariableReader<L> {
    lookup: L,
    errors: BTreeMap<&'static str, String>,
}

impl<L: Fn(&str) -> Option<String>> VariableReader<L> {
    fn text(&self, name: &'static str) -> String {
        let default =
            || VARIABLES.iter().find(|variable| variable.name == name).map_or("", |variable| variable.default);
        (self.lookup)(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default().to_owned())
    }

    fn add_error(&mut self, name: &'static str, error: impl Into<String>) {
        self.errors.insert(name, error.into());
    }

    /// A value that can be read, or a stand-in and a note: the configuration isn't used if there is any note.
    fn parse<T: FromStr + PlaceholderValue>(&mut self, name: &'static str, expected: &str) -> T {
        let text = self.text(name);
        text.trim().parse().unwrap_or_else(|_| {
            self.add_error(name, format!("{text:?} is not {expected}"));
            T::placeholder()
        })
    }

    fn number<T: FromStr + PartialOrd + fmt::Display + Copy>(&mut self, name: &'static str, low: T, high: T) -> T {
        let text = self.text(name);
        match text.trim().parse::<T>() {
            Ok(number) if low <= number && number <= high => number,
            _ => {
                self.add_error(name, format!("{text:?} is not a whole number from {low} to {high}"));
                low
            }
        }
    }

    fn seconds(&mut self, name: &'static str, low: u64, high: u64) -> Duration {
        Duration::from_secs(self.number(name, low, high))
    }

    fn rate_limit(&mut self, name: &'static str) -> u32 {
        self.number(name, 0, 1_000_000_000)
    }

    fn trusted_proxies(&mut self) -> Vec<IpNet> {
        let text = self.text("TRUSTED_PROXIES");
        let read = |item: &str| item.parse().or_else(|_| item.parse::<IpAddr>().map(IpNet::from));
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(read).collect::<Result<_, _>>().unwrap_or_else(|_| {
            self.add_error(
                "TRUSTED_PROXIES",
                format!("{text:?} is not a list of addresses and networks such as 10.0.0.0/8"),
            );
            Vec::new()
        })
    }

    fn address_header(&mut self) -> AddressHeader {
        let text = self.text("TRUSTED_PROXIES_HEADER");
        match text.to_lowercase().as_str() {
            "x-forwarded-for" => AddressHeader::XForwardedFor,
            "forwarded" => AddressHeader::Forwarded,
            _ => {
                self.add_error("TRUSTED_PROXIES_HEADER", format!("{text:?} is neither X-Forwarded-For nor Forwarded"));
                AddressHeader::XForwardedFor
            }
        }
    }

    fn operations_listen_addr(&mut self) -> Option<SocketAddr> {
        if self.text("OPERATIONS_LISTEN_ADDR").is_empty() {
            return None;
        }
        let address = self.parse("OPERATIONS_LISTEN_ADDR", "an address with a port, such as 127.0.0.1:9090");
        Some(address).filter(|_| self.text("OPERATIONS_LISTEN_ADDR") != self.text("LISTEN_ADDR"))
    }

    fn database_url(&mut self) -> String {
        let url = self.text("DATABASE_URL");
        let good = crate::infrastructure::mysql::parse_url(&url).is_ok_and(|options| options.get_database().is_some());
        if !url.starts_with("mysql://") || !good {
            // The URL itself may hold a password.
            self.add_error("DATABASE_URL", "is not a URL such as mysql://user:password@host:3306/concert_reservation");
        }
        url
    }

    fn flag(&mut self, name: &'static str) -> bool {
        match self.text(name).as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            other => {
                self.add_error(name, format!("{other:?} is neither true nor false"));
                false
            }
        }
    }

    fn token_secrets(&mut self) -> Secrets {
        let secrets: Vec<_> = self.text("TOKEN_SECRET").split(',').map(|secret| secret.trim().to_owned()).collect();
        let demo = self.flag("DEMO");
        if !demo {
            if secrets.iter().any(|secret| secret == DEMO_SECRET) {
                self.add_error(
                    "TOKEN_SECRET",
                    "is missing, or the published one: set a secret of your own, or DEMO=true",
                );
            } else if secrets.iter().any(|secret| secret.chars().count() < 32) {
                self.add_error("TOKEN_SECRET", "has a secret of fewer than 32 characters");
            }
        } else if secrets.iter().any(String::is_empty) {
            self.add_error("TOKEN_SECRET", "has an empty secret");
        }
        Secrets(secrets)
    }

    fn cors_allowed_origins(&mut self) -> Vec<String> {
        let text = self.text("CORS_ALLOWED_ORIGINS");
        let origins: Vec<_> =
            text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        let good = |origin: &String| {
            origin == "*"
                || origin
                    .strip_prefix("https://")
                    .or_else(|| origin.strip_prefix("http://"))
                    .is_some_and(|host| !host.is_empty() && !host.contains('/') && host.is_ascii())
        };
        if !origins.iter().all(good) {
            self.add_error(
                "CORS_ALLOWED_ORIGINS",
                format!("{text:?} is not a list of origins such as https://example.org"),
            );
        }
        origins
    }

    fn data_platform_url(&mut self) -> Option<String> {
        let text = Some(self.text("DATA_PLATFORM_URL").trim().to_owned()).filter(|text| !text.is_empty())?;
        let is_http = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.port() != Some(0);
        if !Url::parse(&text).is_ok_and(is_http) {
            // The URL itself may hold a password.
            self.add_error("DATA_PLATFORM_URL", "is not a URL such as https://events.example.org/concert");
        }
        Some(text)
    }

    /// As webhooks' secrets are shown.
    fn data_platform_secret(&mut self) -> Option<SigningSecret> {
        let text = Some(self.text("DATA_PLATFORM_SECRET").trim().to_owned()).filter(|text| !text.is_empty())?;
        let bytes = text.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
        let secret = bytes.and_then(|bytes| bytes.try_into().ok()).map(SigningSecret);
        if secret.is_none() {
            self.add_error(
                "DATA_PLATFORM_SECRET",
                "is not whsec_ and 32 bytes in base64, as openssl rand -base64 32 makes them",
            );
        }
        secret
    }

    fn alerts(&mut self) -> Option<AlertSettings> {
        let interval = TimeDelta::seconds(self.number("ALERT_INTERVAL_SECONDS", 1, 86_400));
        let webhook = self.text("SLACK_WEBHOOK_URL");
        if webhook.is_empty() {
            return None;
        }
        let url = Url::parse(&webhook);
        if !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            // The URL itself is the secret.
            self.add_error("SLACK_WEBHOOK_URL", "is not a URL such as https://hooks.slack.com/services/…");
        }
        Some(AlertSettings { webhook: Secret(webhook), interval, timeout: ALERT_TIMEOUT })
    }

    fn log_format(&mut self) -> LogFormat {
        match self.text("LOG_FORMAT").as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                self.add_error("LOG_FORMAT", format!("{other:?} is neither text nor json"));
                LogFormat::Text
            }
        }
    }

    fn log_level(&mut self) -> String {
        let level = self.text("LOG_LEVEL");
        if tracing_subscriber::EnvFilter::try_new(&level).is_err() || level.contains(char::is_whitespace) {
            self.add_error("LOG_LEVEL", format!("{level:?} is neither a level nor a filter"));
        }
        level
    }

    fn check_database_connections(&mut self, config: &Config) {
        let minimum = DatabaseConnections::minimum(config.lane_connections());
        let needed = minimum.total();
        if !self.errors.contains_key("DATABASE_MAX_CONNECTIONS") && config.database_max_connections < needed {
            let DatabaseConnections { lanes, authentication, back_office, requests } = minimum;
            let (given, count) = (config.database_max_connections, config.lanes);
            self.add_error(
                "DATABASE_MAX_CONNECTIONS",
                format!(
                    "{given} is less than {needed}, the least with LANES={count}: {lanes} for lanes, {requests} for \
                     requests, {back_office} for administrators and jobs, {authentication} for authentication, \
                     {HEALTH_PROBE_CONNECTIONS} for the health check"
                ),
            );
        }
    }
}

/// What stands in for a value that could not be read.
trait PlaceholderValue {
    fn placeholder() -> Self;
}

impl PlaceholderValue for SocketAddr {
    fn placeholder() -> Self {
        Self::from(([127, 0, 0, 1], 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let pairs: BTreeMap<_, _> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::from_lookup(|name| pairs.get(name).cloned())
    }

    #[test]
    fn the_defaults_are_valid_only_with_demo_set() {
        assert!(read(&[("DEMO", "true")]).is_ok());
        let errors = read(&[]).unwrap_err();
        assert_eq!(errors.0.keys().copied().collect::<Vec<_>>(), ["TOKEN_SECRET"]);
    }

    #[test]
    fn every_mistake_is_reported_by_name() {
        let errors = read(&[
            ("HOLD_SECONDS", "0"),
            ("LISTEN_ADDR", "here"),
            ("DATABASE_URL", "postgres://x/y"),
            ("TOKEN_SECRET", "short"),
            ("LOG_FORMAT", "xml"),
            ("LOG_LEVEL", "=loud="),
            ("CORS_ALLOWED_ORIGINS", "example.org"),
            ("REFRESH_TOKEN_DAYS", "many"),
            ("TRUSTED_PROXIES", "10.0.0.0/8,everybody"),
            ("TRUSTED_PROXIES_HEADER", "X-Real-IP"),
            ("RATE_LIMIT_HOLDS_PER_USER", "-1"),
            ("OPERATIONS_LISTEN_ADDR", "there"),
        ])
        .unwrap_err();
        assert_eq!(errors.0.len(), 12, "{errors}");
    }

    #[test]
    fn operations_share_the_address_unless_another_is_set() {
        let operations = |address| {
            let settings = [("DEMO", "true"), ("LISTEN_ADDR", "127.0.0.1:1"), ("OPERATIONS_LISTEN_ADDR", address)];
            read(&settings).unwrap().operations_listen_addr.map(|address| address.port())
        };
        assert_eq!((operations(""), operations("127.0.0.1:1"), operations("127.0.0.1:2")), (None, None, Some(2)));
    }

    #[test]
    fn all_connections_are_divided_among_the_pools() {
        let share = |most| {
            let config = read(&[("DEMO", "true"), ("DATABASE_MAX_CONNECTIONS", most)]).unwrap();
            let shares = config.database_connections();
            assert_eq!(shares.total().to_string(), most);
            (shares.lanes, shares.authentication, shares.back_office, shares.requests)
        };
        assert_eq!(share("32"), (11, 1, 6, 13));
        assert_eq!(share("14"), (7, 1, 2, 3));
        assert_eq!(share("100"), (11, 1, 8, 79));
    }

    #[test]
    fn each_pool_has_a_minimum_size_that_is_checked_at_start() {
        let read = |lanes, most| read(&[("DEMO", "true"), ("LANES", lanes), ("DATABASE_MAX_CONNECTIONS", most)]);
        let error = read("8", "31").unwrap_err().0["DATABASE_MAX_CONNECTIONS"].clone();
        assert!(
            error.starts_with("31 is less than 32, the least with LANES=8: 25 for lanes, 3 for requests"),
            "{error}"
        );
        let shares = read("8", "32").unwrap().database_connections();
        assert_eq!(shares, DatabaseConnections { lanes: 25, authentication: 1, back_office: 2, requests: 3 });
        assert_eq!(shares.concurrent_admin_requests(), 1);
        assert!(read("2", "13").is_err() && read("2", "14").is_ok());
    }

    /// What MySQL and MariaDB allow by default is enough for two instances.
    #[test]
    fn two_instances_prepare_fewer_statements_than_a_server_allows() {
        let kept = read(&[("DEMO", "true")]).unwrap().database_connections().kept_statements();
        assert!(2 * kept <= 16_382, "{kept}");
    }

    #[test]
    fn the_data_platforms_secret_has_the_format_of_webhook_secrets() {
        let secret = |text| read(&[("DEMO", "true"), ("DATA_PLATFORM_SECRET", text)]);
        let good = secret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        assert_eq!(good.data_platform_secret.unwrap().0[31], 31);
        assert!(secret("").unwrap().data_platform_secret.is_none());
        for text in ["whsec_", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "whsec_AAEC", "whsec_!"] {
            let errors = secret(text).unwrap_err();
            assert_eq!(errors.0.keys().copied().collect::<Vec<_>>(), ["DATA_PLATFORM_SECRET"], "{text}");
        }
    }

    #[test]
    fn trusted_proxies_are_addresses_or_networks() {
        let config = read(&[("DEMO", "true"), ("TRUSTED_PROXIES", "127.0.0.1, 2001:db8::/32")]).unwrap();
        let trusted: Vec<_> = config.proxies.trusted.iter().map(ToString::to_string).collect();
        assert_eq!(trusted, ["127.0.0.1/32", "2001:db8::/32"]);
    }

    #[test]
    fn the_shutdown_delay_takes_at_most_half_of_the_grace_time() {
        let delay = |grace| read(&[("DEMO", "true"), ("SHUTDOWN_GRACE_SECONDS", grace)]).unwrap().shutdown_delay();
        assert_eq!((delay("20"), delay("1")), (Duration::from_secs(3), Duration::from_millis(500)));
    }

    #[test]
    fn several_secrets_are_a_comma_separated_list() {
        let one = "a".repeat(32);
        let two = "b".repeat(32);
        let config = read(&[("TOKEN_SECRET", &format!("{one},{two}"))]).unwrap();
        assert_eq!(config.token_secrets.0, [one, two]);
        assert_eq!(format!("{:?}", config.token_secrets), "2 secrets");
    }
}

//! Configuration: environment variables, or the same as flags. Every mistake is reported, not just the first.
//!
//! `variables.rs` is the table of all variables, `reader.rs` reads values of common types, `settings.rs` and
//! `kafka.rs` those with checks of their own. `connections.rs` divides the database connections among the pools.

mod connections;
mod errors;
mod kafka;
mod reader;
mod secret;
mod settings;
mod variables;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use chrono::TimeDelta;

use self::reader::VariableReader;
pub use self::{
    connections::DatabaseConnections,
    errors::ConfigErrors,
    secret::{Secret, Secrets},
    settings::{PaymentProviderSettings, TopUpSettings},
    variables::{DEMO_SECRET, VARIABLES, Variable},
};
use crate::{
    application::{event::EventRetention, user::MAX_ACCESS_TOKEN_SECONDS},
    domain::{booking::HoldPolicy, event::SigningSecret},
    infrastructure::{kafka::KafkaSettings, smtp::SmtpSettings},
    interfaces::http::{address::ProxySettings, limits::rate::RateLimitSettings, serve::ConnectionSettings},
    telemetry::TelemetrySettings,
};

/// The configuration, checked. Each field names the variables that it is read from, which say its unit.
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
    /// `TICKET_SECRET`, or `TOKEN_SECRET` without it
    pub ticket_secrets: Secrets,
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
    /// `MAX_UNREAD_MAP_BYTES_PER_USER`
    pub max_unread_map_bytes_per_user: usize,
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
    /// `KAFKA_…`; `None` without brokers
    pub kafka: Option<KafkaSettings>,
    /// `WEBHOOK_ALLOW_PRIVATE`
    pub webhook_allow_private: bool,
    /// `SMTP_URL`, `MAIL_FROM`; `None` without a mail server
    pub mail: Option<SmtpSettings>,
    /// `REQUIRE_VERIFIED_EMAIL`
    pub requires_verified_email: bool,
    /// `EVENT_ATTEMPTS`
    pub event_attempts: u16,
    /// `EVENT_RETENTION_HOURS`, `PARKED_EVENT_RETENTION_DAYS`
    pub event_retention: EventRetention,
    /// `PUBLIC_URL`, without a slash at the end
    pub public_url: Option<String>,
    /// `PAYMENT_PROVIDER`, `TOP_UP_SECONDS`, `STRIPE_…`
    pub top_ups: TopUpSettings,
    /// `LOG_FORMAT`, `LOG_LEVEL`, `SLACK_WEBHOOK_URL`, `ALERT_INTERVAL_SECONDS`, `OTEL_EXPORTER_OTLP_ENDPOINT`
    pub telemetry: TelemetrySettings,
}

impl Config {
    /// Reads every variable through `lookup`; an empty value counts as none.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors`] with every variable that can't be used, not just the first.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut reader = VariableReader::new(lookup);
        let config = Self {
            database_url: reader.database_url(),
            database_connect_timeout: reader.seconds("DATABASE_CONNECT_SECONDS", 0, 3_600),
            database_max_connections: reader.number("DATABASE_MAX_CONNECTIONS", 1, 1_000),
            listen_addr: reader.address("LISTEN_ADDR", "127.0.0.1:8080"),
            operations_listen_addr: reader.operations_listen_addr(),
            token_secrets: reader.token_secrets(),
            ticket_secrets: reader.ticket_secrets(),
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
            catalogue_cache: reader.milliseconds("CATALOGUE_CACHE_MILLISECONDS", 0, 1_000),
            seat_map_cache: reader.milliseconds("SEAT_MAP_CACHE_MILLISECONDS", 0, 1_000),
            request_timeout: reader.seconds("REQUEST_TIMEOUT_SECONDS", 1, 3_600),
            body_timeout: reader.seconds("BODY_SECONDS", 1, 3_600),
            max_requests: reader.number("MAX_REQUESTS", 1, 1_000_000),
            max_requests_per_address: reader.number("MAX_REQUESTS_PER_ADDRESS", 0, 1_000_000),
            max_streams_per_token: reader.number("MAX_STREAMS_PER_TOKEN", 0, 1_000_000),
            max_streams_per_user: reader.number("MAX_STREAMS_PER_USER", 0, 1_000_000),
            max_unread_map_bytes_per_user: reader.number("MAX_UNREAD_MAP_BYTES_PER_USER", 0, 1_000_000_000),
            connections: ConnectionSettings {
                max_connections: reader.number("MAX_CONNECTIONS", 1, 1_000_000),
                max_connections_per_address: reader.number("MAX_CONNECTIONS_PER_ADDRESS", 0, 1_000_000),
                keep_alive: reader.seconds("KEEP_ALIVE_SECONDS", 1, 3_600),
                write_stall: reader.seconds("WRITE_STALL_SECONDS", 1, 3_600),
            },
            shutdown_grace: reader.seconds("SHUTDOWN_GRACE_SECONDS", 0, 3_600),
            shutdown_delay: reader.seconds("SHUTDOWN_DELAY_SECONDS", 0, 3_600),
            failed_logins_per_account: reader.rate_limit("RATE_LIMIT_FAILED_LOGINS_PER_ACCOUNT"),
            rate_limits: reader.rate_limits(),
            proxies: ProxySettings { trusted: reader.trusted_proxies(), header: reader.address_header() },
            cors_allowed_origins: reader.cors_allowed_origins(),
            data_platform_url: reader.events_url("DATA_PLATFORM_URL"),
            data_platform_secret: reader.data_platform_secret(),
            kafka: reader.kafka(),
            webhook_allow_private: reader.flag("WEBHOOK_ALLOW_PRIVATE"),
            mail: reader.mail(),
            requires_verified_email: reader.flag("REQUIRE_VERIFIED_EMAIL"),
            event_attempts: reader.number("EVENT_ATTEMPTS", 1, 100),
            event_retention: EventRetention {
                delivered: TimeDelta::hours(reader.number("EVENT_RETENTION_HOURS", 1, 87_600)),
                parked: Some(reader.number("PARKED_EVENT_RETENTION_DAYS", 0, 36_500))
                    .filter(|days| *days > 0)
                    .map(TimeDelta::days),
            },
            public_url: reader.public_url(),
            top_ups: reader.top_ups(),
            telemetry: reader.telemetry(),
        };
        let enough_connections = DatabaseConnections::check(config.database_max_connections, config.lanes);
        if let Err(error) = enough_connections
            && !reader.has_error("DATABASE_MAX_CONNECTIONS")
        {
            reader.add_error("DATABASE_MAX_CONNECTIONS", error);
        }
        reader.finish(config)
    }

    /// The time for which the server isn't ready but still accepts connections. It is at most half of the grace time,
    /// so that the rest is for requests in flight.
    pub fn shutdown_delay(&self) -> Duration {
        self.shutdown_delay.min(self.shutdown_grace / 2)
    }

    /// Where browsers reach this server, without a slash at the end.
    pub fn base_url(&self) -> String {
        let mut address = self.listen_addr;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        self.public_url.clone().unwrap_or_else(|| format!("http://{address}"))
    }

    /// Divides the connections to the database among the pools.
    pub fn database_connections(&self) -> DatabaseConnections {
        DatabaseConnections::divide(self.database_max_connections, self.lanes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
            ("TRUSTED_PROXIES", "10.0.0.0/8,anywhere"),
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

    /// 16,382 is the default of MySQL and MariaDB.
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
    fn a_mail_server_needs_a_sender() {
        let mail = |url, from| read(&[("DEMO", "true"), ("SMTP_URL", url), ("MAIL_FROM", from)]);
        let settings = mail("smtp://mail.example.org", "Tickets <tickets@example.org>").unwrap().mail.unwrap();
        assert_eq!(settings.from.email.domain(), "example.org");
        assert!(mail("", "").unwrap().mail.is_none());
        for (url, from, wrong) in [
            ("smtp://mail.example.org", "", &["MAIL_FROM"][..]),
            ("smtp://mail.example.org", "tickets", &["MAIL_FROM"]),
            ("mail.example.org", "tickets@example.org", &["SMTP_URL"]),
            ("http://mail.example.org", "", &["MAIL_FROM", "SMTP_URL"]),
            ("", "tickets", &["MAIL_FROM"]),
        ] {
            let errors = mail(url, from).unwrap_err();
            assert_eq!(errors.0.keys().copied().collect::<Vec<_>>(), wrong, "{url} {from}");
        }
    }

    #[test]
    fn a_log_level_is_a_level_or_a_filter() {
        let level = |text| read(&[("DEMO", "true"), ("LOG_LEVEL", text)]);
        for text in ["", "error", "WARN", "off", "info,sqlx=debug"] {
            assert!(level(text).is_ok(), "{text}");
        }
        for text in ["loud", "warning", "info,sqlx", "sqlx=loud", "info, sqlx=debug"] {
            let errors = level(text).unwrap_err();
            assert_eq!(errors.0.keys().copied().collect::<Vec<_>>(), ["LOG_LEVEL"], "{text}");
        }
    }

    #[test]
    fn mistakes_of_what_is_not_used_are_reported_too() {
        let errors = read(&[
            ("DEMO", "true"),
            ("PAYMENT_PROVIDER", "sandbox"),
            ("STRIPE_API_URL", "here"),
            ("STRIPE_SECRET_KEY", "sk test"),
            ("STRIPE_CURRENCY", "points"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "there"),
        ])
        .unwrap_err();
        assert_eq!(errors.0.len(), 4, "{errors}");
        let missing = read(&[("DEMO", "true"), ("PAYMENT_PROVIDER", "stripe")]).unwrap_err();
        assert_eq!(missing.0.len(), 3, "{missing}");
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

//! The table of all environment variables; `.env.example` is the same as a file (`tests/tidy.rs`).

/// The secret that `.env.example` publishes: accepted only with `DEMO=true`.
pub const DEMO_SECRET: &str = "demo-secret-which-everybody-knows-0123456789";

/// One environment variable of the server.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// In upper snake case; the flag is the same in lower kebab case.
    pub name: &'static str,
    /// The value without the variable; an empty one stands for no value.
    pub default: &'static str,
    /// One line for `.env.example` and `--help`.
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
        "URL of the database: mysql://user:password@host:port/name",
    ),
    variable(
        "DATABASE_CONNECT_SECONDS",
        "30",
        "Seconds for which serve waits for an unavailable database before it exits",
    ),
    variable(
        "DATABASE_MAX_CONNECTIONS",
        "32",
        "Maximum number of database connections of this instance, including those of the lanes",
    ),
    variable("LISTEN_ADDR", "127.0.0.1:8080", "Address on which to serve"),
    variable(
        "OPERATIONS_LISTEN_ADDR",
        "",
        "Separate address for /livez, /readyz and /metrics, which LISTEN_ADDR then lacks; empty: LISTEN_ADDR",
    ),
    variable(
        "TOKEN_SECRET",
        DEMO_SECRET,
        "Secrets for tokens, 32 characters or more each, with commas; the first signs. The default needs DEMO=true",
    ),
    variable(
        "TICKET_SECRET",
        "",
        "Secrets for the codes of tickets, like TOKEN_SECRET; an old one stays as long as its tickets. Empty: TOKEN_SECRET",
    ),
    variable(
        "DEMO",
        "false",
        "Permits the published TOKEN_SECRET and seed-demo; never set it where real points are sold",
    ),
    variable("HOLD_SECONDS", "300", "Seconds for which an unpaid hold reserves its seats"),
    variable("HOLD_EXTENSION_SECONDS", "120", "Seconds by which an extension prolongs a hold"),
    variable(
        "MAX_SEATS_PER_USER",
        "4",
        "Maximum number of seats of one performance in a user's live bookings (1 to 100)",
    ),
    variable("REFUND_CUTOFF_HOURS", "24", "Hours before a performance at which refunds close"),
    variable("ACCESS_TOKEN_SECONDS", "3600", "Lifetime of an access token in seconds"),
    variable("REFRESH_TOKEN_DAYS", "14", "Lifetime of a refresh token in days"),
    variable(
        "REFRESH_REUSE_SECONDS",
        "10",
        "Seconds for which a used refresh token gets its first answer again (0 to 300); later use ends its session",
    ),
    variable("SESSION_MAX_DAYS", "90", "Days after its login at which a session ends, however often it is refreshed"),
    variable(
        "QUEUE_TOKEN_RETENTION_DAYS",
        "30",
        "Days for which ended queue tokens and the records of admissions are kept",
    ),
    variable("LANES", "2", "Maximum number of concurrent transactions for each kind of write, about one per core"),
    variable("LANE_BATCH_LIMIT", "128", "Maximum number of commands in one transaction"),
    variable(
        "LANE_INBOX",
        "4096",
        "Maximum number of commands waiting for the lanes of one kind; further requests get 503",
    ),
    variable(
        "CATALOGUE_CACHE_MILLISECONDS",
        "1000",
        "Maximum age of lists of concerts and performances (0 to 1000); 0: not cached",
    ),
    variable(
        "SEAT_MAP_CACHE_MILLISECONDS",
        "3",
        "Maximum age of a seat map that another instance has changed (0 to 1000); 0: not cached",
    ),
    variable("REQUEST_TIMEOUT_SECONDS", "30", "Time limit of a request in seconds"),
    variable("BODY_SECONDS", "10", "Time limit in seconds for a request's body to arrive"),
    variable("MAX_REQUESTS", "10000", "Maximum number of concurrent requests; further ones get 503 at once"),
    variable(
        "MAX_REQUESTS_PER_ADDRESS",
        "5000",
        "Maximum number of concurrent requests from one address; further ones get 429. 0: unlimited",
    ),
    variable(
        "MAX_CONNECTIONS",
        "20000",
        "Maximum number of client connections; beyond it idle ones are closed, or new ones wait to be accepted",
    ),
    variable(
        "MAX_CONNECTIONS_PER_ADDRESS",
        "10000",
        "Maximum number of connections from one address that isn't a trusted proxy's; 0: unlimited",
    ),
    variable(
        "MAX_STREAMS_PER_TOKEN",
        "64",
        "Maximum number of open event streams of one queue token on this instance; 0: unlimited",
    ),
    variable(
        "MAX_STREAMS_PER_USER",
        "128",
        "Maximum number of open event streams of one user on this instance; 0: unlimited",
    ),
    variable(
        "MAX_UNREAD_MAP_BYTES_PER_USER",
        "64000000",
        "Maximum bytes of seat maps that one user's clients leave unread on this instance; 0: unlimited",
    ),
    variable("WRITE_STALL_SECONDS", "30", "Seconds after which a client that doesn't read its answer is disconnected"),
    variable(
        "KEEP_ALIVE_SECONDS",
        "75",
        "Seconds until a connection without a request or with incomplete headers is closed; more than any proxy's",
    ),
    variable("SHUTDOWN_GRACE_SECONDS", "20", "Seconds that requests in flight may take once the server is stopping"),
    variable(
        "SHUTDOWN_DELAY_SECONDS",
        "3",
        "Seconds of these, half at most, in which a server stopped by SIGTERM still serves but is not ready",
    ),
    variable(
        "RATE_LIMIT_SIGN_UPS_PER_ADDRESS",
        "6000",
        "Maximum number of sign-ups from one address per minute; 0: unlimited",
    ),
    variable(
        "RATE_LIMIT_LOGINS_PER_ADDRESS",
        "12000",
        "Maximum number of logins from one address per minute, failed ones included; 0: unlimited",
    ),
    variable(
        "RATE_LIMIT_FAILED_LOGINS_PER_ACCOUNT",
        "100",
        "Maximum number of failed logins of one account per hour, from any address; 0: unlimited",
    ),
    variable(
        "RATE_LIMIT_REFRESHES_PER_ADDRESS",
        "12000",
        "Maximum number of refresh tokens exchanged from one address per minute; 0: unlimited",
    ),
    variable(
        "RATE_LIMIT_CODES_PER_ADDRESS",
        "600",
        "Maximum number of requests from one address per minute that mail a code or try one; 0: unlimited",
    ),
    variable(
        "RATE_LIMIT_JOINS_PER_ADDRESS",
        "0",
        "Maximum number of requests to join a queue from one address per minute; 0: unlimited",
    ),
    variable(
        "RATE_LIMIT_JOINS_PER_USER",
        "6000",
        "Maximum number of requests of one user to join a queue per minute; 0: unlimited",
    ),
    variable(
        "RATE_LIMIT_HOLDS_PER_ADDRESS",
        "0",
        "Maximum number of requests to hold seats from one address per minute; 0: unlimited",
    ),
    variable(
        "RATE_LIMIT_HOLDS_PER_USER",
        "18000",
        "Maximum number of requests of one user to hold seats per minute; 0: unlimited",
    ),
    variable(
        "TRUSTED_PROXIES",
        "",
        "Addresses or networks of proxies that are trusted to state client addresses, with commas: 10.0.0.0/8",
    ),
    variable(
        "TRUSTED_PROXIES_HEADER",
        "X-Forwarded-For",
        "Header in which they state it, X-Forwarded-For or Forwarded; they must set it themselves",
    ),
    variable("CORS_ALLOWED_ORIGINS", "", "Origins whose pages may call the server, with commas; *: any"),
    variable(
        "DATA_PLATFORM_URL",
        "",
        "URL to which events are sent, http or https; the same on every instance. Empty: none",
    ),
    variable(
        "DATA_PLATFORM_SECRET",
        "",
        "Signs these events: whsec_ and 32 bytes in base64, as of openssl rand -base64 32. Empty: not signed",
    ),
    variable(
        "KAFKA_BROKERS",
        "",
        "Kafka brokers to which a build with the feature kafka sends events: host:port, with commas. Empty: none",
    ),
    variable("KAFKA_TOPIC", "concert-reservation.events", "Topic of these events, which the server doesn't create"),
    variable(
        "KAFKA_SECURITY_PROTOCOL",
        "PLAINTEXT",
        "How connections to the brokers are secured: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
    ),
    variable(
        "KAFKA_CA_FILE",
        "",
        "PEM file with the certificate authorities of the brokers, for SSL and SASL_SSL. Empty: the machine's",
    ),
    variable(
        "KAFKA_SASL_MECHANISM",
        "SCRAM-SHA-512",
        "How the brokers check the password: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN",
    ),
    variable("KAFKA_SASL_USERNAME", "", "User at the brokers; required with SASL_PLAINTEXT and SASL_SSL"),
    variable("KAFKA_SASL_PASSWORD", "", "Its password"),
    variable(
        "WEBHOOK_ALLOW_PRIVATE",
        "false",
        "Permits webhooks on this machine and in private networks, for development",
    ),
    variable(
        "SMTP_URL",
        "",
        "Mail server: smtp:// (STARTTLS where offered; ?tls=required, none) or smtps://, user:password@host. Empty: none",
    ),
    variable("MAIL_FROM", "", "Sender of all mails, such as Tickets <tickets@example.org>; required with SMTP_URL"),
    variable("REQUIRE_VERIFIED_EMAIL", "false", "Admits only users with a verified e-mail address to queues"),
    variable("EVENT_ATTEMPTS", "12", "Number of attempts before a delivery is parked; twelve take about a day"),
    variable(
        "EVENT_RETENTION_HOURS",
        "168",
        "Hours for which a delivered event, and an undelivered one of an ended webhook, is kept",
    ),
    variable(
        "PARKED_EVENT_RETENTION_DAYS",
        "0",
        "Days for which a parked event is kept, counted from when it happened; 0: for ever",
    ),
    variable(
        "PUBLIC_URL",
        "",
        "URL at which browsers reach this server: https://tickets.example.org. Empty: http:// and LISTEN_ADDR",
    ),
    variable(
        "PAYMENT_PROVIDER",
        "none",
        "Payment provider through which points are bought: none, sandbox (for development) or stripe",
    ),
    variable("TOP_UP_SECONDS", "3600", "Seconds for which the checkout of a top-up can be paid (1 to 86400)"),
    variable("STRIPE_API_URL", "https://api.stripe.com", "URL of Stripe's API, or of a mock of it"),
    variable("STRIPE_SECRET_KEY", "", "Secret key of the Stripe account: sk_…; needed with PAYMENT_PROVIDER=stripe"),
    variable(
        "STRIPE_WEBHOOK_SECRET",
        "",
        "Secret by which Stripe signs its notifications: whsec_…; needed with PAYMENT_PROVIDER=stripe",
    ),
    variable("STRIPE_CURRENCY", "krw", "Currency in which one point costs one unit, as Stripe writes it: krw, eur"),
    variable("LOG_FORMAT", "text", "Format of the log: text or json"),
    variable(
        "LOG_LEVEL",
        "info",
        "Level of the log: error, warn, info, debug or trace; or a filter such as info,sqlx=debug",
    ),
    variable("SLACK_WEBHOOK_URL", "", "Slack webhook to which errors are sent as alerts; empty: none"),
    variable("ALERT_INTERVAL_SECONDS", "60", "Seconds between two alerts about errors of one kind, at least"),
    variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "Collector to which a build with the feature otel sends traces: http://127.0.0.1:4318; empty: none",
    ),
];

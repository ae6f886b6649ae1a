//! The composition root: it builds the adapters and wires them into the facades, the router and the jobs.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::{MySqlPool, mysql::MySqlConnectOptions};
use tokio::{net::TcpListener, time::Duration};
use tokio_util::task::TaskTracker;

#[cfg(feature = "kafka")]
use crate::infrastructure::kafka::KafkaEventSender;
use crate::{
    application::{
        Ports,
        administration::AdministrationFacade,
        audit::AuditFacade,
        booking::BookingFacade,
        changes::ChangeCounter,
        concert::{CatalogueSettings, ConcertFacade},
        database_loss::TRANSACTION_TIMEOUT,
        event::{EventFacade, EventRelay, EventSenders, EventUpkeep, Receivers},
        housekeeping::HousekeepingFacade,
        lane::{LanePorts, LaneSettings},
        mail::MailSender,
        payment::PaymentFacade,
        point::PointFacade,
        queue::Queues,
        settlement::SettlementLanes,
        ticket::TicketFacade,
        top_up::{SandboxFacade, TopUpFacade},
        user::{CodeDelivery, SessionSettings, UserFacade},
    },
    config::{Config, PaymentProviderSettings},
    demo,
    domain::{
        clock::{Clock, ClockCheck},
        event::{Destination, EventSender, Receiver, RetryPolicy},
        randomness::Randomness,
        ticket::TicketSigner,
        top_up::PaymentProvider,
        unit_of_work::Database,
    },
    infrastructure::{
        clock::SystemClock,
        event_sender::HttpEventSender,
        mysql::{self, HealthProbe, KeptStatements, MySqlDatabase, PoolSettings},
        password::Argon2Hasher,
        payment_provider::{Sandbox, Stripe},
        randomness::OsRandomness,
        seed_vault::AeadSeedVault,
        smtp::SmtpMailer,
        ticket_signer::Ed25519TicketSigner,
        token_signer::HmacTokenSigner,
    },
    interfaces::{
        http::{
            limits::{
                concurrency::ConcurrencyLimits, rate::RateLimits, streams::StreamLimits, unread_maps::UnreadMapLimit,
            },
            middleware::refusal_writer,
            router::{build_operations_router, build_router},
            seat,
            serve::{ConnectionSettings, Server, ShutdownStages, serve},
            state::{App as Shared, Facades, HttpSettings},
        },
        scheduler::{self, SchedulerSettings},
    },
    telemetry::{
        metrics::{ProcessMetrics, recorder},
        traces,
    },
};

/// The longest time for which a request waits for a free connection; then it is refused.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// The time limit for lanes and jobs to end, and then for the database's connections to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The most connections to a separate listener for operations.
const MAX_OPERATIONS_CONNECTIONS: usize = 256;

/// The time for which a batch keeps its lane's slot; then the next batch may start. Most batches take less.
const LANE_SLOT_TIMEOUT: Duration = Duration::from_millis(10);

/// The server's parts, wired.
pub struct App {
    /// The state of the handlers.
    pub shared: Shared,
    /// The ports of the use cases.
    pub ports: Ports,
    /// Delivers events; started by [`start_jobs`](Self::start_jobs).
    pub relay: Arc<EventRelay>,
    config: Config,
    options: MySqlConnectOptions,
    health_probe: HealthProbe,
    clock_check: Arc<ClockCheck>,
    pools: [MySqlPool; 4],
    tasks: TaskTracker,
    stages: ShutdownStages,
    metrics: PrometheusHandle,
}

impl App {
    /// Wires everything to the database at `options`. Connects only when a connection is first needed. Must run on a
    /// tokio runtime, since it starts the lanes.
    ///
    /// # Errors
    ///
    /// If a secret is missing, or TLS or the Kafka producer can't be set up.
    pub fn build(config: &Config, options: MySqlConnectOptions, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let metrics = recorder();
        let health_probe = HealthProbe::default();
        let clock_check = Arc::new(ClockCheck::new(Arc::clone(&clock)));
        let pool = |max_connections, statements| {
            let settings = PoolSettings { max_connections, statements, acquire_timeout: ACQUIRE_TIMEOUT };
            mysql::pool(options.clone(), settings, health_probe.clone())
        };
        let connections = config.database_connections();
        let (lane_pool, back_office_pool, request_pool) = (
            pool(connections.lanes, KeptStatements::Lane),
            pool(connections.back_office, KeptStatements::Other),
            pool(connections.requests, KeptStatements::Other),
        );
        let authentication_pool = pool(connections.authentication, KeptStatements::Other);
        let database = |pool: &MySqlPool, name| -> Arc<dyn Database> {
            let database = MySqlDatabase::new(pool.clone()).measured_as(name).with_health_probe(health_probe.clone());
            Arc::new(database.with_clock(Arc::clone(&clock_check)))
        };
        let randomness: Arc<dyn Randomness> = Arc::new(OsRandomness);
        let signer = HmacTokenSigner::new(&config.token_secrets.0).context("TOKEN_SECRET")?;
        let seeds = AeadSeedVault::new(&config.token_secrets.0, Arc::clone(&randomness)).context("TOKEN_SECRET")?;
        let ports = Ports {
            database: database(&request_pool, "requests"),
            back_office: database(&back_office_pool, "back_office"),
            clock: Arc::clone(&clock),
            clock_check: Arc::clone(&clock_check),
            randomness: Arc::clone(&randomness),
            signer: Arc::new(signer),
            seeds: Arc::new(seeds),
            receivers: Receivers::new(configurable_receivers(config)),
            event_written: Arc::default(),
            seat_change_counter: ChangeCounter::default(),
        };
        let tasks = TaskTracker::new();
        let lane_ports = LanePorts { database: database(&lane_pool, "lanes"), clock, randomness, tasks: tasks.clone() };
        let stages = ShutdownStages::default();
        let authentication = database(&authentication_pool, "authentication");
        let pools = [
            ("lanes", lane_pool),
            ("authentication", authentication_pool),
            ("back_office", back_office_pool),
            ("requests", request_pool),
        ];
        let process_metrics = ProcessMetrics::new(pools.to_vec(), stages.leaving.clone());
        let shared =
            Arc::new(build_facades(config, &ports, authentication, &lane_ports, &tasks, process_metrics, &stages)?);
        let relay = Arc::new(build_relay(config, &ports.for_back_office())?);
        Ok(Self {
            shared,
            ports,
            relay,
            config: config.clone(),
            options,
            health_probe,
            clock_check,
            pools: pools.map(|(_, pool)| pool),
            tasks,
            stages,
            metrics: metrics.clone(),
        })
    }

    /// Builds the server's routes, for a listener or for a test.
    pub fn router(&self) -> Router {
        build_router(self.shared.clone())
    }

    /// Starts the health probe, waits until it has compared this instance's clock with the database's, and starts the
    /// recurring jobs. So neither jobs nor requests decide by a wrong clock. It doesn't wait for a database that is
    /// away.
    ///
    /// The jobs end at the stage `draining`, the health probe at `aborting`.
    pub async fn start_jobs(&self) {
        self.start_health_probe();
        self.health_probe.wait_for_clock_reading().await;
        let ports = self.ports.for_back_office();
        let upkeep = EventUpkeep::new(ports.clone(), self.config.event_retention);
        let housekeeping =
            HousekeepingFacade::new(ports, upkeep).keeping_queue_tokens(self.config.queue_token_retention);
        let stop = &self.shared.draining;
        scheduler::start(&self.shared, housekeeping, SchedulerSettings::default(), &self.tasks, stop);
        self.tasks.spawn(Arc::clone(&self.relay).run(stop.clone()));
        let (metrics, stop) = (self.metrics.clone(), stop.clone());
        self.tasks.spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await.is_some() {
                metrics.run_upkeep();
            }
        });
    }

    /// Starts the health probe, which watches the database's answers and compares its clock; part of
    /// [`start_jobs`](Self::start_jobs).
    pub fn start_health_probe(&self) {
        let (health_probe, options, until) =
            (self.health_probe.clone(), self.options.clone(), self.stages.aborting.clone());
        let clock = Arc::clone(&self.clock_check);
        self.tasks.spawn(async move { until.run_until_cancelled(health_probe.run(options, &clock)).await });
    }

    /// The tokens by which the server is stopped.
    pub fn stages(&self) -> ShutdownStages {
        self.stages.clone()
    }

    /// Serves until the stage `draining`, and then finishes the requests in flight.
    ///
    /// The grace time begins with the stage `leaving`; when it is over, or at the stage `aborting`, the remaining
    /// requests are dropped. A separate listener for operations is served until the last request has ended.
    pub async fn serve(self, listener: TcpListener, operations: Option<TcpListener>) {
        let stages = self.stages();
        let grace = self.config.shutdown_grace;
        let server = async {
            let sale = serve(listener, self.server(self.router(), self.config.connections, stages.clone()));
            let Some(operations) = operations else { return sale.await };
            let served = stages.aborting.child_token();
            let settings =
                ConnectionSettings { max_connections: MAX_OPERATIONS_CONNECTIONS, ..self.config.connections };
            let until_served = ShutdownStages { draining: served.clone(), ..stages.clone() };
            let router = build_operations_router(self.shared.clone());
            let operations = serve(operations, self.server(router, settings, until_served));
            tokio::join!(
                async {
                    sale.await;
                    served.cancel();
                },
                operations
            );
        };
        let deadline = async {
            stages.leaving.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            () = server => {}
            () = deadline => tracing::warn!("the grace time is over: requests in flight are dropped"),
            () = stages.aborting.cancelled() => {}
        }
        // A transaction on a hanging connection would keep its lane from ending.
        stages.aborting.cancel();
        self.close(grace.min(CLOSE_TIMEOUT)).await;
    }

    fn server(&self, router: Router, settings: ConnectionSettings, stages: ShutdownStages) -> Server {
        Server {
            router,
            settings,
            trusted: self.config.proxies.trusted.clone(),
            stages,
            refusal_writer: refusal_writer(self.shared.clone()),
        }
    }

    /// Waits for lanes and jobs to end, for at most the longer of `grace` and one second. Then closes the connections
    /// to the database, within five seconds.
    pub async fn close(self, grace: Duration) {
        let Self { shared, pools, tasks, .. } = self;
        shared.draining.cancel();
        // Shared reads end once their facades are dropped; a lane's batch ends by itself.
        drop(shared);
        tasks.close();
        if tokio::time::timeout(grace.max(Duration::from_secs(1)), tasks.wait()).await.is_err() {
            tracing::warn!("some tasks didn't end in time");
        }
        // Closing waits for connections in use, which a hanging database never returns.
        let closing = futures::future::join_all(pools.iter().map(MySqlPool::close));
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}

/// The destinations that the configuration may have, each with its receiver.
fn configurable_receivers(config: &Config) -> [(Destination, Option<Receiver>); 3] {
    let data_platform = config.data_platform_url.clone();
    let data_platform = data_platform.map(|url| Receiver::data_platform(url, config.data_platform_secret.clone()));
    [
        (Destination::DataPlatform, data_platform),
        (Destination::Kafka, config.kafka.as_ref().map(|_| Receiver::kafka())),
        (Destination::Mail, config.mail.as_ref().map(|_| Receiver::mail())),
    ]
}

#[cfg(feature = "kafka")]
fn kafka_sender(config: &Config) -> anyhow::Result<Option<Arc<dyn EventSender>>> {
    let Some(settings) = &config.kafka else { return Ok(None) };
    Ok(Some(Arc::new(KafkaEventSender::new(settings).context("setting up the Kafka producer")?)))
}

#[cfg(not(feature = "kafka"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
fn kafka_sender(_: &Config) -> anyhow::Result<Option<Arc<dyn EventSender>>> {
    // The configuration has no brokers without the feature.
    Ok(None)
}

fn build_relay(config: &Config, ports: &Ports) -> anyhow::Result<EventRelay> {
    let sender =
        HttpEventSender::new(config.webhook_allow_private).context("setting up TLS for the sending of events")?;
    let mailer = config.mail.as_ref().map(|settings| SmtpMailer::new(settings, None)).transpose();
    let mailer = mailer.context("setting up TLS for mail")?;
    let tickets = ticket_signer(config)?;
    let mail = mailer
        .map(|mailer| -> Arc<dyn EventSender> { Arc::new(MailSender::new(ports.clone(), Arc::new(mailer), tickets)) });
    let senders = EventSenders { http: Arc::new(sender), kafka: kafka_sender(config)?, mail };
    let retry = RetryPolicy { max_attempts: config.event_attempts };
    Ok(EventRelay::new(ports.clone(), Arc::new(senders), retry, TRANSACTION_TIMEOUT))
}

fn ticket_signer(config: &Config) -> anyhow::Result<Arc<dyn TicketSigner>> {
    Ok(Arc::new(Ed25519TicketSigner::new(&config.ticket_secrets.0).context("TICKET_SECRET")?))
}

/// The parts that depend on the payment provider.
struct PaymentParts {
    /// Whether users must buy points through the provider. If not, they may charge them directly.
    is_required: bool,
    top_ups: Arc<TopUpFacade>,
    sandbox: Option<SandboxFacade>,
}

fn build_payments(config: &Config, ports: &Ports) -> anyhow::Result<PaymentParts> {
    let (mut sandbox, mut provider): (_, Option<Arc<dyn PaymentProvider>>) = (None, None);
    match &config.top_ups.provider {
        PaymentProviderSettings::None => {}
        PaymentProviderSettings::Sandbox => {
            if !config.demo {
                tracing::warn!(
                    "PAYMENT_PROVIDER=sandbox credits points without a payment: use it for development only"
                );
            }
            let secret = config.token_secrets.0.first().map_or("", String::as_str);
            let (database, clock) = (Arc::clone(&ports.database), Arc::clone(&ports.clock));
            let randomness = Arc::clone(&ports.randomness);
            let adapter = Arc::new(Sandbox::new(database, clock, randomness, &config.base_url(), secret));
            sandbox = Some(Arc::clone(&adapter));
            provider = Some(adapter);
        }
        PaymentProviderSettings::Stripe(settings) => {
            provider = Some(Arc::new(Stripe::new(settings.clone()).context("setting up TLS for Stripe")?));
        }
    }
    let is_required = provider.is_some();
    let top_ups = Arc::new(TopUpFacade::new(ports.clone(), provider, config.top_ups.lifetime));
    let sandbox = sandbox.map(|adapter| SandboxFacade::new(adapter, Arc::clone(&top_ups)));
    Ok(PaymentParts { is_required, top_ups, sandbox })
}

fn build_facades(
    config: &Config,
    ports: &Ports,
    authentication: Arc<dyn Database>,
    lane_ports: &LanePorts,
    tasks: &TaskTracker,
    process_metrics: ProcessMetrics,
    stages: &ShutdownStages,
) -> anyhow::Result<Facades> {
    let policy = config.hold_policy;
    let payments = build_payments(config, ports)?;
    let lanes = LaneSettings {
        max_parallel_batches: config.lanes,
        batch_limit: config.lane_batch_limit,
        inbox_capacity: config.lane_inbox,
        slot_timeout: LANE_SLOT_TIMEOUT,
        transaction_timeout: TRANSACTION_TIMEOUT,
    };
    let sessions = SessionSettings {
        access_token_seconds: config.access_token_seconds,
        refresh_token_days: config.refresh_token_days,
        refresh_reuse_seconds: config.refresh_reuse_seconds,
        session_max_days: config.session_max_days,
        failed_logins_per_account: config.failed_logins_per_account,
    };
    let catalogue = CatalogueSettings {
        max_age: config.catalogue_cache,
        seat_map_age: config.seat_map_cache,
        write_seat: seat::write_seat,
    };
    let hasher = Arc::new(Argon2Hasher::new(Arc::clone(&ports.randomness)));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let settlements = Arc::new(SettlementLanes::new(ports.clone(), policy, lanes, lane_ports));
    let queue = Queues::start(ports, policy, config.requires_verified_email, lanes, lane_ports, tasks);
    let users = UserFacade::new(ports.clone(), authentication, hasher, cores, sessions)?;
    let users = Arc::new(users.delivering_codes(code_delivery(config)));
    Ok(Facades {
        administration: AdministrationFacade::new(ports, Arc::clone(&users), Arc::clone(&settlements)),
        users,
        concerts: ConcertFacade::new(ports.clone(), Arc::clone(&settlements), catalogue, tasks),
        bookings: BookingFacade::start(
            ports.clone(),
            policy,
            lanes,
            lane_ports,
            Arc::clone(&settlements),
            Arc::clone(&queue.gate),
        ),
        points: PointFacade::new(ports.clone(), Arc::clone(&settlements), payments.is_required),
        top_ups: payments.top_ups,
        sandbox: payments.sandbox,
        tickets: TicketFacade::new(ports.clone(), ticket_signer(config)?),
        payments: PaymentFacade::new(ports.clone(), settlements, Arc::clone(&queue.gate)),
        queue,
        events: EventFacade::new(ports.for_back_office(), config.webhook_allow_private),
        audit: AuditFacade::new(ports.for_back_office(), policy.max_seats_per_user),
        database: Arc::clone(&ports.database),
        clock: Arc::clone(&ports.clock),
        clock_check: Arc::clone(&ports.clock_check),
        randomness: Arc::clone(&ports.randomness),
        metrics: Box::new(move || process_metrics.render()),
        join_trace: traces::join,
        leaving: stages.leaving.clone(),
        draining: stages.draining.clone(),
        concurrency: ConcurrencyLimits::new(
            config.max_requests,
            config.database_connections().concurrent_admin_requests(),
            config.max_requests_per_address,
        ),
        streams: StreamLimits::new(config.max_streams_per_token, config.max_streams_per_user),
        unread_maps: UnreadMapLimit::new(config.max_unread_map_bytes_per_user),
        rate_limits: RateLimits::new(config.rate_limits, &ports.clock),
        settings: http_settings(config),
    })
}

fn http_settings(config: &Config) -> HttpSettings {
    HttpSettings {
        request_timeout: config.request_timeout,
        body_timeout: config.body_timeout,
        separate_operations: config.operations_listen_addr.is_some(),
        cors_allowed_origins: config.cors_allowed_origins.clone(),
        demo: config.demo.then(demo::accounts),
        proxies: config.proxies.clone(),
    }
}

fn code_delivery(config: &Config) -> CodeDelivery {
    if config.requires_verified_email && config.mail.is_none() && !config.demo {
        tracing::warn!("REQUIRE_VERIFIED_EMAIL=true without SMTP_URL: no code arrives, so no new user joins a queue");
    }
    match (&config.mail, config.demo) {
        (Some(_), _) => CodeDelivery::Mailed,
        (None, true) => CodeDelivery::Logged,
        (None, false) => CodeDelivery::Disabled,
    }
}

/// The clock of this machine.
pub fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

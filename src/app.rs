//! The composition root: the only place that names concrete types of every layer.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::{MySqlPool, mysql::MySqlConnectOptions};
use tokio::{net::TcpListener, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    application::{
        Ports,
        audit::AuditFacade,
        booking::BookingFacade,
        concert::ConcertFacade,
        housekeeping::HousekeepingFacade,
        lane::{LanePorts, LaneSettings},
        payment::PaymentFacade,
        point::PointFacade,
        queue::QueueFacade,
        settlement::SettlementLanes,
        user::{SessionSettings, UserFacade},
    },
    config::Config,
    domain::{clock::Clock, randomness::Randomness},
    infrastructure::{
        clock::SystemClock,
        mysql::{self, MySqlDatabase, PoolSettings},
        password::Argon2Hasher,
        randomness::OsRandomness,
        token_signer::HmacTokenSigner,
    },
    interfaces::{
        http::{
            router::build_router,
            seat,
            state::{App as Shared, Facades, HttpSettings},
        },
        scheduler::{self, SchedulerSettings},
    },
    telemetry::metrics::{Vitals, recorder},
};

/// How long a request waits for a free connection before it is turned away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// The server's parts, wired.
pub struct App {
    /// What handlers share.
    pub shared: Shared,
    /// What the use cases stand on.
    pub ports: Ports,
    config: Config,
    lane_pool: MySqlPool,
    pool: MySqlPool,
    tasks: TaskTracker,
    metrics: PrometheusHandle,
}

impl App {
    /// Wires everything to the database at `options`; connects only when it is first needed. Needs a tokio runtime: lanes start.
    pub fn build(config: &Config, options: MySqlConnectOptions, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let metrics = recorder();
        let options = mysql::with_statement_cache(options);
        let lane_connections = config.lane_connections();
        let settings = |max_connections| PoolSettings { max_connections, acquire_timeout: ACQUIRE_TIMEOUT };
        let lane_pool = mysql::pool(options.clone(), settings(lane_connections));
        let pool = mysql::pool(options, settings(config.database_max_connections - lane_connections));
        let randomness: Arc<dyn Randomness> = Arc::new(OsRandomness);
        let signer = HmacTokenSigner::new(&config.token_secrets.0).context("TOKEN_SECRET")?;
        let ports = Ports {
            database: Arc::new(MySqlDatabase::new(pool.clone()).measured_as("requests")),
            clock: Arc::clone(&clock),
            randomness: Arc::clone(&randomness),
            signer: Arc::new(signer),
        };
        let tasks = TaskTracker::new();
        let lane_ports = LanePorts {
            database: Arc::new(MySqlDatabase::new(lane_pool.clone()).measured_as("lanes")),
            clock,
            randomness,
            tasks: tasks.clone(),
        };
        let draining = CancellationToken::new();
        let vitals = Vitals::new(vec![("lanes", lane_pool.clone()), ("requests", pool.clone())], draining.clone());
        let shared = Arc::new(facades(config, &ports, &lane_ports, &tasks, vitals, draining)?);
        Ok(Self { shared, ports, config: config.clone(), lane_pool, pool, tasks, metrics: metrics.clone() })
    }

    /// The server's routes, for a listener or for a test.
    pub fn router(&self) -> Router {
        build_router(self.shared.clone())
    }

    /// Starts the recurring jobs; they end with the server.
    pub fn start_jobs(&self) {
        let housekeeping = HousekeepingFacade::new(self.ports.clone());
        let stop = &self.shared.draining;
        scheduler::start(&self.shared, housekeeping, SchedulerSettings::default(), &self.tasks, stop);
        let (metrics, stop) = (self.metrics.clone(), stop.clone());
        self.tasks.spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await.is_some() {
                metrics.run_upkeep();
            }
        });
    }

    /// Serves until `soft` is cancelled; then finishes what is under way, within the grace time and unless `hard` is
    /// cancelled first.
    pub async fn serve(
        self,
        listener: TcpListener,
        soft: CancellationToken,
        hard: CancellationToken,
    ) -> anyhow::Result<()> {
        let router = self.router();
        let draining = self.shared.draining.clone();
        let grace = self.config.shutdown_grace;
        let stopping = {
            let soft = soft.clone();
            async move {
                soft.cancelled().await;
                draining.cancel();
            }
        };
        // A bare router would be copied with all its routes, about 100 KiB, for each connection.
        let server = axum::serve(listener, router.into_make_service()).with_graceful_shutdown(stopping);
        let deadline = async move {
            soft.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            result = server => result.context("serving")?,
            () = deadline => tracing::warn!("the grace time is over: requests under way are dropped"),
            () = hard.cancelled() => {}
        }
        self.close(grace).await;
        Ok(())
    }

    /// Lets lanes and jobs finish, and closes the connections.
    pub async fn close(self, grace: Duration) {
        let Self { shared, lane_pool, pool, tasks, .. } = self;
        shared.draining.cancel();
        // The lanes end when nobody can send to them any more.
        drop(shared);
        tasks.close();
        if tokio::time::timeout(grace.max(Duration::from_secs(1)), tasks.wait()).await.is_err() {
            tracing::warn!("some tasks didn't end in time");
        }
        lane_pool.close().await;
        pool.close().await;
    }
}

fn facades(
    config: &Config,
    ports: &Ports,
    lane_ports: &LanePorts,
    tasks: &TaskTracker,
    vitals: Vitals,
    draining: CancellationToken,
) -> anyhow::Result<Facades> {
    let policy = config.hold_policy;
    let lanes = LaneSettings { lanes: config.lanes, batch_limit: config.lane_batch_limit, inbox: config.lane_inbox };
    let sessions = SessionSettings {
        access_token_seconds: config.access_token_seconds,
        refresh_token_days: config.refresh_token_days,
    };
    let hasher = Arc::new(Argon2Hasher::new(Arc::clone(&ports.randomness)));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let settlements = Arc::new(SettlementLanes::start(ports.clone(), policy, lanes, lane_ports));
    let queue = Arc::new(QueueFacade::start(ports.clone(), policy, lanes, lane_ports, tasks));
    Ok(Facades {
        users: UserFacade::new(ports.clone(), hasher, cores, sessions)?,
        concerts: ConcertFacade::new(ports.clone(), Arc::clone(&settlements), seat::write_seat, tasks),
        bookings: BookingFacade::start(
            ports.clone(),
            policy,
            lanes,
            lane_ports,
            Arc::clone(&settlements),
            Arc::clone(&queue),
        ),
        points: PointFacade::new(ports.clone(), Arc::clone(&settlements)),
        payments: PaymentFacade::new(ports.clone(), settlements, Arc::clone(&queue)),
        queue,
        audit: AuditFacade::new(ports.clone()),
        database: Arc::clone(&ports.database),
        clock: Arc::clone(&ports.clock),
        randomness: Arc::clone(&ports.randomness),
        metrics: Box::new(move || vitals.render()),
        draining,
        settings: HttpSettings {
            request_timeout: config.request_timeout,
            cors_allowed_origins: config.cors_allowed_origins.clone(),
        },
    })
}

/// The system's clock.
pub fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

//! One run of the tool: its servers and database, and how a figure is measured.

use std::{
    path::PathBuf,
    process::Stdio,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use concert_reservation::{
    config::{Config, VARIABLES},
    domain::audit::Invariant,
    infrastructure::mysql,
};
use sqlx::{AssertSqlSafe, mysql::MySqlConnectOptions};

use crate::{
    client::{Addresses, Connection},
    fixture::Fixture,
    limits,
    load::{self, Outcome, Workload},
    redis_store::{Durability, RedisServer},
    report::{Cost, LoadRow, Report},
    server::{self, Server},
    statistics::to_f64,
};

/// The amount of work that a figure is based on.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
    /// Rounds per figure after the warm-up; the report gives their median.
    pub(crate) rounds: usize,
    /// Duration of one measurement of the database's limit.
    pub(crate) limit_time: Duration,
}

impl Scale {
    pub(crate) fn new(quick: bool) -> Self {
        let (rounds, limit_time) = if quick { (1, Duration::from_secs(1)) } else { (3, Duration::from_secs(2)) };
        Self { quick, rounds, limit_time }
    }

    /// `full`, or a fifth of it in a quick run.
    pub(crate) fn count(&self, full: usize) -> usize {
        if self.quick { full / 5 } else { full }
    }
}

/// After this time the rounds of a figure aren't repeated.
const ROUNDS_TIME_LIMIT: Duration = Duration::from_mins(1);

/// The upper bound that a rate is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Durable single-row updates per second: L8.
    DurableUpdates,
    /// Requests per second of a bare handler that sends the same bytes to the same client: H.
    BareHandler,
    None,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::DurableUpdates => "L8",
            Self::BareHandler => "H",
            Self::None => "",
        }
    }
}

/// The number of started servers, and their settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Setup {
    /// One instance with the default settings.
    Default,
    /// Two instances on one database.
    TwoInstances,
    /// One instance with one transaction per request.
    Unbatched,
    /// The small server for queues in Redis.
    RedisQueue(Durability),
}

pub(crate) struct Bench {
    pub(crate) scale: Scale,
    pub(crate) fixture: Fixture,
    pub(crate) report: Report,
    pub(crate) database: MySqlConnectOptions,
    pub(crate) config: Config,
    /// Servers that this tool didn't start, and doesn't stop.
    external: Option<Addresses>,
    /// The log file of started servers; `None` discards it.
    log: Option<PathBuf>,
    started: Vec<(Setup, Vec<Server>)>,
    redis: Vec<RedisServer>,
    database_pid: Option<u32>,
}

impl Bench {
    pub(crate) async fn new(scale: Scale, external: Option<Addresses>, log: Option<PathBuf>) -> anyhow::Result<Self> {
        let mut config = configuration()?;
        if external.is_none() {
            config.database_url = sibling_database(&config.database_url, "bench")?;
        }
        Self::with(config, scale, external, log).await
    }

    /// The same tool with another database on the same server.
    pub(crate) async fn beside(&self, name: &str) -> anyhow::Result<Self> {
        let config = Config { database_url: sibling_database(&self.config.database_url, name)?, ..self.config.clone() };
        Self::with(config, self.scale, None, self.log.clone()).await
    }

    async fn with(
        config: Config,
        scale: Scale,
        external: Option<Addresses>,
        log: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let database = mysql::parse_url(&config.database_url)?;
        let fixture = Fixture::new(&config, &database).await?;
        let report = Report::default();
        let (started, redis) = (Vec::new(), Vec::new());
        let mut bench =
            Self { scale, fixture, report, database, config, external, log, started, redis, database_pid: None };
        bench.find_database().await?;
        Ok(bench)
    }

    /// Finds the database's process, if it runs on this machine.
    pub(crate) async fn find_database(&mut self) -> anyhow::Result<()> {
        let directory: String = sqlx::query_scalar("SELECT @@datadir").fetch_one(&self.fixture.pool).await?;
        self.database_pid = server::database_pid(&directory);
        Ok(())
    }

    /// The process of a database on this machine.
    pub(crate) fn database_pid(&self) -> Option<u32> {
        self.database_pid
    }

    /// Stops started servers and empties the database, so that the next scenario begins with new ones. Keeps external
    /// servers and their database.
    pub(crate) async fn reset(&mut self) -> anyhow::Result<()> {
        if self.external.is_none() {
            self.drop_database().await?;
            self.fixture = Fixture::new(&self.config, &self.database).await?;
        }
        Ok(())
    }

    /// Stops started servers and drops their database.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        if self.external.is_none() {
            self.drop_database().await?;
        }
        Ok(())
    }

    async fn drop_database(&mut self) -> anyhow::Result<()> {
        self.stop_servers();
        self.redis.clear();
        let name = self.database.get_database().context("a database")?;
        let statement = AssertSqlSafe(format!("DROP DATABASE IF EXISTS `{name}`"));
        sqlx::query(statement).execute(&self.fixture.pool).await?;
        self.fixture.pool.close().await;
        Ok(())
    }

    /// Stops started servers, so that new ones are started on the next use.
    pub(crate) fn stop_servers(&mut self) {
        self.started.clear();
    }

    /// Fails with external servers.
    pub(crate) fn require_started_servers(&self) -> anyhow::Result<()> {
        ensure!(self.external.is_none(), "this scenario starts its own servers: run it without --urls");
        Ok(())
    }

    /// The servers with this setup, started on first use. Servers with other setups keep running, idle.
    pub(crate) async fn servers(&mut self, setup: Setup) -> anyhow::Result<Addresses> {
        if let Some(external) = &self.external {
            return Ok(Rc::clone(external));
        }
        if !self.started.iter().any(|(started, _)| *started == setup) {
            let mut servers = Vec::new();
            for _ in 0..if setup == Setup::TwoInstances { 2 } else { 1 } {
                servers.push(self.start_server(setup).await?);
            }
            self.started.push((setup, servers));
        }
        Ok(self.servers_of(setup).map(|server| server.address.clone()).collect::<Vec<_>>().into())
    }

    fn servers_of(&self, setup: Setup) -> impl Iterator<Item = &Server> {
        self.started.iter().filter(move |(started, _)| *started == setup).flat_map(|(_, servers)| servers)
    }

    /// Starts an empty Redis with this durability, unless one runs. It runs until the next scenario.
    pub(crate) async fn start_redis(&mut self, durability: Durability) -> anyhow::Result<()> {
        if !self.redis.iter().any(|it| it.durability() == durability) {
            self.redis.push(RedisServer::start(durability).await?);
        }
        Ok(())
    }

    /// The processes that store data with this setup.
    pub(crate) fn store_pids(&self, setup: Setup) -> Vec<u32> {
        if let Setup::RedisQueue(durability) = setup {
            return self.redis_pids(durability);
        }
        self.database_pid.into_iter().collect()
    }

    pub(crate) fn redis_pids(&self, durability: Durability) -> Vec<u32> {
        self.redis.iter().filter(|it| it.durability() == durability).map(RedisServer::pid).collect()
    }

    async fn start_server(&mut self, setup: Setup) -> anyhow::Result<Server> {
        if let Setup::RedisQueue(durability) = setup {
            self.start_redis(durability).await?;
            let socket = durability.socket().to_string_lossy().into_owned();
            let arguments = |address: &str| vec!["redis-server".to_owned(), address.to_owned(), socket];
            return Server::start(&std::env::current_exe()?, arguments, &[], Stdio::inherit()).await;
        }
        let secret = self.config.token_secrets.0.join(",");
        let mut variables = vec![("DATABASE_URL", self.config.database_url.as_str()), ("TOKEN_SECRET", &secret)];
        // All requests come from one address, and many of one user.
        variables.extend(VARIABLES.iter().filter(|it| it.name.starts_with("RATE_LIMIT_")).map(|it| (it.name, "0")));
        if setup == Setup::Unbatched {
            variables.extend([("LANES", "16"), ("LANE_BATCH_LIMIT", "1"), ("DATABASE_MAX_CONNECTIONS", "128")]);
        }
        let arguments = |address: &str| vec!["serve".to_owned(), "--listen-addr".to_owned(), address.to_owned()];
        let log = match &self.log {
            Some(log) => std::fs::OpenOptions::new().create(true).append(true).open(log)?.into(),
            None => Stdio::null(),
        };
        Server::start(&server::binary()?, arguments, &variables, log).await
    }

    pub(crate) fn database_url(&self) -> &str {
        &self.config.database_url
    }

    pub(crate) fn server_pids(&self, setup: Setup) -> Vec<u32> {
        self.servers_of(setup).map(Server::pid).collect()
    }

    /// Measures a closed loop: after a warm-up, each round prepares, measures the limit, and runs.
    pub(crate) async fn measure_closed_loop<W: Workload + 'static>(
        &mut self,
        run: Run,
        prepare: impl AsyncFnMut(&mut Self, Run, &Addresses) -> anyhow::Result<W>,
    ) -> anyhow::Result<LoadRow> {
        let [row] = self.measure_interleaved([run], prepare).await?;
        Ok(row)
    }

    /// Measures several figures with interleaved rounds, so that changes of the machine's speed affect all of them.
    pub(crate) async fn measure_interleaved<W: Workload + 'static, const N: usize>(
        &mut self,
        runs: [Run; N],
        mut prepare: impl AsyncFnMut(&mut Self, Run, &Addresses) -> anyhow::Result<W>,
    ) -> anyhow::Result<[LoadRow; N]> {
        let mut rows = runs.map(|run| LoadRow::new(run.name, run.connections));
        let started = Instant::now();
        for round in 0..=self.scale.rounds {
            if round > 1 && started.elapsed() > ROUNDS_TIME_LIMIT {
                let name = runs[0].name;
                self.report.add_note(format!(
                    "{name}: {} of {} rounds, because of the time limit",
                    round - 1,
                    self.scale.rounds
                ));
                break;
            }
            for (run, row) in runs.iter().zip(&mut rows) {
                let count = if round == 0 { (run.count / 4).max(run.connections) } else { run.count };
                let run = Run { count, ..*run };
                let addresses = self.servers(run.setup).await?;
                let work = Rc::new(prepare(self, run, &addresses).await?);
                row.limit_name = run.limit.name();
                let limit = if round == 0 { None } else { self.measure_limit(&work, &addresses, run).await? };
                let (outcome, cost) = self
                    .measure_cost(run.setup, async || {
                        load::closed_loop(&work, &addresses, run.connections, count).await
                    })
                    .await?;
                if round > 0 {
                    row.add_round(outcome.rate(), limit, &outcome.latencies(), cost);
                }
            }
        }
        Ok(rows)
    }

    /// Runs a load, and measures the processor time per unit of work of client, servers and database.
    pub(crate) async fn measure_cost(
        &self,
        setup: Setup,
        run: impl AsyncFnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<(Outcome, Cost)> {
        let servers = self.server_pids(setup);
        self.measure_cost_of(&servers, self.store_pids(setup), run).await
    }

    /// The same for servers and stores with these process ids.
    pub(crate) async fn measure_cost_of(
        &self,
        servers: &[u32],
        stores: Vec<u32>,
        run: impl AsyncFnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<(Outcome, Cost)> {
        servers.iter().copied().for_each(server::reset_peak_memory);
        let groups = [vec![std::process::id()], servers.to_vec(), stores];
        let before = groups.each_ref().map(|pids| server::cpu_time(pids));
        let outcome = run().await?;
        let each = |index: usize| {
            let used = server::cpu_time(&groups[index])?.checked_sub(before[index]?)?;
            Some(used.as_secs_f64() * 1e6 / to_f64(outcome.count)).filter(|_| !groups[index].is_empty())
        };
        let memory = groups[1].iter().filter_map(|pid| server::peak_memory(*pid)).reduce(f64::max);
        let cost = Cost { client: each(0), server: each(1), database: each(2), memory };
        Ok((outcome, cost))
    }

    /// Measures the limit of a run.
    async fn measure_limit<W: Workload + 'static>(
        &mut self,
        work: &Rc<W>,
        addresses: &Addresses,
        run: Run,
    ) -> anyhow::Result<Option<f64>> {
        match run.limit {
            Limit::None => Ok(None),
            Limit::DurableUpdates => limits::durable_updates(&self.database, self.scale.limit_time).await.map(Some),
            Limit::BareHandler => {
                let bare = start_bare(work, addresses).await?;
                let addresses: Addresses = Rc::new([bare.address.clone()]);
                load::closed_loop(work, &addresses, run.connections, run.count / 4).await?;
                let processes = [std::process::id(), bare.pid()];
                let before = processes.map(|pid| server::cpu_time(&[pid]));
                let outcome = load::closed_loop(work, &addresses, run.connections, run.count).await?;
                let used = |index: usize| server::cpu_time(&[processes[index]])?.checked_sub(before[index]?);
                if let (Some(client), Some(handler)) = (used(0), used(1)) {
                    let each = |used: Duration| used.as_secs_f64() * 1e6 / to_f64(outcome.count);
                    self.report.bare.entry(run.name).or_default().push([each(client), each(handler)]);
                }
                Ok(Some(outcome.rate()))
            }
        }
    }

    /// Checks the invariants; fails if one is violated.
    pub(crate) async fn audit(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let report = self.fixture.app.shared.audit.check().await?;
        let is_violated = |invariant: &&Invariant| invariant.violations > 0;
        if let Some(violated) = report.invariants.iter().find(is_violated) {
            anyhow::bail!("invariant {}, {}: {} violations", violated.number, violated.name, violated.violations);
        }
        self.report.record_audit(report.invariants.len(), started.elapsed());
        Ok(())
    }
}

/// The environment's configuration, with a fixed token secret where it has none.
fn configuration() -> anyhow::Result<Config> {
    let secret: String = std::iter::repeat_n("bench", 8).collect();
    #[expect(clippy::disallowed_methods, reason = "this tool has no other configuration")]
    let lookup = |name: &str| std::env::var(name).ok();
    Ok(Config::from_lookup(|name| lookup(name).or_else(|| (name == "TOKEN_SECRET").then(|| secret.clone())))?)
}

/// The URL of another database on the same server: the given one's name with `suffix`.
fn sibling_database(url: &str, suffix: &str) -> anyhow::Result<String> {
    let (address, options) = url.split_once('?').map_or((url, None), |(address, options)| (address, Some(options)));
    let (server, name) = address.rsplit_once('/').context("a URL with a database")?;
    let options = options.map(|options| format!("?{options}")).unwrap_or_default();
    Ok(format!("{server}/{name}_{suffix}{options}"))
}

/// Starts a bare handler that repeats the server's response to the first unit of work.
pub(crate) async fn start_bare<W: Workload>(work: &Rc<W>, addresses: &Addresses) -> anyhow::Result<Server> {
    let response = first_response(work, addresses).await?;
    let file = std::env::temp_dir().join(format!("concert-reservation-bench-{}", std::process::id()));
    std::fs::write(&file, &response).context("writing the response for the bare handler")?;
    let path = file.to_string_lossy().into_owned();
    let server = Server::start(
        &std::env::current_exe()?,
        |address| vec!["bare".to_owned(), address.to_owned(), path],
        &[],
        Stdio::inherit(),
    )
    .await;
    let _ = std::fs::remove_file(file);
    let server = server?;
    let bare: Addresses = Rc::new([server.address.clone()]);
    let repeated = first_response(work, &bare).await?;
    ensure!(
        repeated.len() == response.len(),
        "the bare handler sends {} bytes, not {}",
        repeated.len(),
        response.len()
    );
    Ok(server)
}

/// The raw bytes of the response to the first unit of work.
async fn first_response<W: Workload>(work: &Rc<W>, addresses: &Addresses) -> anyhow::Result<Vec<u8>> {
    let mut connection = Connection::open(addresses, 0).await?;
    work.run(0, &mut connection).await?;
    Ok(connection.last_response().to_vec())
}

/// The parameters of one measured load.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) setup: Setup,
    pub(crate) connections: usize,
    /// Units of work.
    pub(crate) count: usize,
    pub(crate) limit: Limit,
}

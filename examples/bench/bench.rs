//! One run of the tool: the processes it works with, and how a figure is taken.

use std::{
    path::PathBuf,
    process::Stdio,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context;
use concert_reservation::{
    config::{Config, VARIABLES},
    domain::audit::Invariant,
    infrastructure::mysql,
};
use sqlx::mysql::MySqlConnectOptions;

use crate::{
    client::{Addresses, Connection},
    fixture::Fixture,
    limits,
    load::{self, Outcome, Work},
    report::{Cost, Line, Report},
    server::{self, Server},
    statistics::number,
};

/// How much is done for a figure.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
    /// How often a figure is taken; the report gives the median.
    pub(crate) rounds: usize,
    /// How long the database's limit is measured.
    pub(crate) limit_time: Duration,
}

impl Scale {
    pub(crate) fn new(quick: bool) -> Self {
        let (rounds, limit_time) = if quick { (1, Duration::from_secs(1)) } else { (3, Duration::from_secs(2)) };
        Self { quick, rounds, limit_time }
    }

    /// So many, or a fifth.
    pub(crate) fn count(&self, full: usize) -> usize {
        if self.quick { full / 5 } else { full }
    }
}

/// What a figure is set beside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Durable updates of single rows, in the same run.
    Updates,
    /// A bare handler that answers with the same bytes to the same client.
    Bare,
    Nothing,
}

/// How the servers are set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Setup {
    /// As it comes.
    Default,
    /// Two instances on the database.
    Two,
    /// Each request in a transaction of its own.
    Single,
}

pub(crate) struct Bench {
    pub(crate) scale: Scale,
    pub(crate) fixture: Fixture,
    pub(crate) report: Report,
    pub(crate) database: MySqlConnectOptions,
    config: Config,
    /// Servers that somebody else has started.
    given: Option<Addresses>,
    /// Where own servers write what they say.
    log: Option<PathBuf>,
    own: Vec<Server>,
    setup: Option<Setup>,
    database_pid: Option<u32>,
}

impl Bench {
    pub(crate) async fn new(scale: Scale, given: Option<Addresses>, log: Option<PathBuf>) -> anyhow::Result<Self> {
        let own_secret = std::iter::repeat_n("bench", 8).collect::<String>();
        #[expect(clippy::disallowed_methods, reason = "a tool of its own: it has no other configuration")]
        let lookup = |name: &str| std::env::var(name).ok();
        let config = Config::from_lookup(|name| match lookup(name) {
            None if name == "TOKEN_SECRET" => Some(own_secret.clone()),
            value => value,
        })?;
        let database = mysql::parse_url(&config.database_url)?;
        let fixture = Fixture::new(&config, &database).await?;
        let directory: String = sqlx::query_scalar("SELECT @@datadir").fetch_one(&fixture.pool).await?;
        let database_pid = server::database_pid(&directory);
        let report = Report::new(&fixture.pool, scale).await?;
        Ok(Self { scale, fixture, report, database, config, given, log, own: Vec::new(), setup: None, database_pid })
    }

    /// The servers, set up like this.
    pub(crate) async fn servers(&mut self, setup: Setup) -> anyhow::Result<Addresses> {
        if let Some(given) = &self.given {
            return Ok(Rc::clone(given));
        }
        if self.setup != Some(setup) {
            self.own.clear();
            let count = if setup == Setup::Two { 2 } else { 1 };
            for _ in 0..count {
                let server = self.start_server(setup).await?;
                self.own.push(server);
            }
            self.setup = Some(setup);
        }
        Ok(self.own.iter().map(|server| server.address.clone()).collect::<Vec<_>>().into())
    }

    /// Ends the servers, so that the next ones are new.
    pub(crate) fn stop_servers(&mut self) {
        self.own.clear();
        self.setup = None;
    }

    async fn start_server(&self, setup: Setup) -> anyhow::Result<Server> {
        let secret = self.config.token_secrets.0.join(",");
        let mut variables = vec![("DATABASE_URL", self.config.database_url.as_str()), ("TOKEN_SECRET", &secret)];
        // All requests come from one address, and many of them from one user.
        variables.extend(VARIABLES.iter().filter(|it| it.name.starts_with("RATE_LIMIT_")).map(|it| (it.name, "0")));
        if setup == Setup::Single {
            variables.extend([("LANES", "16"), ("LANE_BATCH_LIMIT", "1"), ("DATABASE_MAX_CONNECTIONS", "128")]);
        }
        let arguments = |address: &str| vec!["serve".to_owned(), "--listen-addr".to_owned(), address.to_owned()];
        let log = match &self.log {
            Some(log) => std::fs::OpenOptions::new().create(true).append(true).open(log)?.into(),
            None => Stdio::null(),
        };
        Server::start(&server::binary()?, arguments, &variables, log).await
    }

    pub(crate) fn server_pids(&self) -> Vec<u32> {
        self.own.iter().map(Server::pid).collect()
    }

    /// Takes a figure by a closed loop: prepares, takes the limit, runs; so many times, after one that doesn't count.
    pub(crate) async fn closed<W: Work + 'static>(
        &mut self,
        name: &str,
        run: Run,
        mut prepare: impl AsyncFnMut(&mut Self, usize, &Addresses) -> anyhow::Result<W>,
    ) -> anyhow::Result<Line> {
        let addresses = self.servers(run.setup).await?;
        let pids = self.server_pids();
        let mut line = Line::new(name, run.connections);
        for round in 0..=self.scale.rounds {
            let count = if round == 0 { (run.count / 4).max(run.connections) } else { run.count };
            let work = Rc::new(prepare(self, count, &addresses).await?);
            let limit = if round == 0 { None } else { self.limit(&work, &addresses, run).await? };
            pids.iter().copied().for_each(server::forget_peak);
            let (outcome, cost) =
                self.costed(async || load::closed(&work, &addresses, run.connections, count).await).await?;
            if round > 0 {
                line.add(outcome.rate(), limit, &outcome.latencies(), cost);
            }
        }
        self.report.note_memory(name, pids.iter().filter_map(|pid| server::peak_memory(*pid)).fold(0.0, f64::max));
        Ok(line)
    }

    /// Runs, and reckons what each request cost the client, the servers and the database.
    pub(crate) async fn costed(
        &self,
        run: impl AsyncFnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<(Outcome, Cost)> {
        let groups = [vec![std::process::id()], self.server_pids(), self.database_pid.into_iter().collect()];
        let before = groups.each_ref().map(|pids| server::cpu(pids));
        let outcome = run().await?;
        let each = |index: usize| {
            let used = server::cpu(&groups[index])?.checked_sub(before[index]?)?;
            Some(used.as_secs_f64() * 1e6 / number(outcome.count)).filter(|_| !groups[index].is_empty())
        };
        let cost = Cost { client: each(0), server: each(1), database: each(2) };
        Ok((outcome, cost))
    }

    /// The limit that belongs to a run, taken now.
    async fn limit<W: Work + 'static>(
        &self,
        work: &Rc<W>,
        addresses: &Addresses,
        run: Run,
    ) -> anyhow::Result<Option<f64>> {
        match run.limit {
            Limit::Nothing => Ok(None),
            Limit::Updates => limits::durable_updates(&self.database, self.scale.limit_time).await.map(Some),
            Limit::Bare => {
                let bare = start_bare(work, addresses).await?;
                let addresses: Addresses = Rc::new([bare.address.clone()]);
                load::closed(work, &addresses, run.connections, run.count / 4).await?;
                Ok(Some(load::closed(work, &addresses, run.connections, run.count).await?.rate()))
            }
        }
    }

    /// Fails if any invariant is broken.
    pub(crate) async fn audit(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let report = self.fixture.app.shared.audit.check().await?;
        let is_broken = |invariant: &&Invariant| invariant.violations > 0;
        if let Some(broken) = report.invariants.iter().find(is_broken) {
            anyhow::bail!("invariant {}, {}: {} violations", broken.number, broken.name, broken.violations);
        }
        self.report.note_audit(report.invariants.len(), begun.elapsed());
        Ok(())
    }
}

/// Starts a bare handler that gives the answer which the server gives to the first piece of work.
pub(crate) async fn start_bare<W: Work>(work: &Rc<W>, addresses: &Addresses) -> anyhow::Result<Server> {
    let mut connection = Connection::open(addresses, 0).await?;
    work.run(0, &mut connection).await?;
    let file = std::env::temp_dir().join(format!("concert-reservation-bench-{}", std::process::id()));
    std::fs::write(&file, connection.last_answer()).context("writing the answer for the bare handler")?;
    let path = file.to_string_lossy().into_owned();
    let server = Server::start(
        &std::env::current_exe()?,
        |address| vec!["bare".to_owned(), address.to_owned(), path],
        &[],
        Stdio::inherit(),
    )
    .await;
    let _ = std::fs::remove_file(file);
    server
}

/// How a figure is taken.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) setup: Setup,
    pub(crate) connections: usize,
    pub(crate) count: usize,
    pub(crate) limit: Limit,
}

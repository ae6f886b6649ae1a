//! One run of the tool: the processes it works with, and how a figure is taken.

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

/// Rounds that have taken so long aren't repeated.
const ENOUGH: Duration = Duration::from_mins(1);

/// What a figure is set beside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Durable updates of single rows, in the same run.
    Updates,
    /// A bare handler that answers with the same bytes to the same client.
    Bare,
    Nothing,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::Updates => "L8",
            Self::Bare => "H",
            Self::Nothing => "",
        }
    }
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
    own: Vec<(Setup, Vec<Server>)>,
    database_pid: Option<u32>,
}

impl Bench {
    pub(crate) async fn new(scale: Scale, given: Option<Addresses>, log: Option<PathBuf>) -> anyhow::Result<Self> {
        let mut config = configuration()?;
        if given.is_none() {
            config.database_url = own_database(&config.database_url)?;
        }
        let database = mysql::parse_url(&config.database_url)?;
        let fixture = Fixture::new(&config, &database).await?;
        let directory: String = sqlx::query_scalar("SELECT @@datadir").fetch_one(&fixture.pool).await?;
        let database_pid = server::database_pid(&directory);
        let report = Report::default();
        Ok(Self { scale, fixture, report, database, config, given, log, own: Vec::new(), database_pid })
    }

    /// Has the next scenario begin with new servers on an empty database, unless they are somebody else's.
    pub(crate) async fn renew(&mut self) -> anyhow::Result<()> {
        if self.given.is_none() {
            self.drop_database().await?;
            self.fixture = Fixture::new(&self.config, &self.database).await?;
        }
        Ok(())
    }

    /// Ends the servers and leaves nothing in the database.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        if self.given.is_none() {
            self.drop_database().await?;
        }
        Ok(())
    }

    async fn drop_database(&mut self) -> anyhow::Result<()> {
        self.own.clear();
        let name = self.database.get_database().context("a database")?;
        let statement = AssertSqlSafe(format!("DROP DATABASE IF EXISTS `{name}`"));
        sqlx::query(statement).execute(&self.fixture.pool).await?;
        self.fixture.pool.close().await;
        Ok(())
    }

    /// Fails where the servers are somebody else's.
    pub(crate) fn require_own_servers(&self) -> anyhow::Result<()> {
        ensure!(self.given.is_none(), "this starts servers of its own: not with --urls");
        Ok(())
    }

    /// The servers that are set up like this; others stay, and have nothing to do.
    pub(crate) async fn servers(&mut self, setup: Setup) -> anyhow::Result<Addresses> {
        if let Some(given) = &self.given {
            return Ok(Rc::clone(given));
        }
        if !self.own.iter().any(|(own, _)| *own == setup) {
            let mut servers = Vec::new();
            for _ in 0..if setup == Setup::Two { 2 } else { 1 } {
                servers.push(self.start_server(setup).await?);
            }
            self.own.push((setup, servers));
        }
        Ok(self.of(setup).map(|server| server.address.clone()).collect::<Vec<_>>().into())
    }

    fn of(&self, setup: Setup) -> impl Iterator<Item = &Server> {
        self.own.iter().filter(move |(own, _)| *own == setup).flat_map(|(_, servers)| servers)
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

    /// Where the database is.
    pub(crate) fn database_url(&self) -> &str {
        &self.config.database_url
    }

    pub(crate) fn server_pids(&self, setup: Setup) -> Vec<u32> {
        self.of(setup).map(Server::pid).collect()
    }

    /// Takes a figure by a closed loop: prepares, takes the limit, runs; so many times, after one that doesn't count.
    pub(crate) async fn closed<W: Work + 'static>(
        &mut self,
        run: Run,
        prepare: impl AsyncFnMut(&mut Self, Run, &Addresses) -> anyhow::Result<W>,
    ) -> anyhow::Result<Line> {
        let [line] = self.alternate([run], prepare).await?;
        Ok(line)
    }

    /// Takes several figures by turns, so that what changes on the machine meanwhile changes all of them.
    pub(crate) async fn alternate<W: Work + 'static, const N: usize>(
        &mut self,
        runs: [Run; N],
        mut prepare: impl AsyncFnMut(&mut Self, Run, &Addresses) -> anyhow::Result<W>,
    ) -> anyhow::Result<[Line; N]> {
        let mut lines = runs.map(|run| Line::new(run.name, run.connections));
        let begun = Instant::now();
        for round in 0..=self.scale.rounds {
            if round > 1 && begun.elapsed() > ENOUGH {
                let name = runs[0].name;
                self.report.note(format!("{name}: {} of {} rounds, for want of time", round - 1, self.scale.rounds));
                break;
            }
            for (run, line) in runs.iter().zip(&mut lines) {
                let count = if round == 0 { (run.count / 4).max(run.connections) } else { run.count };
                let run = Run { count, ..*run };
                let addresses = self.servers(run.setup).await?;
                let work = Rc::new(prepare(self, run, &addresses).await?);
                line.limit_name = run.limit.name();
                let limit = if round == 0 { None } else { self.limit(&work, &addresses, run).await? };
                let (outcome, cost) = self
                    .costed(run.setup, async || load::closed(&work, &addresses, run.connections, count).await)
                    .await?;
                if round > 0 {
                    line.add(outcome.rate(), limit, &outcome.latencies(), cost);
                }
            }
        }
        Ok(lines)
    }

    /// Runs, and reckons what each piece of work cost the client, the servers and the database.
    pub(crate) async fn costed(
        &self,
        setup: Setup,
        run: impl AsyncFnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<(Outcome, Cost)> {
        let servers = self.server_pids(setup);
        self.costed_for(&servers, run).await
    }

    /// The same with servers that aren't its own.
    pub(crate) async fn costed_for(
        &self,
        servers: &[u32],
        run: impl AsyncFnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<(Outcome, Cost)> {
        servers.iter().copied().for_each(server::forget_peak);
        let groups = [vec![std::process::id()], servers.to_vec(), self.database_pid.into_iter().collect()];
        let before = groups.each_ref().map(|pids| server::cpu(pids));
        let outcome = run().await?;
        let each = |index: usize| {
            let used = server::cpu(&groups[index])?.checked_sub(before[index]?)?;
            Some(used.as_secs_f64() * 1e6 / number(outcome.count)).filter(|_| !groups[index].is_empty())
        };
        let memory = groups[1].iter().filter_map(|pid| server::peak_memory(*pid)).reduce(f64::max);
        let cost = Cost { client: each(0), server: each(1), database: each(2), memory };
        Ok((outcome, cost))
    }

    /// The limit that belongs to a run, taken now.
    async fn limit<W: Work + 'static>(
        &mut self,
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
                let processes = [std::process::id(), bare.pid()];
                let before = processes.map(|pid| server::cpu(&[pid]));
                let outcome = load::closed(work, &addresses, run.connections, run.count).await?;
                let used = |index: usize| server::cpu(&[processes[index]])?.checked_sub(before[index]?);
                if let (Some(client), Some(handler)) = (used(0), used(1)) {
                    let each = |used: Duration| used.as_secs_f64() * 1e6 / number(outcome.count);
                    self.report.bare.entry(run.name).or_default().push([each(client), each(handler)]);
                }
                Ok(Some(outcome.rate()))
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

/// The environment's, but for a secret of this tool's own where there is none.
fn configuration() -> anyhow::Result<Config> {
    let secret: String = std::iter::repeat_n("bench", 8).collect();
    #[expect(clippy::disallowed_methods, reason = "a tool of its own: it has no other configuration")]
    let lookup = |name: &str| std::env::var(name).ok();
    Ok(Config::from_lookup(|name| lookup(name).or_else(|| (name == "TOKEN_SECRET").then(|| secret.clone())))?)
}

/// The URL of a database of this tool's own, beside the one that is named.
fn own_database(url: &str) -> anyhow::Result<String> {
    let (address, options) = url.split_once('?').map_or((url, None), |(address, options)| (address, Some(options)));
    let (server, name) = address.rsplit_once('/').context("a URL with a database")?;
    let options = options.map(|options| format!("?{options}")).unwrap_or_default();
    Ok(format!("{server}/{name}_bench{options}"))
}

/// Starts a bare handler that gives the answer which the server gives to the first piece of work.
pub(crate) async fn start_bare<W: Work>(work: &Rc<W>, addresses: &Addresses) -> anyhow::Result<Server> {
    let answer = first_answer(work, addresses).await?;
    let file = std::env::temp_dir().join(format!("concert-reservation-bench-{}", std::process::id()));
    std::fs::write(&file, &answer).context("writing the answer for the bare handler")?;
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
    let same = first_answer(work, &bare).await?;
    ensure!(same.len() == answer.len(), "the bare handler answers {} bytes, not {}", same.len(), answer.len());
    Ok(server)
}

/// The answer to the first piece of work, as it comes over the wire.
async fn first_answer<W: Work>(work: &Rc<W>, addresses: &Addresses) -> anyhow::Result<Vec<u8>> {
    let mut connection = Connection::open(addresses, 0).await?;
    work.run(0, &mut connection).await?;
    Ok(connection.last_answer().to_vec())
}

/// How a figure is taken.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) setup: Setup,
    pub(crate) connections: usize,
    pub(crate) count: usize,
    pub(crate) limit: Limit,
}

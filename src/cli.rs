//! The command line: one binary, a few commands, configuration by environment variables or flags.

use std::{
    io::{BufRead, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use chrono::{SecondsFormat, TimeDelta};
use clap::{Arg, ArgAction, ArgMatches, Command};
use sqlx::{Connection, MySqlConnection, mysql::MySqlDatabaseError};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{App, system_clock},
    application::{error::AppError, top_up::Reconciliation},
    config::{Config, VARIABLES},
    demo,
    domain::{
        points::Points,
        refusal::Refusal,
        text::{Email, Name},
        top_up::Difference,
        user::Password,
    },
    infrastructure::mysql::{self, MigrateError},
    interfaces::http::router,
    shutdown,
    telemetry::{self, Telemetry, alerts::Alerts, traces::Traces},
    verify_draw::{self, VerifiedDraw},
};

/// The exit code for invalid flags or an invalid configuration.
const EXIT_USAGE: u8 = 2;

/// The most connections that wait to be accepted; the kernel may allow fewer.
const LISTEN_BACKLOG: u32 = 4_096;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let (name, matches) = matches.subcommand().unwrap_or(("serve", &matches));
    match name {
        "openapi" => return print_document(),
        "verify-draw" => return verify_draw(matches),
        _ => {}
    }
    let config = Config::from_lookup(|variable| matches.get_one::<String>(variable).cloned());
    let config = match config {
        Ok(config) => config,
        Err(errors) => {
            print_error(&errors);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let Telemetry { alerts, traces } = match telemetry::start(&config.telemetry) {
        Ok(started) => started,
        Err(error) => {
            print_error(&format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&error);
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match name {
            "migrate" => migrate(&config).await.map(|()| true),
            "create-admin" => create_admin(&config, matches).await,
            "seed-demo" => seed_demo(&config).await.map(|()| true),
            "audit" => audit(&config).await,
            "reconcile" => reconcile(&config, matches).await,
            _ => serve(&config, !matches.get_flag("no-migrate"), alerts).await.map(|()| true),
        }
    });
    // Outside of the runtime, since it blocks until the exporter's thread has sent the spans.
    traces.into_iter().for_each(Traces::stop);
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let flags = || {
        VARIABLES.iter().map(|variable| {
            let about = if variable.default.is_empty() || variable.name == "TOKEN_SECRET" {
                variable.description.to_owned()
            } else {
                format!("{} [default: {}]", variable.description, variable.default)
            };
            Arg::new(variable.name)
                .long(variable.name.to_lowercase().replace('_', "-"))
                .env(variable.name)
                .hide_env_values(true)
                .help(about)
        })
    };
    let no_migrate = || {
        Arg::new("no-migrate").long("no-migrate").action(ArgAction::SetTrue).help("Serve without migrating the schema")
    };
    let sub = |name: &'static str, about: &'static str| Command::new(name).about(about).args(flags());
    Command::new(env!("CARGO_PKG_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .args_conflicts_with_subcommands(true)
        .args(flags())
        .arg(no_migrate())
        .subcommand(sub("serve", "Migrate the schema, then serve (the default)").arg(no_migrate()))
        .subcommand(sub("migrate", "Migrate the schema to this version"))
        .subcommand(
            sub("create-admin", "Create an administrator; the password is read from standard input")
                .arg(Arg::new("email").long("email").required(true).help("The account's e-mail address"))
                .arg(Arg::new("name").long("name").required(true).help("The name of the account's owner")),
        )
        .subcommand(sub("seed-demo", "Create demo concerts and accounts; safe to repeat"))
        .subcommand(sub("audit", "Check every invariant; exit with 1 if one is broken"))
        .subcommand(
            sub("reconcile", "Compare top-ups with the payment provider's list; exit with 1 if they differ").arg(
                Arg::new("days")
                    .long("days")
                    .default_value("3")
                    .value_parser(clap::value_parser!(u16).range(1..=365))
                    .help("The number of days to look back"),
            ),
        )
        .subcommand(
            Command::new("verify-draw")
                .about("Verify a published draw; exit with 1 if anything is wrong with it")
                .arg(
                    Arg::new("draw")
                        .long("draw")
                        .required(true)
                        .help("File with the response of GET /concerts/{concertId}/queue/draw"),
                )
                .arg(
                    Arg::new("entrants")
                        .long("entrants")
                        .required(true)
                        .help("File with the response of GET /concerts/{concertId}/queue/draw/entrants"),
                )
                .arg(Arg::new("token").long("token").help("A queue token, to print its drawn place")),
        )
        .subcommand(Command::new("openapi").about("Print the OpenAPI document"))
}

/// Migrates the schema to this version as soon as the database is available.
async fn migrate(config: &Config) -> anyhow::Result<()> {
    let options = mysql::parse_url(&config.database_url)?;
    let unavailable = |error: &MigrateError| matches!(error, MigrateError::Database(error) if is_unavailable(error));
    retry_until_available(config, || mysql::migrate(&options), unavailable).await.context("migrating the schema")
}

async fn wait_for_database(config: &Config) -> anyhow::Result<()> {
    let options = mysql::parse_url(&config.database_url)?;
    let connect = || async { MySqlConnection::connect_with(&options).await?.close().await };
    retry_until_available(config, connect, is_unavailable).await.context("connecting to the database")
}

/// Refuses a schema that this version can't read, as soon as the database is available.
async fn require_current_schema(config: &Config) -> anyhow::Result<()> {
    wait_for_database(config).await?;
    Ok(mysql::require_current_schema(&mysql::parse_url(&config.database_url)?).await?)
}

/// Repeats `attempt` while the database is unavailable, for `DATABASE_CONNECT_SECONDS` at most.
async fn retry_until_available<E: std::fmt::Display, F: Future<Output = Result<(), E>>>(
    config: &Config,
    attempt: impl Fn() -> F,
    is_unavailable: impl Fn(&E) -> bool,
) -> Result<(), E> {
    let deadline = Instant::now() + config.database_connect_timeout;
    let mut is_logged = false;
    loop {
        match attempt().await {
            Err(error) if is_unavailable(&error) && Instant::now() < deadline => {
                if !is_logged {
                    tracing::info!(%error, "waiting for the database");
                    is_logged = true;
                }
                sleep(Duration::from_millis(250)).await;
            }
            result => return result,
        }
    }
}

/// Whether the error means that the database isn't available yet, in contrast to one that refuses the client.
fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => {
            let number = error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
            // 1040: too many connections. 1053: the server is shutting down.
            matches!(number, 1040 | 1053)
        }
        _ => false,
    }
}

async fn serve(config: &Config, with_migration: bool, alerts: Option<Alerts>) -> anyhow::Result<()> {
    let stopped = CancellationToken::new();
    let alerts = alerts.map(|alerts| spawn(alerts.run(system_clock(), stopped.clone())));
    let result = serve_until_stopped(config, with_migration).await;
    stopped.cancel();
    if let Some(alerts) = alerts {
        // A panic of the task has been logged.
        let _ = alerts.await;
    }
    result
}

async fn serve_until_stopped(config: &Config, with_migration: bool) -> anyhow::Result<()> {
    if with_migration {
        migrate(config).await?;
    } else {
        wait_for_database(config).await?;
    }
    let kept = config.database_connections().kept_statements();
    mysql::check_kept_statements(&mysql::parse_url(&config.database_url)?, kept).await?;
    let listener = listen(config.listen_addr).with_context(|| format!("listening on {}", config.listen_addr))?;
    let address = listener.local_addr()?;
    let operations = match config.operations_listen_addr {
        Some(address) => Some(listen(address).with_context(|| format!("listening on {address}"))?),
        None => None,
    };
    // Links need the bound address: the configured port may be 0.
    let app = build(&Config { listen_addr: address, ..config.clone() })?;
    let watch = shutdown::watch_signals(config.shutdown_delay(), app.stages());
    let signals = tokio_util::task::AbortOnDropHandle::new(spawn(watch));
    app.start_jobs().await;
    tracing::info!(%address, page = %format_args!("http://{address}/"), "serving");
    app.serve(listener, operations).await;
    drop(signals);
    tracing::info!("stopped");
    Ok(())
}

/// Listens with a backlog for thousands of simultaneous connections.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server can bind the port at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

#[expect(clippy::disallowed_methods, reason = "the watcher of signals and the alerts outlive every tracked task")]
fn spawn(future: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(future)
}

fn build(config: &Config) -> anyhow::Result<App> {
    App::build(config, mysql::parse_url(&config.database_url)?, system_clock())
}

async fn create_admin(config: &Config, matches: &ArgMatches) -> anyhow::Result<bool> {
    let argument = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let email = Email::new(argument("email")).context("--email")?;
    let name = Name::new(argument("name")).context("--name")?;
    let mut password = String::new();
    std::io::stdin().lock().read_line(&mut password).context("reading the password from standard input")?;
    let password = Password::new(password.trim_end_matches(['\r', '\n'])).context("the password")?;
    migrate(config).await?;
    let app = build(config)?;
    let result = app.shared.users.create_admin(email, password, name).await;
    app.close(Duration::from_secs(1)).await;
    match result {
        Ok(user) => {
            print(&format!("The administrator {} has the id {}.", user.email.as_str(), user.id))?;
            Ok(true)
        }
        Err(AppError::Refused(Refusal::EmailTaken)) => {
            print_error(&"An account with this e-mail address exists.");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn seed_demo(config: &Config) -> anyhow::Result<()> {
    anyhow::ensure!(config.demo, "seed-demo creates accounts whose password is published: it needs DEMO=true");
    migrate(config).await?;
    let app = build(config)?;
    let result = demo::seed(&app.shared).await;
    app.close(Duration::from_secs(1)).await;
    print(&result?)
}

async fn audit(config: &Config) -> anyhow::Result<bool> {
    require_current_schema(config).await?;
    let app = build(config)?;
    let report = app.shared.audit.check().await;
    app.close(Duration::from_secs(1)).await;
    let report = report?;
    for invariant in &report.invariants {
        let verdict = if invariant.violations == 0 { "ok" } else { "BROKEN" };
        print(&format!("{} {verdict:6} {:>6} violations  {}", invariant.number, invariant.violations, invariant.name))?;
    }
    Ok(report.is_ok())
}

async fn reconcile(config: &Config, matches: &ArgMatches) -> anyhow::Result<bool> {
    let days = matches.get_one::<u16>("days").copied().unwrap_or_default();
    require_current_schema(config).await?;
    let app = build(config)?;
    let result = app.shared.top_ups.reconcile(TimeDelta::days(days.into())).await;
    app.close(Duration::from_secs(1)).await;
    let Reconciliation { since, paid, differences } = match result {
        Err(AppError::ProviderUnavailable(error)) => return Err(anyhow::Error::new(error)),
        result => result?,
    };
    for Difference { kind, top_up_id, checkout_id, expected, paid } in &differences {
        let text = |amount: &Option<Points>| amount.map_or_else(|| "-".to_owned(), |amount| amount.to_string());
        let (checkout, expected, paid) = (checkout_id.as_deref().unwrap_or("-"), text(expected), text(paid));
        print(&format!("{:17} top-up {top_up_id} of {expected}, checkout {checkout} paid {paid}", kind.name()))?;
    }
    let found = differences.len();
    print(&format!(
        "{paid} paid checkouts since {}: {found} differences",
        since.to_rfc3339_opts(SecondsFormat::Secs, true)
    ))?;
    Ok(differences.is_empty())
}

/// Verifies a draw; needs no configuration, server or database.
fn verify_draw(matches: &ArgMatches) -> ExitCode {
    let token = matches.get_one::<String>("token").map(String::as_str);
    let read = |name: &str| {
        let path = matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
        std::fs::read_to_string(path).with_context(|| format!("reading {path}"))
    };
    let check = || Ok(verify_draw::verify(&read("draw")?, &read("entrants")?, token)?);
    match check().and_then(|verified: VerifiedDraw| print(&verified.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format!("FAILED  {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn print_document() -> ExitCode {
    match serde_json::to_string_pretty(&router::document(None)) {
        Ok(text) if print(&text).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("writing to standard output")
}

fn print_error(error: &dyn std::fmt::Display) {
    // There is no place for the message if standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "{error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn demo_accounts_are_created_only_with_demo_set() {
        let own_secret = |name: &str| (name == "TOKEN_SECRET").then(|| "a".repeat(32));
        let config = Config::from_lookup(own_secret).unwrap();
        let refused = seed_demo(&config).await.unwrap_err();
        assert!(refused.to_string().contains("DEMO=true"), "{refused}");
    }
}

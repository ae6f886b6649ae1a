//! The benchmark tool: measures the server. It compares each rate with a limit of the database or of a bare HTTP
//! handler, measured in the same minute. `scripts/bench` builds and runs it; `docs/benchmarks/README.md` explains its
//! reports.

mod bench;
mod client;
mod fixture;
mod kills;
mod large_queue;
mod limits;
mod load;
mod locks;
mod page;
mod plot;
mod redis_store;
mod report;
mod scenarios;
mod server;
mod statistics;
#[path = "../common/thousands.rs"]
mod thousands;
mod workloads;
mod year;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::{runtime::Builder, task::LocalSet, time::timeout};

use crate::{
    bench::{Bench, Scale},
    client::Addresses,
    page::Environment,
    report::{FIGURE_HEAD, LOAD_HEAD, print_line, row},
    scenarios::Scenario,
};

/// The bare handler must use the server's allocator, or its limit isn't comparable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    // Helper servers use a multi-threaded runtime, like the server.
    let multi_threaded = || Builder::new_multi_thread().enable_all().build();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["bare", address, file] => return multi_threaded()?.block_on(limits::serve_bare(address, file)),
        ["locks", address, strategy, database, redis, time_to_live, work] => {
            let rest = [redis, time_to_live, work];
            return multi_threaded()?.block_on(locks::server::serve(address, strategy, database, rest));
        }
        ["redis-server", address, redis] => {
            return multi_threaded()?.block_on(redis_store::queue_server::serve(address, redis));
        }
        ["bars", x_label] => {
            print_line(&plot::bars_of_table(x_label, &std::io::read_to_string(std::io::stdin())?)?);
            return Ok(());
        }
        _ => {}
    }
    let matches = command().get_matches();
    // One client thread is enough, and leaves the cores to the servers.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(&matches))
}

fn command() -> Command {
    let names = Scenario::ALL.map(|(_, name, about)| format!("  {name:11} {about}")).join("\n");
    Command::new("bench")
        .about("Measures the server in all scenarios, or in the named ones")
        .after_help(format!("Scenarios:\n{names}"))
        .arg(Arg::new("scenario").action(ArgAction::Append).help("Scenarios to run, in this order"))
        .arg(Arg::new("quick").long("quick").action(ArgAction::SetTrue).help("Run one short round of each"))
        .arg(
            Arg::new("urls")
                .long("urls")
                .help("Measure these running servers, comma-separated, instead of starting any"),
        )
        .arg(
            Arg::new("out")
                .long("out")
                .help("Folder for the report [default: docs/benchmarks, for a full run of all scenarios]"),
        )
        .arg(Arg::new("server-log").long("server-log").help("File for the log of started servers [default: discarded]"))
}

async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let named: Vec<_> = matches.get_many::<String>("scenario").into_iter().flatten().collect();
    let find = |name: &&String| Scenario::from_name(name).with_context(|| format!("there is no scenario {name}"));
    let scenarios: Vec<_> = if named.is_empty() {
        Scenario::ALL.into_iter().map(|(scenario, ..)| scenario).filter(|it| !it.is_for_itself()).collect()
    } else {
        named.iter().map(find).collect::<Result<_, _>>()?
    };
    let external = matches.get_one::<String>("urls").map(|urls| -> Addresses {
        urls.split(',').map(|url| url.trim_start_matches("http://").trim_end_matches('/').to_owned()).collect()
    });
    let log = matches.get_one::<String>("server-log").map(PathBuf::from);
    let scale = Scale::new(matches.get_flag("quick"));
    // Only a full run may replace the published reports.
    let is_full_run = named.is_empty() && !scale.quick;
    let folder = matches.get_one::<String>("out").map(String::as_str).or(is_full_run.then_some("docs/benchmarks"));
    let mut bench = Bench::new(scale, external, log).await?;
    let now = bench.fixture.app.ports.now().format("%Y-%m-%d %H:%M UTC").to_string();
    let environment = Environment::read(&bench.fixture.pool, scale, &now).await?;
    environment.text_lines().for_each(|line| print_line(&line));
    for head in [&FIGURE_HEAD[..], &LOAD_HEAD] {
        print_line(&row(&head.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()));
    }
    for scenario in scenarios {
        let (name, started) = (scenario.name(), Instant::now());
        match timeout(scenario.longest(), scenario.run(&mut bench)).await {
            Ok(Ok(())) => print_line(&format!("{name} took {:.0} s", started.elapsed().as_secs_f64())),
            Ok(Err(error)) => bench.report.add_failure(format!("{name}: {error:#}")),
            Err(_) => bench.report.add_failure(format!("{name} was stopped after {} s", scenario.longest().as_secs())),
        }
    }
    bench.report.finish();
    if let Some(folder) = folder {
        page::write(Path::new(folder), &environment, &bench.report)?;
    }
    let failures = bench.report.failures.len();
    bench.close().await?;
    ensure!(failures == 0, "{failures} failed");
    Ok(())
}

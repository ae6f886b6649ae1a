//! The benchmark: how fast the server is, beside what the database and a server that does nothing can do in the same
//! minute. `scripts/bench` builds and runs it; `docs/benchmarks/README.md` says how to read what it writes.

mod bench;
mod client;
mod crowd;
mod fixture;
mod limits;
mod load;
mod locks;
mod page;
mod plot;
mod report;
mod scenarios;
mod server;
mod statistics;
mod works;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::{runtime::Builder, task::LocalSet, time::timeout};

use crate::{
    bench::{Bench, Scale},
    client::Addresses,
    page::Setting,
    report::{FINDING_HEAD, LINE_HEAD, row, say},
    scenarios::Scenario,
};

/// What is set beside the server has the allocator that the server has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a scenario may take: one that hangs fails, and the others go on.
const LONGEST: Duration = Duration::from_mins(6);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    // What this tool starts of itself runs as the server does.
    let threads = || Builder::new_multi_thread().enable_all().build();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["bare", address, file] => return threads()?.block_on(limits::serve_bare(address, file)),
        ["locks", address, strategy, database] => {
            return threads()?.block_on(locks::server::serve(address, strategy, database));
        }
        _ => {}
    }
    let matches = command().get_matches();
    // One thread is enough for the client, and leaves the cores to what is measured.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(&matches))
}

fn command() -> Command {
    let names = Scenario::ALL.map(|(_, name, about)| format!("  {name:10} {about}")).join("\n");
    Command::new("bench")
        .about("Measures the server; all scenarios, or those that are named")
        .after_help(format!("Scenarios:\n{names}"))
        .arg(Arg::new("scenario").action(ArgAction::Append).help("Which ones, in this order"))
        .arg(Arg::new("quick").long("quick").action(ArgAction::SetTrue).help("One short round of each"))
        .arg(Arg::new("urls").long("urls").help("Servers that run already, with commas, instead of own ones"))
        .arg(
            Arg::new("out")
                .long("out")
                .help("The folder for the report [default: docs/benchmarks, if all of it is measured]"),
        )
        .arg(Arg::new("server-log").long("server-log").help("A file for what own servers say; else nobody hears it"))
}

async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let named: Vec<_> = matches.get_many::<String>("scenario").into_iter().flatten().collect();
    let find = |name: &&String| Scenario::from_name(name).with_context(|| format!("there is no scenario {name}"));
    let scenarios: Vec<_> = if named.is_empty() {
        Scenario::ALL.map(|(scenario, ..)| scenario).to_vec()
    } else {
        named.iter().map(find).collect::<Result<_, _>>()?
    };
    let given = matches.get_one::<String>("urls").map(|urls| -> Addresses {
        urls.split(',').map(|url| url.trim_start_matches("http://").trim_end_matches('/').to_owned()).collect()
    });
    let log = matches.get_one::<String>("server-log").map(PathBuf::from);
    let scale = Scale::new(matches.get_flag("quick"));
    // The page of all scenarios is the project's; any other goes where it is wanted.
    let is_whole = named.is_empty() && !scale.quick;
    let folder = matches.get_one::<String>("out").map(String::as_str).or(is_whole.then_some("docs/benchmarks"));
    let mut bench = Bench::new(scale, given, log).await?;
    let now = bench.fixture.app.ports.now().format("%Y-%m-%d %H:%M UTC").to_string();
    let setting = Setting::read(&bench.fixture.pool, scale, &now).await?;
    setting.lines().for_each(|line| say(&line));
    for head in [&FINDING_HEAD[..], &LINE_HEAD] {
        say(&row(&head.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()));
    }
    for scenario in scenarios {
        let (name, begun) = (scenario.name(), Instant::now());
        match timeout(LONGEST, scenario.run(&mut bench)).await {
            Ok(Ok(())) => say(&format!("{name} took {:.0} s", begun.elapsed().as_secs_f64())),
            Ok(Err(error)) => bench.report.fail(format!("{name}: {error:#}")),
            Err(_) => bench.report.fail(format!("{name} was stopped after {} s", LONGEST.as_secs())),
        }
    }
    bench.report.finish();
    if let Some(folder) = folder {
        page::write(Path::new(folder), &setting, &bench.report)?;
    }
    let failures = bench.report.failures.len();
    bench.close().await?;
    ensure!(failures == 0, "{failures} failed");
    Ok(())
}

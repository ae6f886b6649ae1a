//! The benchmark: how fast the server is, beside what the database and a server that does nothing can do in the same
//! minute. `scripts/bench` builds and runs it; `docs/benchmarks/README.md` says how to read what it writes.

mod bench;
mod client;
mod fixture;
mod limits;
mod load;
mod report;
mod scenarios;
mod server;
mod statistics;
mod works;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::{runtime::Builder, task::LocalSet};

use crate::{
    bench::{Bench, Scale},
    client::Addresses,
    report::say,
    scenarios::Scenario,
};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [command, address, file] = arguments.as_slice()
        && command == "bare"
    {
        // As the server runs.
        return Builder::new_multi_thread().enable_all().build()?.block_on(limits::serve_bare(address, file));
    }
    let matches = command().get_matches();
    // One thread is enough for the client, and leaves the cores to what is measured.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(&matches))
}

fn command() -> Command {
    let names = Scenario::ALL.map(|it| format!("  {:10} {}", it.name(), it.about())).join("\n");
    Command::new("bench")
        .about("Measures the server; all scenarios, or those that are named")
        .after_help(format!("Scenarios:\n{names}"))
        .arg(Arg::new("scenario").action(ArgAction::Append).help("Which ones, in this order"))
        .arg(Arg::new("quick").long("quick").action(ArgAction::SetTrue).help("One short round of each"))
        .arg(Arg::new("urls").long("urls").help("Servers that run already, with commas, instead of own ones"))
        .arg(Arg::new("server-log").long("server-log").help("A file for what own servers say; else nobody hears it"))
}

async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let named: Vec<_> = matches.get_many::<String>("scenario").into_iter().flatten().collect();
    let find = |name: &&String| {
        Scenario::ALL.into_iter().find(|it| it.name() == *name).with_context(|| format!("there is no scenario {name}"))
    };
    let scenarios =
        if named.is_empty() { Scenario::ALL.to_vec() } else { named.iter().map(find).collect::<Result<_, _>>()? };
    let given = matches.get_one::<String>("urls").map(|urls| -> Addresses {
        urls.split(',').map(|url| url.trim_start_matches("http://").trim_end_matches('/').to_owned()).collect()
    });
    let log = matches.get_one::<String>("server-log").map(PathBuf::from);
    let mut bench = Bench::new(Scale::new(matches.get_flag("quick")), given, log).await?;
    bench.report.say_heads();
    let mut failed = Vec::new();
    for scenario in scenarios {
        if let Err(error) = scenario.run(&mut bench).await {
            say(&format!("{} failed: {error:#}", scenario.name()));
            failed.push(scenario.name());
            bench.stop_servers();
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

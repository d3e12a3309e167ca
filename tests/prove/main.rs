//! `./prove`: the long reliability runs. Each tries to break a promise many times over, from a seed.

mod bus;
mod contention;
mod histories;
mod hung_server;
mod kills;
mod lost_http_replies;
mod lost_replies;
mod report;
mod restored_store;
mod rolling_migration;
mod runs;
mod seeded_bugs;
mod server_kills;
mod views;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use eventsrc_core::clock::{Clock, SystemClock};

use report::{Row, print_head};
use runs::{RUNS, Trial};

/// Runs the long reliability runs, prints a table, and writes it to target/reliability.json.
///
/// A run that is not met prints what it found and the command that repeats it. The seed fixes what is tried and which
/// faults are injected; how tasks and processes interleave is up to the machine, so a repeat may take a few tries.
#[derive(Debug, Parser)]
#[command(name = "prove")]
struct Options {
    /// Shorter runs, under a minute in all.
    #[arg(long)]
    quick: bool,
    /// The seed of all runs; another one every time if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Only the run of this name.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(RUNS.iter().map(|run| run.name)))]
    only: Option<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let seed =
        options.seed.unwrap_or_else(|| SystemClock.now().as_microsecond().unsigned_abs() % 1_000_000_000);
    let wanted = |name| options.only.as_deref().is_none_or(|only| only == name);

    print_head();
    let mut rows = Vec::new();
    for run in RUNS.iter().filter(|run| wanted(run.name)) {
        let attempts = if options.quick { run.quick } else { run.full };
        let began = SystemClock.now();
        // A run that panics is a failed run.
        let found =
            tokio::spawn((run.run)(Trial { attempts, seed })).await.unwrap_or_else(|panic| Err(panic.into()));
        let seconds = SystemClock.now().duration_since(began).as_secs_f64();
        let row = Row::new(run, attempts, seed, found);
        row.print(seconds);
        if !row.met {
            let quick = if options.quick { " --quick" } else { "" };
            row.print_failure(&format!("./prove --only {} --seed {seed}{quick}", run.name));
        }
        rows.push(row);
    }
    std::fs::create_dir_all("target").context("cannot make the folder target")?;
    let json = serde_json::to_string_pretty(&rows)?;
    std::fs::write("target/reliability.json", json + "\n").context("cannot write target/reliability.json")?;
    let all_met = rows.iter().all(|row| row.met);
    Ok(if all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

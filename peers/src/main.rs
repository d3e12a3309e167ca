//! Benchmarks of eventsrc and other event-sourcing libraries on Postgres, with the same work, server and durability; and
//! the cost of the same work on DynamoDB. See `BENCHMARKS.md`.

mod contestants;
mod database;
mod dynamo;
mod measure;
mod peer;
mod table;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use contestants::ALL;
use database::Server;
use peer::{CONNECTIONS, Contestant};
use table::{Report, Row};
use work::{Counts, Measured, Work};

/// Runs each library through each piece of work on a separate Postgres server, and prints a table.
#[derive(Parser)]
#[command(name = "bench --peers")]
struct Arguments {
    /// Share of the full counts (20,000 commands, 1,000 loads, 100,000 projected events) to run.
    #[arg(long, default_value_t = 0.02)]
    scale: f64,
    /// Number of repeats. In each repeat, each piece of work runs the libraries in random order.
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// Seed of the random order.
    #[arg(long, default_value_t = 20)]
    seed: u64,
    /// Run only this library (can be repeated).
    #[arg(long, value_name = "NAME", value_parser = ALL.iter().map(|it| it.name).collect::<Vec<_>>())]
    only: Vec<String>,
    /// Run only this piece of work (can be repeated).
    #[arg(long, value_name = "NAME", value_parser = ["commands", "loads", "projection"])]
    work: Vec<String>,
    /// Also write the results to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// List the libraries.
    #[arg(long)]
    list: bool,
    /// Count the cost of commands and loads on DynamoDB instead, which is the same in each run.
    #[arg(long, conflicts_with_all = ["scale", "repeats", "seed", "only", "work", "json", "list"])]
    dynamo: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.dynamo {
        dynamo::run().await?;
        return Ok(true);
    }
    ensure!(arguments.scale > 0.0 && arguments.scale <= 1.0, "--scale must be above 0 and at most 1");
    let is_selected =
        |it: &&Contestant| arguments.only.is_empty() || arguments.only.iter().any(|name| name == it.name);
    let contestants: Vec<_> = ALL.iter().filter(is_selected).collect();
    if arguments.list {
        for contestant in contestants {
            println!("{:24} {:8} {}", contestant.name, version(contestant.package), contestant.about);
        }
        return Ok(true);
    }

    let counts = Counts::scaled(arguments.scale);
    let server = Server::start().await?;
    let mut conditions = measure::machine();
    conditions.push(format!("Postgres, the same for all: {}", server.settings().await?));
    conditions.push(format!(
        "over TCP on the same machine, with up to {CONNECTIONS} connections each, ours with its default of 10; \
         no snapshots"
    ));
    conditions.push(format!(
        "scale {}: {} commands, {} loads, {} projected events; {} repeats",
        arguments.scale, counts.commands, counts.loads, counts.projected, arguments.repeats
    ));
    conditions
        .extend(contestants.iter().map(|it| format!("{} {}: {}", it.name, version(it.package), it.about)));
    let before = (measure::syncs(&server.folder())?, measure::load());

    let mut results: BTreeMap<(usize, usize), Vec<Measured>> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut order = StdRng::seed_from_u64(arguments.seed);
    for repeat in 1..=arguments.repeats {
        for (index, work) in work::ALL.into_iter().enumerate() {
            if !arguments.work.is_empty() && !arguments.work.iter().any(|name| name == work.name()) {
                continue;
            }
            let mut turns: Vec<_> =
                contestants.iter().enumerate().filter(|(_, it)| (it.takes_part)(work)).collect();
            turns.shuffle(&mut order);
            for (peer, contestant) in turns {
                match measured(&server, work, contestant, counts).await {
                    Ok(measured) => {
                        let (value, unit) = (measured.value, work.unit());
                        eprintln!("{repeat}: {}: {}: {value:.1} {unit}", work.title(), contestant.name);
                        results.entry((index, peer)).or_default().push(measured);
                    }
                    Err(error) => {
                        let failure =
                            format!("{}, {} (repeat {repeat}): {error:#}", contestant.name, work.title());
                        eprintln!("bench: {failure}");
                        failures.push(failure);
                    }
                }
            }
        }
    }
    let after = (measure::syncs(&server.folder())?, measure::load());
    conditions.push(format!(
        "fsync: {:.0} synced appends of 256 bytes a second before the run, {:.0} after it",
        before.0, after.0
    ));
    conditions.push(format!("load average: {} before the run, {} after it", before.1, after.1));

    let ours = contestants.iter().position(|it| is_ours(it));
    let rows = results
        .iter()
        .map(|(&(index, peer), measured)| {
            let theirs = !is_ours(contestants[peer]);
            let ours = ours.filter(|_| theirs).and_then(|ours| results.get(&(index, ours)));
            let in_pairs = ours.filter(|ours| ours.len() == measured.len());
            Row::new(work::ALL[index], contestants[peer].name, measured.clone(), in_pairs.map(Vec::as_slice))
        })
        .collect();
    let Arguments { scale, repeats, .. } = *arguments;
    let report = Report { conditions, scale, repeats, counts, rows, failures };
    println!("{}", report.markdown());
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(report.failures.is_empty())
}

async fn measured(server: &Server, work: Work, contestant: &Contestant, counts: Counts) -> Result<Measured> {
    let mut database = server.database().await?;
    let measured = work.run(contestant, &mut database, counts).await;
    server.remove(database).await?;
    measured
}

fn is_ours(contestant: &Contestant) -> bool {
    contestant.package == "eventsrc-postgres"
}

/// Returns the version in the lock file.
fn version(package: &str) -> &'static str {
    const LOCK: &str = include_str!("../Cargo.lock");
    let line = format!("name = \"{package}\"\nversion = \"");
    LOCK.split_once(&line).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("of an unknown version")
}

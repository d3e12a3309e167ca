//! The benchmarks of eventsrc, each compared with raw calls that do the same work. See `BENCHMARKS.md`.

mod account;
mod bare;
mod measure;
mod table;

mod append;
mod decode;
mod directory;
mod dynamo;
mod fold;
mod import;
mod kinesis;
mod load;
mod postgres;
mod read_back;
mod writers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use measure::machine;
use table::Row;

/// A benchmark. Each benchmark's file has a constant of this type.
struct Benchmark {
    name: &'static str,
    about: &'static str,
    /// Runs the benchmark; it writes its files to `directory`.
    run: fn(directory: &Path) -> Result<Vec<Row>>,
    /// Runs a child process of the benchmark, whose instructions or memory are measured.
    child: fn(arguments: &[&str]) -> Result<()>,
}

/// All benchmarks, in the order of the table.
const ALL: &[Benchmark] = &[
    fold::BENCHMARK,
    decode::BENCHMARK,
    read_back::BENCHMARK,
    append::BENCHMARK,
    writers::BENCHMARK,
    directory::BENCHMARK,
    load::BENCHMARK,
    import::BENCHMARK,
    postgres::append::BENCHMARK,
    postgres::hot_stream::BENCHMARK,
    postgres::catch_up::BENCHMARK,
    postgres::rebuild::BENCHMARK,
    postgres::visible::BENCHMARK,
    dynamo::command::BENCHMARK,
    dynamo::load::BENCHMARK,
    dynamo::scan::BENCHMARK,
    kinesis::read::BENCHMARK,
    kinesis::delay::BENCHMARK,
    kinesis::leases::BENCHMARK,
    kinesis::path::BENCHMARK,
];

/// Runs all benchmarks in about twelve minutes. Prints a table and writes `target/bench.json`.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Run only this benchmark (can be repeated); `target/bench.json` is then not written.
    #[arg(long, value_name = "NAME", value_parser = ALL.iter().map(|it| it.name).collect::<Vec<_>>())]
    only: Vec<String>,
    /// List the benchmarks.
    #[arg(long)]
    list: bool,
    /// Also write the table to BENCHMARKS.md.
    #[arg(long, conflicts_with = "only")]
    write: bool,
    #[command(subcommand)]
    child: Option<Child>,
}

#[derive(Subcommand)]
enum Child {
    /// Run one side of a benchmark in a separate process.
    #[command(hide = true)]
    Child { benchmark: String, arguments: Vec<String> },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    if let Some(Child::Child { benchmark, arguments }) = arguments.child {
        let benchmark =
            ALL.iter().find(|it| it.name == benchmark).context("there is no benchmark of this name")?;
        return (benchmark.child)(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }
    if arguments.list {
        for benchmark in ALL {
            println!("{:15} {}", benchmark.name, benchmark.about);
        }
        return Ok(());
    }

    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target");
    let directory = target.join("bench");
    std::fs::create_dir_all(&directory)?;

    let machine = machine::describe(&directory)?;
    let load = machine::load();
    let mut rows = Vec::new();
    for benchmark in ALL {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|name| name == benchmark.name) {
            continue;
        }
        eprintln!("{}: {}", benchmark.name, benchmark.about);
        rows.extend((benchmark.run)(&directory).with_context(|| format!("benchmark {}", benchmark.name))?);
    }
    let load = format!("load average: {load} before the run, {} after it", machine::load());

    let machine: String = machine.iter().chain([&load]).map(|line| format!("- {line}\n")).collect();
    let run = format!("{machine}\n{}", table::markdown(&rows));
    println!("{run}");
    if arguments.only.is_empty() {
        std::fs::write(target.join("bench.json"), serde_json::to_string_pretty(&rows)?)?;
    }
    if arguments.write {
        table::write(&root.join("BENCHMARKS.md"), &run)?;
    }
    let missed: Vec<_> =
        rows.iter().filter(|row| row.met == Some(false)).map(|row| row.name.as_str()).collect();
    if !missed.is_empty() {
        bail!("these rows missed their bar: {}", missed.join("; "));
    }
    Ok(())
}

/// Child of benchmarks without child processes.
fn no_child(_: &[&str]) -> Result<()> {
    bail!("this benchmark has no child processes")
}

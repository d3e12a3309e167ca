#![doc = include_str!("../README.md")]

mod arguments;
mod stop;

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use aws_config::BehaviorVersion;
use clap::Parser;
use eventsrc_core::StreamName;
use eventsrc_core::codec::RawCodec;
use eventsrc_core::stream::ZonedSequence;
use eventsrc_dynamo::{ItemDecoder, aws_sdk_dynamodb};
use eventsrc_kinesis::dynamodb::{Bridge, DynamoStream, LeaseTable, aws_sdk_dynamodbstreams};
use eventsrc_kinesis::{ConsumerEnvironment, ConsumerSettings, KinesisStream, Publisher, aws_sdk_kinesis};

use arguments::Arguments;
use stop::StopSignals;

/// Runs the program with the arguments of the command line. An error goes to stderr with all of its causes, and the exit code
/// is 1.
pub async fn run() -> ExitCode {
    match run_bridge(Arguments::parse(), &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("  caused by: {cause}"));
            ExitCode::FAILURE
        }
    }
}

async fn run_bridge(arguments: Arguments, out: &mut (dyn Write + Send)) -> Result<()> {
    // The first step, so that no signal is missed.
    let mut stop = StopSignals::new().context("cannot listen for signals")?;
    log_to_stderr();
    let Arguments { table, stream, leases, payloads, create } = arguments;
    let lease_table = leases.unwrap_or_else(|| format!("{table}-bridge"));
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let kinesis = aws_sdk_kinesis::Client::new(&config);
    let leases = LeaseTable::new(aws_sdk_dynamodb::Client::new(&config), &lease_table);
    if let Some(shards) = create {
        leases.create_table().await?;
        KinesisStream::new(kinesis.clone(), &stream).create(shards).await?;
    }
    let source = DynamoStream::of_table(aws_sdk_dynamodbstreams::Client::new(&config), &table).await?;
    let codec = payloads.codec();
    let bridge = Bridge::start(
        source,
        leases,
        ItemDecoder::<StreamName, ZonedSequence, _, RawCodec>::with_codec(codec),
        Publisher::new(kinesis, &stream, codec),
        ConsumerSettings::default(),
        ConsumerEnvironment::default(),
    )
    .await?;
    let handle = bridge.handle();
    writeln!(
        out,
        "Copying commits from table {table} to stream {stream}. Leases: table {lease_table}. Worker: {}",
        handle.worker()
    )?;
    let mut ended = Box::pin(bridge.ended());
    tokio::select! {
        ended = &mut ended => return Ok(ended?),
        () = stop.next() => handle.drain(),
    }
    writeln!(out, "Draining in-flight records. Press Ctrl-C again to stop immediately.")?;
    tokio::select! {
        ended = ended => {
            ended?;
            writeln!(out, "Stopped.")?;
        }
        () = stop.next() => {
            writeln!(out, "Stopped immediately. The next instance reads again the records that were not copied.")?;
        }
    }
    Ok(())
}

/// Logs to stderr, with the levels of `RUST_LOG`. Default: warnings and errors.
fn log_to_stderr() {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::prelude::*;

    let requested = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse().ok());
    let levels = requested.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = lines.with_ansi(io::stderr().is_terminal());
    // A process that embeds this function may have a subscriber of its own, which stays in place.
    drop(tracing_subscriber::registry().with(lines.with_filter(levels)).try_init());
}

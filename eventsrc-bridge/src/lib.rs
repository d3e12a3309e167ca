//! The program `eventsrc-bridge`, which carries what eventsrc stores in a table of DynamoDB onto a stream of Kinesis: one, or as
//! many as you like, for the tables of any service.
//!
//! ```sh
//! cargo run -p eventsrc-bridge -- --table orders --stream orders   # with region, credentials and endpoints of the AWS SDK
//! ```
//!
//! It knows nothing of the service's types: payloads go through as they are stored, whatever their version. A service that wants it in
//! a process of its own uses [`Bridge`], which this is a command line for. Ctrl-C or SIGTERM ends it in good order, and what was
//! read but not put by then is read again by whoever comes next.

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
use stop::Stop;

/// Does what the command line says. What is wrong goes to stderr, cause by cause, and makes the exit code 1.
pub async fn run() -> ExitCode {
    match carry(Arguments::parse(), &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("  because: {cause}"));
            ExitCode::FAILURE
        }
    }
}

async fn carry(arguments: Arguments, out: &mut (dyn Write + Send)) -> Result<()> {
    // Before anything is done, so that no signal is missed.
    let mut stop = Stop::new().context("cannot wait for signals")?;
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
        "carrying what is stored in the table {table} onto the stream {stream}, with leases in {lease_table}, as worker {}",
        handle.worker()
    )?;
    let mut ended = Box::pin(bridge.ended());
    tokio::select! {
        ended = &mut ended => return Ok(ended?),
        () = stop.said() => handle.drain(),
    }
    writeln!(out, "stopping: what was read is put first, unless it is said again")?;
    tokio::select! {
        ended = ended => {
            ended?;
            writeln!(out, "stopped")?;
        }
        () = stop.said() => writeln!(out, "stopped at once")?,
    }
    Ok(())
}

/// Warnings and errors, unless `RUST_LOG` says otherwise.
fn log_to_stderr() {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::prelude::*;

    let asked = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse().ok());
    let levels = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = lines.with_ansi(io::stderr().is_terminal());
    // Whoever runs this in a process of their own may have said where logs go.
    drop(tracing_subscriber::registry().with(lines.with_filter(levels)).try_init());
}

//! The command line of `identity`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::storage::ScanStorage;
use eventsrc_core::synchronizer::{Environment, SynchronizerSettings};
use eventsrc_core::token::TokenCodec;
use eventsrc_postgres::Postgres;
use eventsrc_sqlite::Database;

use super::part::Part;
use super::print::Printer;
use super::scenario::run_scenario;
use super::serve::serve;
use super::service::Service;
use super::show::{Stream, Value, log, show};
use super::signing::{signed_with_key_file, signed_with_new_key};
use super::storages::{InMemory, InSqlite, Storages};
use super::views::{SyncedView, ViewQueries, in_memory, in_postgres, in_sqlite};

/// Users, groups and memberships on eventsrc. Without a command, runs a scenario and keeps its data.
#[derive(Debug, Parser)]
#[command(name = "identity")]
struct Arguments {
    /// Storage of the events
    #[arg(long, value_enum, default_value_t = Storage::Sqlite, global = true)]
    storage: Storage,
    /// SQLite file of the events, or only of the view if the events are in DynamoDB; created if it does not exist
    /// [default: target/identity.db, or target/identity-in-TABLE.db]
    #[arg(long, value_name = "FILE", global = true)]
    db: Option<PathBuf>,
    /// DynamoDB table of the events, created if it does not exist [default: identity]
    #[arg(long, value_name = "NAME", global = true)]
    table: Option<String>,
    /// Endpoint of DynamoDB; takes precedence over the configuration of the AWS SDK, which supplies all other settings
    #[arg(long, value_name = "URL", global = true)]
    endpoint: Option<String>,
    /// Postgres database of the view, instead of a file; it must not contain the view of other events
    #[arg(long, value_name = "URL")]
    views: Option<String>,
    /// Run the whole path on AWS, or one part of it: events in DynamoDB, over its stream and Kinesis to the view in
    /// Postgres. Endpoints come from the configuration of the AWS SDK
    #[arg(long, value_name = "PART", value_enum, num_args = 0..=1, default_missing_value = "all", conflicts_with_all = ["storage", "endpoint"])]
    aws: Option<Part>,
    /// Kinesis stream, created if it does not exist [default: identity]
    #[arg(long, value_name = "NAME", requires = "aws")]
    stream: Option<String>,
    /// Serve over HTTP at this address, or at 127.0.0.1:8080 if none is given; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = ADDRESS, value_parser = address)]
    serve: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Default address of the service.
const ADDRESS: &str = "127.0.0.1:8080";

/// Storage of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Storage {
    /// In a local file
    Sqlite,
    /// In memory, until the program ends
    Memory,
    /// In a DynamoDB table, if the program was built with `--features aws`
    Dynamo,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the folded value of a stream
    Show {
        #[command(subcommand)]
        value: Value,
    },
    /// Print the events of a stream
    Log {
        #[command(subcommand)]
        stream: Stream,
    },
}

/// Runs the program with `arguments`, of which the first is its name. Writes results to `out`. Writes an error with its
/// causes to `err`; the exit code is then 1.
pub async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> ExitCode {
    let reported = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => match execute(arguments, out).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) if is_broken_pipe(&error) => return ExitCode::SUCCESS,
            Err(error) => print_error(&error, err),
        },
        Err(error) if error.use_stderr() => write!(err, "{}", error.render()),
        Err(help) => {
            return write!(out, "{}", help.render()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
    };
    // If the error cannot be written, the exit code still reports it.
    drop(reported);
    ExitCode::FAILURE
}

async fn execute(arguments: Arguments, out: &mut (dyn Write + Send)) -> Result<()> {
    let Arguments { storage, db, table, endpoint, views, aws, serve, command, .. } = &arguments;
    if let Some(part) = *aws {
        ensure!(
            command.is_none(),
            "`show` and `log` cannot be used with --aws; use them with --storage dynamo"
        );
        return on_aws(part, arguments, out).await;
    }
    let only_reads = serve.is_none() && views.is_none();
    ensure!(command.is_none() || only_reads, "`show` and `log` take no --views and no --serve");
    let names_none = table.is_none() && endpoint.is_none();
    ensure!(*storage == Storage::Dynamo || names_none, "--table and --endpoint are for --storage dynamo");
    match storage {
        Storage::Memory => {
            ensure!(
                command.is_none(),
                "--storage memory keeps nothing between runs; there is nothing to print"
            );
            ensure!(db.is_none() && views.is_none(), "--storage memory cannot be used with --db or --views");
            writeln!(out, "identity: users, groups and memberships, in memory.")?;
            let tokens = || Ok(signed_with_new_key(&SystemClock, &Randomness::from_system()));
            run_or_serve(&InMemory::default(), in_memory(), tokens, serve.as_deref(), out).await
        }
        Storage::Sqlite => on_sqlite(arguments, out).await,
        Storage::Dynamo => on_dynamo(arguments, out).await,
    }
}

async fn on_sqlite(arguments: Arguments, out: &mut (dyn Write + Send)) -> Result<()> {
    let Arguments { db, views, serve, command, .. } = arguments;
    let db = db.unwrap_or_else(|| "target/identity.db".into());
    if let Some(command) = command {
        let missing = || {
            format!(
                "there is no database at {}; run the program without a command to create one",
                db.display()
            )
        };
        ensure!(db.exists(), missing());
        return print(&InSqlite::new(&open(&db).await?), command, out).await;
    }
    let database = open(&db).await?;
    let view_location = if views.is_some() { "; the view is in Postgres" } else { "" };
    writeln!(out, "identity: users, groups and memberships, in {}{view_location}.", db.display())?;
    let storages = InSqlite::new(&database);
    let tokens = || signed_with_key_file(&db, &SystemClock, &Randomness::from_system());
    match views {
        None => run_or_serve(&storages, in_sqlite(&database).await?, tokens, serve.as_deref(), out).await?,
        Some(url) => {
            let view = in_postgres(&Postgres::connect(&url).await?).await?;
            run_or_serve(&storages, view, tokens, serve.as_deref(), out).await?;
        }
    }
    if serve.is_none() { print_next_steps(out) } else { Ok(()) }
}

#[cfg(feature = "aws")]
async fn on_aws(part: Part, arguments: Arguments, out: &mut (dyn Write + Send)) -> Result<()> {
    let Arguments { db, table, stream, views, serve, .. } = arguments;
    let table = table.unwrap_or_else(|| "identity".into());
    let db = db.unwrap_or_else(|| default_db(&table));
    create_folder_of(&db)?;
    let stream = stream.unwrap_or_else(|| "identity".into());
    let address = match part {
        Part::Api => serve.or_else(|| Some(ADDRESS.into())),
        _ => serve,
    };
    super::aws::run_part(part, super::aws::Deployment { table, stream, views, db, address }, out).await
}

#[cfg(feature = "aws")]
async fn on_dynamo(arguments: Arguments, out: &mut (dyn Write + Send)) -> Result<()> {
    use eventsrc_core::EventStorage;

    use super::aws::{AwsConfig, InDynamo};
    use super::keys::DirectoryKey;

    let Arguments { db, table, endpoint, views, serve, command, .. } = arguments;
    let table = table.unwrap_or_else(|| "identity".into());
    let dynamo = AwsConfig::load().await?.tables(&table, endpoint.as_deref())?;
    let storages = InDynamo::new(&dynamo);
    if let Some(command) = command {
        dynamo.check_tables().await?;
        return print(&storages, command, out).await;
    }
    dynamo.create_tables().await?;
    let db = db.unwrap_or_else(|| default_db(&table));
    let view_location = if views.is_some() { "Postgres".into() } else { db.display().to_string() };
    writeln!(
        out,
        "identity: users, groups and memberships, in the DynamoDB table {table}; the view is in {view_location}."
    )?;
    create_folder_of(&db)?;
    let tokens = || signed_with_key_file(&db, &SystemClock, &Randomness::from_system());
    match views {
        None => {
            let database = open(&db).await?;
            let has_events = InSqlite::new(&database).directory.latest(&DirectoryKey).await?.is_some();
            ensure!(
                !has_events,
                "{} contains events of its own; choose another file with --db",
                db.display()
            );
            run_or_serve(&storages, in_sqlite(&database).await?, tokens, serve.as_deref(), out).await?;
        }
        Some(url) => {
            let view = in_postgres(&Postgres::connect(&url).await?).await?;
            run_or_serve(&storages, view, tokens, serve.as_deref(), out).await?;
        }
    }
    if serve.is_none() { print_next_steps(out) } else { Ok(()) }
}

/// Default file of the view of a DynamoDB table. The key file of the tokens is next to it.
#[cfg(feature = "aws")]
fn default_db(table: &str) -> PathBuf {
    format!("target/identity-in-{table}.db").into()
}

#[cfg(not(feature = "aws"))]
async fn on_aws(_: Part, _: Arguments, _: &mut (dyn Write + Send)) -> Result<()> {
    without_aws("--aws")
}

#[cfg(not(feature = "aws"))]
async fn on_dynamo(_: Arguments, _: &mut (dyn Write + Send)) -> Result<()> {
    without_aws("--storage dynamo")
}

#[cfg(not(feature = "aws"))]
fn without_aws(arguments: &str) -> Result<()> {
    anyhow::bail!(
        "this program was built without AWS; run: cargo run --example identity --features aws -- {arguments}"
    )
}

fn print_next_steps(out: &mut (dyn Write + Send)) -> Result<()> {
    writeln!(out, "Run it again to continue from here. To inspect the stored data, append `show user ada`,")?;
    writeln!(out, "`show group readers`, `log user ada` or `log directory`.")?;
    Ok(())
}

/// Parses a host, by name or number, and a port.
fn address(text: &str) -> Result<String, &'static str> {
    let is_complete = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok();
    let is_address = text.rsplit_once(':').is_some_and(is_complete);
    is_address.then(|| text.into()).ok_or("an address has a host and a port, such as 127.0.0.1:8080")
}

async fn open(path: &Path) -> Result<Database> {
    create_folder_of(path)?;
    Ok(Database::open(path).await?)
}

fn create_folder_of(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    Ok(())
}

async fn run_or_serve<S, V>(
    storages: &S,
    view: V,
    tokens: impl FnOnce() -> Result<TokenCodec>,
    address: Option<&str>,
    out: &mut (dyn Write + Send),
) -> Result<()>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: ViewQueries,
{
    let view = SyncedView::start(storages, view, SynchronizerSettings::default(), Environment::default());
    match address {
        Some(address) => serve(&view, tokens()?, address, out, async || view.synchronizer.stop().await).await,
        None => {
            let (clock, randomness) = (Arc::new(SystemClock), Arc::new(Randomness::from_system()));
            let result = run_scenario(storages, &view, clock, randomness, &mut Printer::new(out)).await;
            view.stop().await;
            result
        }
    }
}

async fn print<S: Storages>(storages: &S, command: Command, out: &mut (dyn Write + Send)) -> Result<()> {
    let service = Service::new(storages, Arc::new(SystemClock), Arc::new(Randomness::from_system()));
    let printer = &mut Printer::new(out);
    match command {
        Command::Show { value } => show(&service, &value, printer).await,
        Command::Log { stream } => log(storages, &service, &stream, printer).await,
    }
}

fn print_error(error: &anyhow::Error, err: &mut (dyn Write + Send)) -> io::Result<()> {
    writeln!(err, "error: {error}")?;
    error.chain().skip(1).try_for_each(|cause| writeln!(err, "  because: {cause}"))
}

/// True if the reader of the output, such as `head`, has closed the pipe.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

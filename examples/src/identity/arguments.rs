//! The command line.

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

use super::draw::Pen;
use super::scenario::play;
use super::serve::serve;
use super::service::Service;
use super::show::{Stream, Valued, log, show};
use super::signing::{signed_anew, signed_beside};
use super::storages::{InMemory, InSqlite, Storages};
use super::views::{Kept, Questions, in_memory, in_postgres, in_sqlite};

/// Users, groups and memberships on eventsrc. Without a command it plays a story and leaves its data behind.
#[derive(Debug, Parser)]
#[command(name = "identity")]
struct Arguments {
    /// Where the events are kept
    #[arg(long, value_enum, default_value_t = Storage::Sqlite, global = true)]
    storage: Storage,
    /// The file of SQLite, made if it is not there; beside events in DynamoDB, that of the view [default:
    /// target/identity.db, or target/identity-in-TABLE.db]
    #[arg(long, value_name = "FILE", global = true)]
    db: Option<PathBuf>,
    /// The table of events in DynamoDB, made if it is not there [default: identity]
    #[arg(long, value_name = "NAME", global = true)]
    table: Option<String>,
    /// Where DynamoDB is; it takes precedence over the configuration of the AWS SDK, which says all the rest
    #[arg(long, value_name = "URL", global = true)]
    endpoint: Option<String>,
    /// Keep the view in this Postgres database, and not in a file; that of no other events may be kept there
    #[arg(long, value_name = "URL")]
    views: Option<String>,
    /// Take the whole way: events in DynamoDB, over its stream and Kinesis to the view in Postgres; with endpoints from the
    /// configuration of the AWS SDK, and all of it in this process, or only one part
    #[arg(long, value_name = "PART", value_enum, num_args = 0..=1, default_missing_value = "all", conflicts_with_all = ["storage", "endpoint"])]
    aws: Option<Part>,
    /// The stream of Kinesis, made if it is not there [default: identity]
    #[arg(long, value_name = "NAME", requires = "aws")]
    stream: Option<String>,
    /// Serve it over HTTP, at this address or at 127.0.0.1:8080; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = ADDRESS, value_parser = address)]
    serve: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where it is served if nothing else is said.
const ADDRESS: &str = "127.0.0.1:8080";

/// What a process does on the way through AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// All of it: the story, or the service with --serve
    All,
    /// Commands to DynamoDB, and questions to the view, over HTTP
    Api,
    /// From DynamoDB to Kinesis
    Bridge,
    /// From Kinesis into the view
    Synchronizer,
}

/// Where the events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Storage {
    /// In a file of this machine
    Sqlite,
    /// In memory, until the program ends
    Memory,
    /// In a table of DynamoDB, if the program was built with `--features aws`
    Dynamo,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The value that a stream is folded into
    Show {
        #[command(subcommand)]
        what: Valued,
    },
    /// The events of a stream
    Log {
        #[command(subcommand)]
        what: Stream,
    },
}

/// Does what `arguments` say, of which the first is the program's name. The answer goes to `out`; what is wrong goes to
/// `err`, cause by cause, and makes the exit code 1.
pub async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> ExitCode {
    let told = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => match obey(arguments, out).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) if reader_is_gone(&error) => return ExitCode::SUCCESS,
            Err(error) => tell(&error, err),
        },
        Err(error) if error.use_stderr() => write!(err, "{}", error.render()),
        Err(help) => {
            return write!(out, "{}", help.render()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
    };
    // Where nobody listens to what is wrong, the exit code still says it.
    drop(told);
    ExitCode::FAILURE
}

async fn obey(arguments: Arguments, out: &mut (dyn Write + Send)) -> Result<()> {
    let Arguments { storage, db, table, endpoint, views, aws, serve, command, .. } = &arguments;
    if let Some(part) = *aws {
        ensure!(command.is_none(), "what is stored is looked at with --storage dynamo");
        return on_aws(part, arguments, out).await;
    }
    let only_looks = serve.is_none() && views.is_none();
    ensure!(command.is_none() || only_looks, "looking at what is stored takes no view and no server");
    let names_none = table.is_none() && endpoint.is_none();
    ensure!(*storage == Storage::Dynamo || names_none, "a table and an endpoint are for --storage dynamo");
    match storage {
        Storage::Memory => {
            ensure!(command.is_none(), "nothing is left in memory to look at");
            ensure!(db.is_none() && views.is_none(), "what is in memory cannot be used with a database");
            writeln!(out, "identity: users, groups and memberships, in memory.")?;
            let tokens = || Ok(signed_anew(&SystemClock, &Randomness::from_system()));
            tell_or_serve(&InMemory::default(), in_memory(), tokens, serve.as_deref(), out).await
        }
        Storage::Sqlite => on_sqlite(arguments, out).await,
        Storage::Dynamo => on_dynamo(arguments, out).await,
    }
}

async fn on_sqlite(arguments: Arguments, out: &mut (dyn Write + Send)) -> Result<()> {
    let Arguments { db, views, serve, command, .. } = arguments;
    let db = db.unwrap_or_else(|| "target/identity.db".into());
    if let Some(command) = command {
        let there_is_none =
            || format!("there is no database at {}; a run without a command makes one", db.display());
        ensure!(db.exists(), there_is_none());
        return look(&InSqlite::new(&open(&db).await?), command, out).await;
    }
    let database = open(&db).await?;
    let place = if views.is_some() { "; the view is in Postgres" } else { "" };
    writeln!(out, "identity: users, groups and memberships, in {}{place}.", db.display())?;
    let storages = InSqlite::new(&database);
    let tokens = || signed_beside(&db, &SystemClock, &Randomness::from_system());
    match views {
        None => tell_or_serve(&storages, in_sqlite(&database).await?, tokens, serve.as_deref(), out).await?,
        Some(url) => {
            let view = in_postgres(&Postgres::connect(&url).await?).await?;
            tell_or_serve(&storages, view, tokens, serve.as_deref(), out).await?;
        }
    }
    if serve.is_none() { tell_more(out) } else { Ok(()) }
}

#[cfg(feature = "aws")]
async fn on_aws(part: Part, arguments: Arguments, out: &mut (dyn Write + Send)) -> Result<()> {
    let Arguments { db, table, stream, views, serve, .. } = arguments;
    let table = table.unwrap_or_else(|| "identity".into());
    let secret = db.unwrap_or_else(|| beside(&table));
    make_folder_of(&secret)?;
    let stream = stream.unwrap_or_else(|| "identity".into());
    let address = match part {
        Part::Api => serve.or_else(|| Some(ADDRESS.into())),
        _ => serve,
    };
    super::aws::travel(part, super::aws::Way { table, stream, views, secret, address }, out).await
}

#[cfg(feature = "aws")]
async fn on_dynamo(arguments: Arguments, out: &mut (dyn Write + Send)) -> Result<()> {
    use eventsrc_core::EventStorage;

    use super::aws::{Aws, InDynamo};
    use super::keys::DirectoryKey;

    let Arguments { db, table, endpoint, views, serve, command, .. } = arguments;
    let table = table.unwrap_or_else(|| "identity".into());
    let dynamo = Aws::configured().await?.tables(&table, endpoint.as_deref())?;
    let storages = InDynamo::new(&dynamo);
    if let Some(command) = command {
        dynamo.check_tables().await?;
        return look(&storages, command, out).await;
    }
    dynamo.create_tables().await?;
    let db = db.unwrap_or_else(|| beside(&table));
    let place = if views.is_some() { "Postgres".into() } else { db.display().to_string() };
    writeln!(
        out,
        "identity: users, groups and memberships, in the table {table} of DynamoDB; the view is in {place}."
    )?;
    make_folder_of(&db)?;
    let tokens = || signed_beside(&db, &SystemClock, &Randomness::from_system());
    match views {
        None => {
            let database = open(&db).await?;
            let has_events = InSqlite::new(&database).directory.latest(&DirectoryKey).await?.is_some();
            ensure!(!has_events, "{} holds events of its own, and the view of them", db.display());
            tell_or_serve(&storages, in_sqlite(&database).await?, tokens, serve.as_deref(), out).await?;
        }
        Some(url) => {
            let view = in_postgres(&Postgres::connect(&url).await?).await?;
            tell_or_serve(&storages, view, tokens, serve.as_deref(), out).await?;
        }
    }
    if serve.is_none() { tell_more(out) } else { Ok(()) }
}

/// Where the view of a table is, or what belongs to it.
#[cfg(feature = "aws")]
fn beside(table: &str) -> PathBuf {
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
fn without_aws(what: &str) -> Result<()> {
    anyhow::bail!(
        "this program was built without AWS; with it: cargo run --example identity --features aws -- {what}"
    )
}

fn tell_more(out: &mut (dyn Write + Send)) -> Result<()> {
    writeln!(out, "Run it again to go on from here, or look at what is stored: `show user ada`,")?;
    writeln!(out, "`show group readers`, `log user ada`, `log directory`.")?;
    Ok(())
}

/// A host, by name or number, and a port.
fn address(text: &str) -> Result<String, &'static str> {
    let is_whole = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok();
    let is_address = text.rsplit_once(':').is_some_and(is_whole);
    is_address.then(|| text.into()).ok_or("an address has a host and a port, such as 127.0.0.1:8080")
}

async fn open(path: &Path) -> Result<Database> {
    make_folder_of(path)?;
    Ok(Database::open(path).await?)
}

fn make_folder_of(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(())
}

async fn tell_or_serve<S, V>(
    storages: &S,
    view: V,
    tokens: impl FnOnce() -> Result<TokenCodec>,
    address: Option<&str>,
    out: &mut (dyn Write + Send),
) -> Result<()>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: Questions,
{
    let kept = Kept::start(storages, view, SynchronizerSettings::default(), Environment::default());
    match address {
        Some(address) => serve(&kept, tokens()?, address, out, async || kept.synchronizer.stop().await).await,
        None => {
            let (clock, randomness) = (Arc::new(SystemClock), Arc::new(Randomness::from_system()));
            let told = play(storages, &kept, clock, randomness, &mut Pen::new(out)).await;
            kept.stop().await;
            told
        }
    }
}

async fn look<S: Storages>(storages: &S, command: Command, out: &mut (dyn Write + Send)) -> Result<()> {
    let service = Service::new(storages, Arc::new(SystemClock), Arc::new(Randomness::from_system()));
    let pen = &mut Pen::new(out);
    match command {
        Command::Show { what } => show(&service, &what, pen).await,
        Command::Log { what } => log(storages, &service, &what, pen).await,
    }
}

fn tell(error: &anyhow::Error, err: &mut (dyn Write + Send)) -> io::Result<()> {
    writeln!(err, "error: {error}")?;
    error.chain().skip(1).try_for_each(|cause| writeln!(err, "  because: {cause}"))
}

/// Whether nobody reads the output to its end, as with `| head`.
fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

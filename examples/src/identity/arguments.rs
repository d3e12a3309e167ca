//! The command line.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use eventsrc_core::{Randomness, SystemClock};
use eventsrc_sqlite::Database;

use super::draw::Pen;
use super::scenario::play;
use super::service::Service;
use super::show::{Stream, Valued, log, show};
use super::storages::{InMemory, InSqlite, Storages};

/// Users, groups and memberships on eventsrc. Without a command it plays a story and leaves its data behind.
#[derive(Debug, Parser)]
#[command(name = "identity")]
struct Arguments {
    /// The database; the story makes it if it is not there
    #[arg(long, value_name = "FILE", default_value = "target/identity.db", global = true)]
    db: PathBuf,
    /// Keep everything in memory, and nothing when the story is over
    #[arg(long, conflicts_with = "db")]
    memory: bool,
    #[command(subcommand)]
    command: Option<Command>,
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
    let Arguments { db, memory, command } = arguments;
    match command {
        None if memory => {
            writeln!(out, "identity: users, groups and memberships, in memory.")?;
            story(&InMemory::default(), out).await
        }
        None => {
            let (database, shown) = (open(&db).await?, db.display());
            writeln!(out, "identity: users, groups and memberships, in {shown}.")?;
            story(&InSqlite::new(&database), out).await?;
            writeln!(out, "Run it again to go on from here, or look at what is stored: `show user ada`,")?;
            writeln!(out, "`show group readers`, `log user ada`, `log directory`.")?;
            Ok(())
        }
        Some(command) => {
            ensure!(!memory, "nothing is left in memory to look at");
            ensure!(
                db.exists(),
                "there is no database at {}; a run without a command makes one",
                db.display()
            );
            look(&InSqlite::new(&open(&db).await?), command, out).await
        }
    }
}

async fn open(path: &Path) -> Result<Database> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(Database::open(path).await?)
}

async fn story<S: Storages>(storages: &S, out: &mut (dyn Write + Send)) -> Result<()> {
    play(storages, Arc::new(SystemClock), Arc::new(Randomness::from_system()), &mut Pen::new(out)).await
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

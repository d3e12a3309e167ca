//! The command line of `git-history`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use eventsrc_core::{Clock, Query, SystemClock, Timestamp};
use futures::{TryStreamExt, poll};
use indicatif::HumanCount;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::archive::{Archive, Marker};
use super::event::Point;
use super::git::Repository;
use super::import::{Imported, import};
use super::path::FilePath;
use super::progress::Display;

/// Imports the history of a git repository as events, and shows its files at any point of it.
///
/// Every command imports first what is new since the last one. An import that is interrupted, or killed, goes on from
/// where it was.
#[derive(Debug, Parser)]
#[command(name = "git-history")]
struct Arguments {
    /// The top of a work tree, or a bare repository.
    #[arg(value_name = "REPO")]
    repository: PathBuf,
    /// The database [default: one for each repository, in target/git-history].
    #[arg(long, value_name = "FILE", global = true)]
    db: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Import what is new, and no more.
    Import,
    /// Print the files as `git ls-tree -r` does.
    Tree {
        /// A commit, in any way that git understands, or a time: `2024-02-29T12:00:00Z`, or in UTC `2024-02-29 12:00`
        /// or `2024-02-29`. A time means the last commit, in the order of the history, not made later
        /// [default: the head].
        #[arg(value_name = "COMMIT | TIME")]
        point: Option<OsString>,
    },
    /// Print every change of one file, oldest first.
    Log {
        /// The path from the top of the repository, as it is or as git prints it.
        file: OsString,
    },
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("git-history: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { repository: path, db, command } = arguments;
    let repository = Repository::open(&path).await?;
    let db = match db {
        Some(db) => db,
        None => default_db(&path)?,
    };
    let archive = Archive::open(&db).await.with_context(|| format!("cannot use {}", db.display()))?;
    let mut interrupt = pin!(interrupted());
    // From here on Ctrl-C is heard, and does not end the process where it stands.
    let _ = poll!(&mut interrupt);
    let marker = bring_up_to_date(&repository, &archive, &db, &mut interrupt).await?;
    tokio::select! {
        () = interrupt => bail!("interrupted"),
        result = answer(&repository, &archive, marker.as_ref(), command.as_ref(), &db) => result,
    }
}

/// Imports what is new, and gives the last commit.
async fn bring_up_to_date(
    repository: &Repository,
    archive: &Archive,
    db: &Path,
    interrupt: impl Future<Output = ()>,
) -> Result<Option<Marker>> {
    let mut display = Display::new();
    let began = SystemClock.now();
    let imported = import(repository, archive, |progress| display.show(progress), interrupt).await;
    display.finish();
    let Imported { marker, commits, changes, repeated, left } = imported?;
    if commits > 0 {
        let seconds = SystemClock.now().duration_since(began).as_secs_f64();
        let (commits, changes) = (HumanCount(commits), HumanCount(changes));
        eprintln!(
            "imported {commits} commits with {changes} changes in {seconds:.1} s, into {}",
            db.display()
        );
    }
    if repeated > 0 {
        eprintln!("{} of the changes had been saved by an import before", HumanCount(repeated));
    }
    if left > 0 {
        let done = match marker {
            Some(Marker { ordinal, commit }) => {
                format!("{} commits are imported, up to {}", HumanCount(ordinal), commit.commit)
            }
            None => "no commit is imported whole yet".into(),
        };
        bail!("interrupted: {done}; {} are left: run it again to go on from there", HumanCount(left));
    }
    Ok(marker)
}

async fn answer(
    repository: &Repository,
    archive: &Archive,
    head: Option<&Marker>,
    command: Option<&Command>,
    db: &Path,
) -> Result<()> {
    let ordinal = head.map_or(0, |head| head.ordinal);
    match command {
        None => summary(repository, archive, head, db).await,
        Some(Command::Import) => Ok(()),
        Some(Command::Tree { point: None }) => print_tree(archive, ordinal).await,
        Some(Command::Tree { point: Some(point) }) => {
            print_tree(archive, find(repository, archive, point).await?).await
        }
        Some(Command::Log { file }) => print_log(archive, file).await,
    }
}

async fn summary(repository: &Repository, archive: &Archive, head: Option<&Marker>, db: &Path) -> Result<()> {
    let mut out = stdout().lock();
    let repository = repository.path().display();
    let Some(Marker { ordinal, commit }) = head else {
        return Ok(writeln!(out, "{repository} has no commits at its head")?);
    };
    let (changes, tree) = (archive.changes().await?, archive.tree(*ordinal).await?);
    let (commits, changes, files) =
        (HumanCount(*ordinal), HumanCount(changes), HumanCount(tree.0.len() as u64));
    writeln!(
        out,
        "{commits} commits with {changes} changes, {files} files at the head, in {}",
        db.display()
    )?;
    writeln!(out, "\nNext, after `cargo run --example git-history --`:")?;
    writeln!(
        out,
        "  {repository} tree HEAD~1   the files before the last commit, as `git ls-tree -r` prints them"
    )?;
    writeln!(out, "  {repository} tree {}   the files at a time", commit.time)?;
    if let Some(file) = tree.0.keys().next() {
        writeln!(out, "  {repository} log {file}   every change of a file")?;
    }
    Ok(())
}

async fn print_tree(archive: &Archive, ordinal: u64) -> Result<()> {
    let tree = archive.tree(ordinal).await?;
    let mut out = io::BufWriter::new(stdout().lock());
    write!(out, "{tree}")?;
    Ok(out.flush()?)
}

async fn print_log(archive: &Archive, file: &OsStr) -> Result<()> {
    let query = archive.log();
    let mut out = io::BufWriter::new(stdout().lock());
    let verbatim = FilePath::new(file.as_encoded_bytes());
    let quoted = file.to_str().and_then(FilePath::from_quoted).filter(|path| *path != verbatim);
    for path in [Some(verbatim), quoted].into_iter().flatten() {
        let mut history = query.history(path, None);
        let mut found = false;
        while let Some(snapshot) = history.try_next().await? {
            found = true;
            let (Some(sequence), Some(event)) = (snapshot.sequence(), snapshot.value) else { continue };
            let origin = event.origin();
            write!(out, "{sequence:>5}  {}  {}  ", origin.commit.short(), origin.time)?;
            match event.content() {
                Some(content) => write!(out, "{content}")?,
                None => write!(out, "deleted")?,
            }
            writeln!(out, "  {}", origin.author)?;
        }
        if found {
            return Ok(out.flush()?);
        }
    }
    bail!("no commit has a file {}", file.display())
}

/// The number of the last commit at what the user calls `point`.
async fn find(repository: &Repository, archive: &Archive, point: &OsStr) -> Result<u64> {
    if let Some(commit) = repository.commit(point).await? {
        let ordinal = archive.ordinal(&Point::Commit(commit.clone())).await?;
        return ordinal.with_context(|| {
            format!(
                "commit {commit} is not among the first-parent commits of {}",
                repository.path().display()
            )
        });
    }
    let time = point.to_str().and_then(parse_time).with_context(|| {
        let (point, repository) = (point.display(), repository.path().display());
        format!("{point} is no commit in {repository}, nor a time such as 2024-02-29T12:00:00Z")
    })?;
    let ordinal = archive.ordinal(&Point::Time(time)).await?;
    if ordinal.is_none() {
        eprintln!("no commit was made by {time}; there are no files");
    }
    Ok(ordinal.unwrap_or_default())
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let in_utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse().ok().or_else(|| in_utc().map(|zoned| zoned.timestamp()))
}

/// `target/git-history/`, the name of the repository, and a mark of where it is.
fn default_db(repository: &Path) -> Result<PathBuf> {
    let path = repository.canonicalize().with_context(|| format!("cannot find {}", repository.display()))?;
    let mark = Uuid::new_v5(&Uuid::NAMESPACE_URL, path.as_os_str().as_encoded_bytes()).simple().to_string();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Path::new("target/git-history").join(format!("{name}-{}.db", &mark[..8])))
}

/// Ready when the user presses Ctrl-C; never where that cannot be known.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

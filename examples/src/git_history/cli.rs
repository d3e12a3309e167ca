//! The program `git-history`.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use eventsrc_core::clock::{Clock, SystemClock};
use futures::poll;
use indicatif::HumanCount;
use uuid::Uuid;

use super::answers::answer;
use super::archive::{Archive, Marker};
use super::arguments::{Arguments, Command};
use super::git::Repository;
use super::import::{ImportProgress, Imported, import};
use super::progress::{Display, count};

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the tokio runtime")
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output, such as `head`, has closed the pipe.
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
    // The first poll installs the handler: from here on Ctrl-C does not end the process at once.
    let _ = poll!(&mut interrupt);
    let marker = bring_up_to_date(&repository, &archive, &db, &mut interrupt).await?;
    tokio::select! {
        () = interrupt => bail!("{}", Command::interrupted(command.as_ref())),
        result = answer(&repository, &archive, marker.as_ref(), command.as_ref(), &db) => result,
    }
}

/// Imports the new commits, and returns the last commit.
async fn bring_up_to_date(
    repository: &Repository,
    archive: &Archive,
    db: &Path,
    interrupt: impl Future<Output = ()>,
) -> Result<Option<Marker>> {
    let mut display = Display::new("commit", "import");
    let report = |ImportProgress { commits, total, changes }| {
        display.show(commits, total, format_args!(", {}", count(changes, "change")));
    };
    let began = SystemClock.now();
    let imported = import(repository, archive, report, interrupt).await;
    drop(display);
    let Imported { marker, commits, changes, repeated, left } = imported?;
    if commits > 0 {
        let seconds = SystemClock.now().duration_since(began).as_secs_f64();
        let (commits, changes) = (count(commits, "commit"), count(changes, "change"));
        eprintln!("Imported {commits} with {changes} in {seconds:.1} s into {}.", db.display());
    }
    if repeated > 0 {
        eprintln!("{} of the changes were saved by an earlier import.", HumanCount(repeated));
    }
    if left > 0 {
        let done = match marker {
            Some(Marker { ordinal, commit }) => {
                format!("imported {} so far, up to {}", count(ordinal, "commit"), commit.commit)
            }
            None => "no commit is imported completely yet".into(),
        };
        bail!("interrupted: {done}; {} left; run the command again to continue", count(left, "commit"));
    }
    Ok(marker)
}

/// Default database: a file in `target/git-history` with the name of the repository and a hash of its path.
fn default_db(repository: &Path) -> Result<PathBuf> {
    let path = repository.canonicalize().with_context(|| format!("cannot find {}", repository.display()))?;
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_URL, path.as_os_str().as_encoded_bytes()).simple().to_string();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Path::new("target/git-history").join(format!("{name}-{}.db", &hash[..8])))
}

/// Completes when the user presses Ctrl-C; never completes if no handler can be installed.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

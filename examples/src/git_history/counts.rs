//! The commands that read or rebuild the view.

use std::fmt::Display;
use std::io::{self, Write, stdout};
use std::path::Path;

use anyhow::{Result, ensure};
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::rebuild::RebuildProgress;
use eventsrc_core::view::QuarantinedCommit;
use eventsrc_sqlite::rusqlite::{self, Connection};
use indicatif::HumanCount;

use super::activity::{
    AuthorRow, BuildReport, Comparison, FileRow, ReplacedVersion, Versions, as_of, authors, churn,
};
use super::archive::Archive;
use super::progress::{self, count};

/// Prints the files that were changed most often, at commit number `at` or at the head.
pub(super) async fn print_churn(
    archive: &Archive,
    db: &Path,
    top: Option<u32>,
    at: Option<u64>,
) -> Result<()> {
    let rows = read(archive, db, at, move |connection| churn(connection, top)).await?;
    print(rows.into_iter().map(|FileRow { path, changes, last_commit, last_time, deleted }| {
        let state = if deleted { "deleted" } else { "" };
        format!("{changes:>7}  {state:7}  {}  {last_time}  {path}", last_commit.short())
    }))
}

/// Prints the authors with the most changes, up to commit number `at` or to the head.
pub(super) async fn print_authors(
    archive: &Archive,
    db: &Path,
    top: Option<u32>,
    at: Option<u64>,
) -> Result<()> {
    let rows = read(archive, db, at, move |connection| authors(connection, top)).await?;
    print(rows.into_iter().map(|AuthorRow { author, changes, files, first, last }| {
        format!("{changes:>7}  {files:>7}  {first}  {last}  {author}")
    }))
}

async fn read<T: Send + 'static>(
    archive: &Archive,
    db: &Path,
    at: Option<u64>,
    query: impl Fn(&Connection) -> rusqlite::Result<Vec<T>> + Clone + Send + 'static,
) -> Result<Vec<T>> {
    match at {
        // No commit is that early. The caller has reported it.
        Some(0) => Ok(Vec::new()),
        Some(upto) => {
            let (_, view) = as_of(archive, db, upto, reporting()).await?;
            Ok(view.read(&[], query).await?.1)
        }
        None => {
            let versions = Versions::open(archive).await?;
            let rows = versions.up_to_date(reporting(), query).await?;
            warn(&versions.quarantined().await?);
            Ok(rows)
        }
    }
}

fn print(lines: impl Iterator<Item = impl Display>) -> Result<()> {
    let mut out = io::BufWriter::new(stdout().lock());
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}

fn reporting() -> impl FnMut(RebuildProgress) {
    let mut display = progress::Display::new("event", "count");
    move |RebuildProgress { read, total, last_error }| {
        display.show(read, total, "");
        display.set_last_error(last_error.map(|error| format!("{:#}", anyhow::Error::new(error))));
    }
}

/// Reports the files in quarantine.
fn warn(quarantined: &[QuarantinedCommit<u64>]) {
    if let [QuarantinedCommit { stream, sequence, error, .. }, ..] = quarantined {
        let files = count(quarantined.len() as u64, "file");
        eprintln!("{files} not counted completely; the first is {stream}, from {sequence} on: {error}");
    }
}

/// Builds the next version, lets it take over, and prints a report.
pub(super) async fn rebuild(archive: &Archive) -> Result<()> {
    let versions = Versions::open(archive).await?;
    let began = SystemClock.now();
    let BuildReport { version, events, replaced } = versions.rebuild(reporting()).await?;
    let seconds = SystemClock.now().duration_since(began).as_secs_f64();
    let mut out = stdout().lock();
    writeln!(out, "Built version {version} from {} in {seconds:.1} s.", count(events, "event"))?;
    if let Some(ReplacedVersion { version: old, comparison, removed }) = replaced {
        match comparison {
            Comparison::Equal(digest) => {
                writeln!(out, "Its {} rows equal those of version {old}.", HumanCount(digest.rows))?;
            }
            Comparison::Different { old: before, new } => {
                let (before, new) = (HumanCount(before.rows), HumanCount(new.rows));
                writeln!(out, "Its {new} rows differ from the {before} rows of version {old}.")?;
            }
            Comparison::Unreadable(error) => {
                writeln!(out, "Version {old} cannot be read and was not compared: {error:#}")?;
            }
        }
        for removed in removed {
            writeln!(out, "Removed version {removed}.")?;
        }
        writeln!(out, "Version {version} serves. To remove version {old}, run `rebuild --retire-old`.")?;
    }
    drop(out);
    warn(&versions.quarantined().await?);
    Ok(())
}

/// Removes the versions that no longer serve, and prints their numbers.
pub(super) async fn retire_old(archive: &Archive) -> Result<()> {
    let removed = Versions::open(archive).await?.retire_old().await?;
    if removed.is_empty() {
        eprintln!("There is no old version.");
    }
    print(removed.into_iter().map(|version| format!("Removed version {version}.")))
}

/// Builds the view as of commit number `upto` in a separate file, and prints the path.
pub(super) async fn build_as_of(archive: &Archive, db: &Path, upto: u64) -> Result<()> {
    ensure!(upto > 0, "there is nothing to build before the first commit");
    let (path, view) = as_of(archive, db, upto, reporting()).await?;
    let row_counts = |connection: &Connection| {
        let sql = "SELECT (SELECT count(*) FROM churn), (SELECT count(*) FROM authors)";
        connection.query_row(sql, [], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?)))
    };
    let (_, (files, authors)) = view.read(&[], row_counts).await?;
    let (files, authors) = (count(files.into(), "file"), count(authors.into(), "author"));
    print([format!("Counted {files} and {authors} in {}.", path.display())].into_iter())
}

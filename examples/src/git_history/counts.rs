//! What `git-history` answers from the view.

use std::fmt::Display;
use std::io::{self, Write, stdout};
use std::path::Path;

use anyhow::{Result, ensure};
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::rebuild::RebuildProgress;
use eventsrc_core::view::QuarantinedCommit;
use eventsrc_sqlite::rusqlite::{self, Connection};
use indicatif::HumanCount;

use super::activity::{AuthorRow, Built, Comparison, FileRow, Replaced, Versions, as_of, authors, churn};
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

/// Prints the authors who made most changes, up to commit number `at` or to the head.
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
        // There are no files, and that was said.
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
        display.trouble(last_error.map(|error| format!("{:#}", anyhow::Error::new(error))));
    }
}

/// Says which files are not counted in full.
fn warn(quarantined: &[QuarantinedCommit<u64>]) {
    if let [QuarantinedCommit { stream, sequence, error, .. }, ..] = quarantined {
        let files = count(quarantined.len() as u64, "file");
        eprintln!("{files} not counted in full; the first is {stream}, from {sequence} on: {error}");
    }
}

/// Builds the next version, has it serve, and says so.
pub(super) async fn rebuild(archive: &Archive) -> Result<()> {
    let versions = Versions::open(archive).await?;
    let began = SystemClock.now();
    let Built { version, events, replaced } = versions.rebuild(reporting()).await?;
    let seconds = SystemClock.now().duration_since(began).as_secs_f64();
    let mut out = stdout().lock();
    writeln!(out, "built version {version}, counting {}, in {seconds:.1} s", count(events, "event"))?;
    if let Some(Replaced { version: old, comparison, removed }) = replaced {
        match comparison {
            Comparison::Equal(digest) => {
                writeln!(out, "its {} rows equal those of version {old}", HumanCount(digest.rows))?;
            }
            Comparison::Different { old: before, new } => {
                let (before, new) = (HumanCount(before.rows), HumanCount(new.rows));
                writeln!(out, "its {new} rows differ from the {before} of version {old}")?;
            }
            Comparison::Unreadable(error) => {
                writeln!(out, "version {old} cannot be read any more, and was not compared: {error:#}")?;
            }
        }
        for removed in removed {
            writeln!(out, "removed version {removed}")?;
        }
        writeln!(out, "version {version} is in use; version {old} is kept until `rebuild --retire-old`")?;
    }
    drop(out);
    warn(&versions.quarantined().await?);
    Ok(())
}

/// Removes the versions that are not in use any more, and says which.
pub(super) async fn retire_old(archive: &Archive) -> Result<()> {
    let removed = Versions::open(archive).await?.retire_old().await?;
    if removed.is_empty() {
        eprintln!("there is no old version");
    }
    print(removed.into_iter().map(|version| format!("removed version {version}")))
}

/// Builds the view as of commit number `upto` in a file of its own, and says so.
pub(super) async fn build_as_of(archive: &Archive, db: &Path, upto: u64) -> Result<()> {
    ensure!(upto > 0, "there is nothing to build");
    let (path, view) = as_of(archive, db, upto, reporting()).await?;
    let both = |connection: &Connection| {
        let sql = "SELECT (SELECT count(*) FROM churn), (SELECT count(*) FROM authors)";
        connection.query_row(sql, [], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?)))
    };
    let (_, (files, authors)) = view.read(&[], both).await?;
    let (files, authors) = (count(files.into(), "file"), count(authors.into(), "author"));
    print([format!("counted {files} and {authors}, in {}", path.display())].into_iter())
}

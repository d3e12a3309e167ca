//! The commands of `git-history`.

use std::ffi::OsStr;
use std::io::{self, Write, stdout};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::{Query, Timestamp};
use futures::TryStreamExt;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::archive::{Archive, Marker};
use super::arguments::Command;
use super::counts;
use super::event::Point;
use super::git::Repository;
use super::path::FilePath;
use super::progress::count;

/// Runs `command` and prints its result. Without a command, prints a summary.
pub(super) async fn answer(
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
        Some(Command::Churn(selection)) => {
            let at = find_some(repository, archive, selection.at.as_deref()).await?;
            counts::print_churn(archive, db, selection.top, at).await
        }
        Some(Command::Authors(selection)) => {
            let at = find_some(repository, archive, selection.at.as_deref()).await?;
            counts::print_authors(archive, db, selection.top, at).await
        }
        Some(Command::Rebuild { retire_old: true, .. }) => counts::retire_old(archive).await,
        Some(Command::Rebuild { up_to: None, .. }) => counts::rebuild(archive).await,
        Some(Command::Rebuild { up_to: Some(point), .. }) => {
            counts::build_as_of(archive, db, find(repository, archive, point).await?).await
        }
    }
}

async fn summary(repository: &Repository, archive: &Archive, head: Option<&Marker>, db: &Path) -> Result<()> {
    let mut out = stdout().lock();
    let repository = repository.path().display();
    let Some(Marker { ordinal, commit }) = head else {
        return Ok(writeln!(out, "{repository} has no commits.")?);
    };
    let (changes, tree) = (archive.changes().await?, archive.tree(*ordinal).await?);
    let (commits, changes, files) =
        (count(*ordinal, "commit"), count(changes, "change"), count(tree.0.len() as u64, "file"));
    writeln!(out, "Imported {commits} with {changes} into {}; {files} at the head.", db.display())?;
    writeln!(out, "\nTo continue, append one of these to `cargo run --example git-history --`:")?;
    let (at, log) = (format!("tree {}", commit.time), tree.0.keys().next().map(|file| format!("log {file}")));
    let next = [
        (Some("tree HEAD~1"), "print the files before the last commit, as `git ls-tree -r` does"),
        (Some(&at), "print the files at a time"),
        (log.as_deref(), "print every change of a file"),
        (Some("churn --top 10"), "print the files that were changed most often"),
        (Some("authors"), "print who changed how many files, and when"),
        (Some("rebuild"), "rebuild the counts from all events and compare them"),
    ];
    for (command, effect) in next {
        if let Some(command) = command {
            writeln!(out, "  {repository} {command:27}  {effect}")?;
        }
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
    bail!("no commit contains a file {}", file.display())
}

/// Returns the number of the last commit at `point`, as the user wrote it.
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
        let repository = repository.path().display();
        format!("{point:?} is not a commit in {repository}, nor a time such as 2024-02-29T12:00:00Z")
    })?;
    let ordinal = archive.ordinal(&Point::Time(time)).await?;
    if ordinal.is_none() {
        eprintln!("No commit was made by {time}; there are no files.");
    }
    Ok(ordinal.unwrap_or_default())
}

async fn find_some(repository: &Repository, archive: &Archive, point: Option<&OsStr>) -> Result<Option<u64>> {
    match point {
        Some(point) => find(repository, archive, point).await.map(Some),
        None => Ok(None),
    }
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let in_utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse().ok().or_else(|| in_utc().map(|zoned| zoned.timestamp()))
}

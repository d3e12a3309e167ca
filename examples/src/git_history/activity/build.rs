//! Builds a version of the view from all events.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use eventsrc_core::rebuild::{Rebuild, RebuildProgress, RebuildReport, RebuildSettings};
use eventsrc_core::view::{QuarantinedCommit, VersionedStore, ViewDigest};
use eventsrc_sqlite::{Database, SqliteView};

use super::versions::{Versions, or_last_error};
use super::view::{Activity, ActivityView};
use crate::git_history::archive::Archive;

/// Outcome of a rebuild.
#[derive(Debug)]
pub struct BuildReport {
    /// The version that was built and now serves.
    pub version: u32,
    /// Number of events that this run counted, without those of an interrupted run before it.
    pub events: u64,
    /// The version that served before, if there was one.
    pub replaced: Option<ReplacedVersion>,
}

/// A version that was replaced by a take-over. Its rows are kept.
#[derive(Debug)]
pub struct ReplacedVersion {
    /// Number of the version.
    pub version: u32,
    /// Comparison of its rows with those of the new version.
    pub comparison: Comparison,
    /// Versions older than this one, which were removed.
    pub removed: Vec<u32>,
}

/// Comparison of two versions that have counted the same events.
#[derive(Debug)]
pub enum Comparison {
    /// The rows are equal.
    Equal(ViewDigest),
    /// The rows differ.
    Different {
        /// Digest of the version that served before.
        old: ViewDigest,
        /// Digest of the version that was built.
        new: ViewDigest,
    },
    /// The version that served before cannot be read.
    Unreadable(anyhow::Error),
}

impl Versions {
    /// Builds the next version from all events while the serving version stays in use, compares the two, and lets the
    /// new version take over.
    ///
    /// A rebuild after an interruption or a kill continues with the same version. The version that served before is
    /// kept until the next rebuild, for programs that still have it open; older versions are removed.
    ///
    /// # Errors
    ///
    /// If the database fails, or if the new version cannot count what the serving version has counted. What was built
    /// stays.
    pub async fn rebuild(&self, progress: impl FnMut(RebuildProgress)) -> Result<BuildReport> {
        let serving = self.serving().await?;
        let old = match serving {
            0 => None,
            version => Some(self.version(version).await),
        };
        let new = self.version(serving + 1).await?;
        let rebuild = Rebuild::new(self.archive.files.clone(), new.clone()).with(settings());
        let RebuildReport { applied_events: events, quarantined, .. } = rebuild.run(progress).await?;
        let comparison = match old {
            Some(old) => Some(self.compare(old, &new).await?),
            None => None,
        };
        let synchronizer = self.synchronizer(&new);
        or_last_error(&synchronizer, synchronizer.take_over()).await?.map_err(|error| {
            match quarantined.first() {
                Some(QuarantinedCommit { error: reason, .. }) => anyhow!("{error}: {reason}"),
                None => error.into(),
            }
        })?;
        synchronizer.stop().await;
        let replaced = match comparison {
            Some(comparison) => {
                let removed = self.retire_before(serving).await?;
                Some(ReplacedVersion { version: serving, comparison, removed })
            }
            None => None,
        };
        Ok(BuildReport { version: serving + 1, events, replaced })
    }

    /// Compares two versions after both have counted everything that is imported.
    async fn compare(&self, old: Result<ActivityView>, new: &ActivityView) -> Result<Comparison> {
        self.catch_up(new).await?;
        let old = async {
            let old = old?;
            self.catch_up(&old).await?;
            Ok(old.digest().await?)
        };
        let (old, new) = (old.await, new.digest().await?);
        Ok(match old {
            Ok(old) if old == new => Comparison::Equal(new),
            Ok(old) => Comparison::Different { old, new },
            Err(error) => Comparison::Unreadable(error),
        })
    }
}

/// Builds the view as of commit number `upto` in a separate file next to `db`, the database of the archive. Returns the
/// path of the file and the view.
///
/// # Errors
///
/// If there is no such commit, or if a database fails.
pub async fn as_of(
    archive: &Archive,
    db: &Path,
    upto: u64,
    progress: impl FnMut(RebuildProgress),
) -> Result<(PathBuf, ActivityView)> {
    let commit = archive.commit(upto).await?.with_context(|| format!("there is no commit number {upto}"))?;
    let path = path_as_of(db, commit.commit.short());
    let unusable = || format!("cannot use {}", path.display());
    let database = Database::open(&path).await.with_context(unusable)?;
    let view = SqliteView::open(&database, Activity { version: 1 }).await.with_context(unusable)?;
    let rebuild = Rebuild::new(archive.files.clone(), view.clone()).with(settings());
    let report = rebuild.up_to_token(archive.token(upto).await?).run(progress).await?;
    if let Some(QuarantinedCommit { stream, sequence, error, .. }) = report.quarantined.first() {
        bail!("{stream} cannot be counted from {sequence} on: {error}");
    }
    Ok((path, view))
}

/// `history.at-0123456789.db` for `history.db`.
fn path_as_of(db: &Path, commit: &str) -> PathBuf {
    let mut name = db.file_stem().unwrap_or_default().to_os_string();
    name.push(format!(".at-{commit}"));
    if let Some(extension) = db.extension() {
        name.push(".");
        name.push(extension);
    }
    db.with_file_name(name)
}

/// Settings that report progress often enough for a person who watches.
fn settings() -> RebuildSettings {
    RebuildSettings { progress_every: Duration::from_millis(100), ..RebuildSettings::default() }
}

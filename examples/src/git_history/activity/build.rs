//! Building a version of the view from all events.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use eventsrc_core::rebuild::{Rebuild, RebuildProgress, RebuildReport, RebuildSettings};
use eventsrc_core::view::{QuarantinedCommit, VersionedStore, ViewDigest};
use eventsrc_sqlite::{Database, SqliteView};

use super::versions::{release_all, watched};
use super::{Activity, ActivityView, Versions};
use crate::git_history::archive::Archive;

/// What a rebuild came to.
#[derive(Debug)]
pub struct Built {
    /// The version that was built, and serves.
    pub version: u32,
    /// How many events were counted; those that were counted before it was interrupted are not among them.
    pub events: u64,
    /// The version that served before, if there was one.
    pub replaced: Option<Replaced>,
}

/// A version that another one has taken over from. It is kept.
#[derive(Debug)]
pub struct Replaced {
    /// Which it is.
    pub version: u32,
    /// How its rows compare with those of the new version.
    pub comparison: Comparison,
    /// Versions that were older still, and were removed.
    pub removed: Vec<u32>,
}

/// How two versions compare that have counted the same events.
#[derive(Debug)]
pub enum Comparison {
    /// The rows are the same.
    Equal(ViewDigest),
    /// They are not.
    Different {
        /// Those of the version that served before.
        old: ViewDigest,
        /// Those of the one that was built.
        new: ViewDigest,
    },
    /// The version that served before cannot be read any more.
    Unreadable(anyhow::Error),
}

impl Versions {
    /// Builds the next version from all events, beside the one that serves; compares the two; and has the new one serve.
    ///
    /// If it is interrupted, or killed, the next one goes on with the same version. The version that served before is
    /// kept, for programs that still have it open, and until the next rebuild; older ones are removed.
    ///
    /// # Errors
    ///
    /// If the database fails, or the new version cannot count what the other one has counted. What was built stays.
    pub async fn rebuild(&self, progress: impl FnMut(RebuildProgress)) -> Result<Built> {
        let serving = self.serving().await?;
        let old = match serving {
            0 => None,
            version => Some(self.version(version).await?),
        };
        let new = self.version(serving + 1).await?;
        release_all(&new).await?;
        let rebuild = Rebuild::new(self.archive.files.clone(), new.clone()).with(settings());
        let RebuildReport { applied_events: events, quarantined, .. } = rebuild.run(progress).await?;
        let comparison = match &old {
            Some(old) => Some(self.compare(old, &new).await?),
            None => None,
        };
        let synchronizer = self.keep(&new);
        watched(&synchronizer, synchronizer.take_over()).await?.map_err(|error| {
            match quarantined.first() {
                Some(QuarantinedCommit { error: why, .. }) => anyhow!("{error}: {why}"),
                None => error.into(),
            }
        })?;
        synchronizer.stop().await;
        let replaced = match comparison {
            Some(comparison) => {
                Some(Replaced { version: serving, comparison, removed: self.retire_before(serving).await? })
            }
            None => None,
        };
        Ok(Built { version: serving + 1, events, replaced })
    }

    /// Compares two versions, once both have counted all that is imported.
    async fn compare(&self, old: &ActivityView, new: &ActivityView) -> Result<Comparison> {
        self.catch_up(new).await?;
        let old = async {
            self.catch_up(old).await?;
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

/// Builds the view as it was when commit number `upto` was made, in a file of its own beside the database `db` of the
/// archive; gives the file and the view.
///
/// # Errors
///
/// If there is no such commit, or a database fails.
pub async fn as_of(
    archive: &Archive,
    db: &Path,
    upto: u64,
    progress: impl FnMut(RebuildProgress),
) -> Result<(PathBuf, ActivityView)> {
    let commit = archive.commit(upto).await?.with_context(|| format!("there is no commit number {upto}"))?;
    let path = beside(db, commit.commit.short());
    let unusable = || format!("cannot use {}", path.display());
    let database = Database::open(&path).await.with_context(unusable)?;
    let view = SqliteView::open(&database, Activity { version: 1 }).await.with_context(unusable)?;
    release_all(&view).await?;
    let rebuild = Rebuild::new(archive.files.clone(), view.clone()).with(settings());
    let built = rebuild.up_to_token(archive.token(upto).await?).run(progress).await?;
    if let Some(QuarantinedCommit { stream, sequence, error, .. }) = built.quarantined.first() {
        bail!("{stream} cannot be counted from {sequence} on: {error}");
    }
    Ok((path, view))
}

/// `history.at-0123456789.db` beside `history.db`.
fn beside(db: &Path, commit: &str) -> PathBuf {
    let mut name = db.file_stem().unwrap_or_default().to_os_string();
    name.push(format!(".at-{commit}"));
    if let Some(extension) = db.extension() {
        name.push(".");
        name.push(extension);
    }
    db.with_file_name(name)
}

/// Somebody may look on.
fn settings() -> RebuildSettings {
    RebuildSettings { progress_every: Duration::from_millis(100), ..RebuildSettings::default() }
}

//! The versions of the view in a file, and reads of the serving one.

use std::time::Duration;

use anyhow::Result;
use eventsrc_core::Synchronizer;
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::rebuild::RebuildProgress;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::{QuarantinedCommit, VersionedStore, ViewStore};
use eventsrc_sqlite::SqliteView;
use eventsrc_sqlite::rusqlite::{self, Connection};
use futures::future::{Either, select};

use super::tables;
use super::view::{Activity, ActivityView};
use crate::git_history::archive::Archive;

/// The versions of the view, in the file of an archive. A version is built only on request.
#[derive(Debug, Clone)]
pub struct Versions {
    pub(super) archive: Archive,
    /// Version 0, which always exists and tells which version serves.
    version_zero: ActivityView,
}

impl Versions {
    /// Opens the versions in the file of `archive`.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn open(archive: &Archive) -> Result<Self> {
        let version_zero = SqliteView::open(&archive.database, Activity { version: 0 }).await?;
        Ok(Self { archive: archive.clone(), version_zero })
    }

    /// Returns the serving version, or 0 before the first one is built.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn serving(&self) -> Result<u32> {
        Ok(self.version_zero.serving().await?)
    }

    /// Returns the versions that have tables, including the serving one, oldest first.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn kept(&self) -> Result<Vec<u32>> {
        let (_, mut versions) = self.version_zero.read(&[], versions).await?;
        versions.sort_unstable();
        Ok(versions)
    }

    /// Opens a version, and creates its tables if they do not exist.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn version(&self, version: u32) -> Result<ActivityView> {
        Ok(SqliteView::open(&self.archive.database, Activity { version }).await?)
    }

    /// Returns the result of `query` on the serving version after it has counted everything that is imported. If no
    /// version serves, builds the first one and reports to `progress`.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn up_to_date<T: Send + 'static>(
        &self,
        mut progress: impl FnMut(RebuildProgress),
        query: impl Fn(&Connection) -> rusqlite::Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        loop {
            let version = match self.serving().await? {
                0 => self.rebuild(&mut progress).await?.version,
                version => version,
            };
            let view = self.version(version).await?;
            self.catch_up(&view).await?;
            let (_, rows) = view.read(&[], query.clone()).await?;
            // Another version may have taken over in the meantime, and may be behind.
            if self.serving().await? == version {
                return Ok(rows);
            }
        }
    }

    /// Returns the files that the serving version cannot count completely, with the reasons.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<u64>>> {
        Ok(self.version(self.serving().await?).await?.quarantined().await?)
    }

    /// Removes the versions before the serving one, and returns their numbers.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn retire_old(&self) -> Result<Vec<u32>> {
        let serving = self.serving().await?;
        self.retire_before(serving).await
    }

    pub(super) async fn retire_before(&self, version: u32) -> Result<Vec<u32>> {
        let mut old = self.kept().await?;
        old.retain(|kept| *kept < version);
        for version in &old {
            ActivityView::retire_unopened(&self.archive.database, Activity { version: *version }).await?;
        }
        Ok(old)
    }

    /// Lets `view` count everything that is imported. Streams that are in quarantine are tried again.
    pub(super) async fn catch_up(&self, view: &ActivityView) -> Result<()> {
        let synchronizer = self.synchronizer(view);
        or_last_error(&synchronizer, synchronizer.sweep()).await??;
        synchronizer.stop().await;
        Ok(())
    }

    /// Starts a synchronizer of `view` without timed sweeps.
    pub(super) fn synchronizer(&self, view: &ActivityView) -> Synchronizer<ActivityView> {
        let settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
        Synchronizer::start(self.archive.files.clone(), view.clone(), settings)
    }
}

/// Returns the result of `work`, or the last error of the synchronizer if it has one before that.
///
/// A synchronizer retries errors such as a full disk or a locked file without a limit; a person waits for this result.
pub(super) async fn or_last_error<T>(
    synchronizer: &Synchronizer<ActivityView>,
    work: impl Future<Output = T>,
) -> Result<T> {
    let failure = async {
        loop {
            SystemClock.sleep(Duration::from_millis(200)).await;
            if let Some(error) = synchronizer.status().await?.last_errors.pop() {
                return Err(anyhow::Error::new(error));
            }
        }
    };
    match select(Box::pin(work), Box::pin(failure)).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right((error, _)) => error,
    }
}

/// Returns the versions whose tables are in the file.
fn versions(connection: &Connection) -> rusqlite::Result<Vec<u32>> {
    let table = tables::NAMES[0];
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let version = |name: String| name.strip_prefix(table)?.strip_prefix("_v")?.parse().ok();
    names.filter_map(|name| name.map(version).transpose()).collect()
}

//! The versions of the view that a file has, and reading the one that serves.

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

use super::{Activity, ActivityView, tables};
use crate::git_history::archive::Archive;

/// The versions of the view beside the events of an archive. Nothing is built before it is asked for.
#[derive(Debug, Clone)]
pub struct Versions {
    pub(super) archive: Archive,
    /// What is asked which version serves, because it is always there.
    nothing: ActivityView,
}

impl Versions {
    /// The versions in the file of `archive`.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn open(archive: &Archive) -> Result<Self> {
        let nothing = SqliteView::open(&archive.database, Activity { version: 0 }).await?;
        Ok(Self { archive: archive.clone(), nothing })
    }

    /// The version that readers see; 0 before one is built.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn serving(&self) -> Result<u32> {
        Ok(self.nothing.serving().await?)
    }

    /// The versions that have rows, whether they serve or not, the oldest first.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn kept(&self) -> Result<Vec<u32>> {
        let (_, mut versions) = self.nothing.read(&[], versions).await?;
        versions.sort_unstable();
        Ok(versions)
    }

    /// A version, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn version(&self, version: u32) -> Result<ActivityView> {
        Ok(SqliteView::open(&self.archive.database, Activity { version }).await?)
    }

    /// What `query` reads of the version that serves, after everything that is imported was counted there. Where no
    /// version serves, the first is built, and `progress` hears of it.
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
            // Another version may have taken over meanwhile, and have less.
            if self.serving().await? == version {
                return Ok(rows);
            }
        }
    }

    /// The files that the version that serves cannot count in full, and why.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<u64>>> {
        Ok(self.version(self.serving().await?).await?.quarantined().await?)
    }

    /// Removes the versions that another one has taken over from, and says which they are.
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
            self.version(*version).await?.retire().await?;
        }
        Ok(old)
    }

    /// Counts in `view` what is imported.
    pub(super) async fn catch_up(&self, view: &ActivityView) -> Result<()> {
        release_all(view).await?;
        let synchronizer = self.keep(view);
        watched(&synchronizer, synchronizer.sweep()).await??;
        synchronizer.stop().await;
        Ok(())
    }

    /// What brings `view` forward when it is told to.
    pub(super) fn keep(&self, view: &ActivityView) -> Synchronizer<ActivityView> {
        let settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
        Synchronizer::start(self.archive.files.clone(), view.clone(), settings)
    }
}

/// Has what could not be counted tried again.
pub(super) async fn release_all(view: &ActivityView) -> Result<()> {
    for poison in view.quarantined().await? {
        view.release(&poison.stream).await?;
    }
    Ok(())
}

/// What `work` comes to, unless the synchronizer waits for a disk with room, or for a file that is free: so would it for
/// days, and somebody waits for an answer.
pub(super) async fn watched<T>(
    synchronizer: &Synchronizer<ActivityView>,
    work: impl Future<Output = T>,
) -> Result<T> {
    let trouble = async {
        loop {
            SystemClock.sleep(Duration::from_millis(200)).await;
            if let Some(error) = synchronizer.status().await?.last_errors.pop() {
                return Err(anyhow::Error::new(error));
            }
        }
    };
    match select(Box::pin(work), Box::pin(trouble)).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right((trouble, _)) => trouble,
    }
}

/// The versions whose tables are in the file.
fn versions(connection: &Connection) -> rusqlite::Result<Vec<u32>> {
    let table = tables::NAMES[0];
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let version = |name: String| name.strip_prefix(table)?.strip_prefix("_v")?.parse().ok();
    names.filter_map(|name| name.map(version).transpose()).collect()
}

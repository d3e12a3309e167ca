//! A process that keeps a ledger until it is killed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::rebuild::{Rebuild, RebuildSettings};
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::{StreamName, Synchronizer};
use eventsrc_postgres::{Postgres, PostgresView, Settings};
use eventsrc_sqlite::{Database, SqliteStorage, SqliteView};
use futures::TryStreamExt;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::deliveries::Disorderly;
use super::postgres::PostgresLedger;
use super::sqlite::SqliteLedger;
use super::{Ledger, LedgerCommit};

/// The store of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// In this SQLite file.
    Sqlite(PathBuf),
    /// In the Postgres database of this address.
    Postgres(String),
}

impl Target {
    /// The target named by `text`: an address that begins with `postgres://`, or the path of a file.
    pub fn parse(text: &str) -> Self {
        if text.starts_with("postgres://") { Self::Postgres(text.into()) } else { Self::Sqlite(text.into()) }
    }

    /// The text that [`parse`](Target::parse) reads.
    pub fn text(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// The task of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Follows a disorderly feed of all commits, sweeps, and reports it; then repeats this until killed.
    Keep,
    /// Follows the feed and sweeps once, and ends.
    KeepOnce,
    /// Rebuilds version 2, and ends.
    Rebuild,
}

impl Job {
    /// The job named by `text`.
    ///
    /// # Errors
    ///
    /// If no job has this name.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "keep" => Self::Keep,
            "keep-once" => Self::KeepOnce,
            "rebuild" => Self::Rebuild,
            other => bail!("there is no job {other}"),
        })
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::KeepOnce => "keep-once",
            Self::Rebuild => "rebuild",
        }
    }
}

pub(crate) type Events = SqliteStorage<StreamName, u64, i64>;

/// The events in the SQLite file at `path`.
///
/// # Errors
///
/// If the file cannot be opened.
pub(crate) async fn events(path: &Path) -> Result<Events> {
    Ok(SqliteStorage::new(&Database::open(path).await?))
}

/// A ledger in an SQLite file, and in a Postgres database.
pub(crate) async fn sqlite_ledger(
    path: &Path,
    version: u32,
) -> Result<SqliteView<StreamName, u64, i64, SqliteLedger>> {
    Ok(SqliteView::open(&Database::open(path).await?, SqliteLedger(version)).await?)
}

pub(crate) async fn postgres_ledger(
    url: &str,
    version: u32,
) -> Result<PostgresView<StreamName, u64, i64, PostgresLedger>> {
    // A worker that was stopped during a transaction blocks other workers for this time.
    let idle_in_transaction_timeout = Some(Duration::from_secs(1));
    let settings = Settings { idle_in_transaction_timeout, ..Settings::default() };
    let postgres = Postgres::connect_with(url, settings).await?;
    Ok(PostgresView::open(&postgres, PostgresLedger(version)).await?)
}

/// Does `job` on the ledger in `target`, from the events in the SQLite file `storage`.
///
/// # Errors
///
/// If a call fails that must not fail.
pub async fn work(storage: &Path, target: &Target, job: Job, seed: u64) -> Result<()> {
    let storage = events(storage).await.context("cannot open the events")?;
    let version = if job == Job::Rebuild { 2 } else { 1 };
    match target {
        Target::Sqlite(path) => run(storage, sqlite_ledger(path, version).await?, job, seed).await,
        Target::Postgres(url) => run(storage, postgres_ledger(url, version).await?, job, seed).await,
    }
}

async fn run<V: Ledger>(storage: Events, view: V, job: Job, seed: u64) -> Result<()> {
    if job == Job::Rebuild {
        let mut settings = RebuildSettings::default();
        // Small batches, so that kills occur between them.
        settings.synchronizer.events_per_batch = 500;
        let rebuilt = Rebuild::new(storage, view).with(settings).run(|_| {}).await?;
        return say(&format!("applied {}", rebuilt.applied_events));
    }
    let settings = SynchronizerSettings {
        workers: 2,
        events_per_batch: 10,
        sweep_every: None,
        // A stream that goes into quarantine is a finding, which a restart must not hide.
        retry_quarantined_at_start: false,
        ..Default::default()
    };
    let synchronizer = Synchronizer::start(storage.clone(), view, settings);
    let mut random = StdRng::seed_from_u64(seed);
    say("ready 0")?;
    loop {
        let pages: Vec<_> = storage.scan(Segment::ALL).try_collect().await?;
        let mut stored: Vec<Arc<LedgerCommit>> =
            pages.iter().flat_map(|page| page.commits().iter().cloned()).collect();
        stored.sort_by_key(|commit| commit.first);
        synchronizer.follow(Disorderly::new(&stored, StdRng::from_rng(&mut random))).await?;
        synchronizer.sweep().await?;
        say(&format!("applied {}", synchronizer.status().await?.applied_events))?;
        if job == Job::KeepOnce {
            synchronizer.stop().await;
            return Ok(());
        }
    }
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

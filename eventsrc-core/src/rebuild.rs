//! Rebuilds: applying all stored events to a new version of a view.
//!
//! A [`Rebuild`] scans the event storage in parallel segments and applies large batches, while the serving version
//! stays untouched.

mod cutoff;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cutoff::{Cutoff, CutoffFeed};
use futures::TryStreamExt;
use futures::future::{self, Either};
use jiff::Timestamp;

use crate::feed::ScanFeed;
use crate::storage::error::describe;
use crate::storage::{ScanStorage, Segment, StorageError};
use crate::stream::{Sequence, StreamName};
use crate::synchronizer::{Environment, FollowError, Synchronizer, SynchronizerSettings};
use crate::token::Token;
use crate::view::{QuarantinedCommit, ViewStore};

/// Builds a view version from a scan of all streams, in large batches and several segments in parallel.
///
/// The version is built in addition to the serving version, which stays untouched: nothing is deleted, and readers see
/// no change. A rebuild that was killed continues when it is run again, because the positions of the view show what is
/// applied. Streams that are in quarantine are tried again. Commits that are stored during the rebuild may be applied or not. A [`Synchronizer`] of the same view then
/// catches up and [takes over](Synchronizer::take_over).
///
/// With [`up_to_time`](Rebuild::up_to_time) or [`up_to_token`](Rebuild::up_to_token) the view is built in an earlier
/// state, for offline inspection. Such a version must not be kept up to date and must not take over.
pub struct Rebuild<St, V: ViewStore> {
    storage: St,
    view: V,
    settings: RebuildSettings,
    cutoff: Cutoff,
    environment: Environment<V>,
}

/// Settings of a [`Rebuild`].
#[derive(Debug, Clone, PartialEq)]
pub struct RebuildSettings {
    /// Number of segments of the storage that are read in parallel, at least 1. Default: 4.
    pub segments: u32,
    /// Interval between two progress reports. Default: 1 s.
    pub progress_every: Duration,
    /// Settings for applying batches; `sweep_every` is ignored. Default: batches of 50,000 events, 64 MiB or 2 s.
    pub synchronizer: SynchronizerSettings,
}

impl Default for RebuildSettings {
    fn default() -> Self {
        Self {
            segments: 4,
            progress_every: Duration::from_secs(1),
            synchronizer: SynchronizerSettings {
                events_per_batch: 50_000,
                bytes_per_batch: 64 << 20,
                time_per_batch: Duration::from_secs(2),
                sweep_every: None,
                ..SynchronizerSettings::default()
            },
        }
    }
}

/// Progress of a rebuild, and the error that delays it.
#[derive(Debug, Clone)]
pub struct RebuildProgress {
    /// Number of events read so far, of the streams that the view follows.
    pub read: u64,
    /// Number of events of these streams when the rebuild began.
    pub total: u64,
    /// Error that delays the rebuild at present, such as a full disk. The rebuild retries until it succeeds.
    pub last_error: Option<Arc<StorageError>>,
}

/// Result of a completed rebuild.
#[derive(Debug, Clone)]
pub struct RebuildReport<S> {
    /// Number of events applied by this run; events that an earlier, interrupted run applied do not count.
    pub applied_events: u64,
    /// Number of transactions applied by this run.
    pub applied_batches: u64,
    /// Streams in quarantine.
    pub quarantined: Vec<QuarantinedCommit<S>>,
}

/// Error that ended a rebuild. Running the rebuild again continues it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The storage cannot be read, or the synchronizer has stopped.
    #[error("the rebuild was interrupted; run it again to continue")]
    Interrupted(#[from] FollowError),
    /// The event storage or the view's database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl<St, V> Rebuild<St, V>
where
    St: ScanStorage<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload> + Clone,
    V: ViewStore + Clone,
{
    /// Creates a rebuild of `view` from all events in `storage`.
    pub fn new(storage: St, view: V) -> Self {
        Self {
            storage,
            view,
            settings: RebuildSettings::default(),
            cutoff: Cutoff::Latest,
            environment: Environment::default(),
        }
    }

    /// Sets the settings.
    #[must_use]
    pub fn with(mut self, settings: RebuildSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the clock, the randomness and the weight function.
    #[must_use]
    pub fn with_environment(mut self, environment: Environment<V>) -> Self {
        self.environment = environment;
        self
    }

    /// Limits each stream to the commits before the first one that is later than `time`.
    #[must_use]
    pub fn up_to_time(mut self, time: Timestamp) -> Self {
        self.cutoff = Cutoff::Time(time);
        self
    }

    /// Limits each stream to the commits that end at or before its sequence in `token`. Streams that the token does not
    /// name are left out.
    #[must_use]
    pub fn up_to_token(mut self, token: Token) -> Self {
        self.cutoff = Cutoff::Token(token);
        self
    }

    /// Builds the view, and reports to `progress` at the interval of the settings and at the end.
    ///
    /// # Errors
    ///
    /// [`RebuildError::Storage`] if the heads of the streams or the quarantines cannot be read;
    /// [`RebuildError::Interrupted`] if the scan fails for good or the circuit breaker stops the view. While a database
    /// cannot be reached or has no space, the rebuild retries without limit and reports the error to `progress`.
    pub async fn run(
        &self,
        mut progress: impl FnMut(RebuildProgress),
    ) -> Result<RebuildReport<V::Sequence>, RebuildError> {
        let settings = SynchronizerSettings {
            sweep_every: None,
            retry_quarantined_at_start: false,
            ..self.settings.synchronizer.clone()
        };
        let environment = self.environment.clone();
        let clock = Arc::clone(&environment.clock);
        let total = self.count().await?;
        let synchronizer =
            Synchronizer::start_with(self.storage.clone(), self.view.clone(), settings, environment);
        let read = Arc::new(AtomicU64::new(0));
        let segments = self.settings.segments.max(1);
        let scan = ScanFeed::new(self.storage.clone(), segments, segments as usize);
        let definition = self.view.definition().clone();
        let feed = CutoffFeed::new(scan, definition, self.cutoff.clone(), Arc::clone(&read));
        let mut following = Box::pin(async {
            // Of an interrupted run, whose code may have been corrected since. The scan delivers their commits.
            if self.settings.synchronizer.retry_quarantined_at_start {
                synchronizer.release_all().await;
            }
            synchronizer.follow(feed).await
        });
        let mut report = |last_error: Option<Arc<StorageError>>| {
            let now = RebuildProgress { read: read.load(Ordering::Relaxed), total, last_error };
            let last_error = now.last_error.as_deref().map(|error| describe(error));
            tracing::info!(view = %self.view.definition(), read = now.read, total, last_error, "rebuilding the view");
            progress(now);
        };
        loop {
            // Reading the status can wait for the view's database; the rebuild continues meanwhile.
            let next_error = async {
                clock.sleep(self.settings.progress_every).await;
                match synchronizer.status().await {
                    Ok(status) => status.last_error(),
                    // The status reads the quarantines from the view's database.
                    Err(error) => Some(Arc::new(error)),
                }
            };
            match future::select(following, Box::pin(next_error)).await {
                Either::Left((followed, _)) => {
                    followed?;
                    break;
                }
                Either::Right((last_error, rest)) => {
                    following = rest;
                    report(last_error);
                }
            }
        }
        report(None);
        let status = synchronizer.status().await?;
        synchronizer.stop().await;
        Ok(RebuildReport {
            applied_events: status.applied_events,
            applied_batches: status.applied_batches,
            quarantined: status.quarantined,
        })
    }

    /// Counts the events of the streams that the view follows, from their heads, because streams have no holes.
    async fn count(&self) -> Result<u64, StorageError> {
        let heads = self.storage.heads(Segment::ALL);
        let definition = self.view.definition();
        let counts = heads.map_ok(|page| {
            let followed = page.into_iter().filter(|(key, _)| {
                StreamName::of(key).is_ok_and(|stream| definition.follows(stream.category()))
            });
            followed.map(|(_, head)| head.sequence.number()).sum::<u64>()
        });
        counts.try_fold(0, |total, count| future::ok(total + count)).await
    }
}

impl<St, V: ViewStore> fmt::Debug for Rebuild<St, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rebuild").field("view", self.view.definition()).finish_non_exhaustive()
    }
}

//! Building a fresh view from everything that is stored.

mod cut;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cut::{Cut, Until};
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

/// Builds a view from a scan of all streams, in large batches, several segments at once.
///
/// The view is a fresh version beside the one that serves, which is not touched: nothing is deleted, and readers notice
/// nothing. A rebuild that was killed goes on where it was when it is run again, because the positions of the view tell what
/// is done. What is stored while it runs may be in or not; a [`Synchronizer`] of the same view catches up and
/// [takes over](Synchronizer::take_over).
///
/// With [`up_to_time`](Rebuild::up_to_time) or [`up_to_token`](Rebuild::up_to_token) the view is built as it was then, to look
/// at it offline; such a version is not to be kept up to date or taken over.
pub struct Rebuild<St, V: ViewStore> {
    storage: St,
    view: V,
    settings: RebuildSettings,
    until: Until,
    environment: Environment<V>,
}

/// How a view is rebuilt.
#[derive(Debug, Clone, PartialEq)]
pub struct RebuildSettings {
    /// How many parts of the storage are read side by side, at least 1.
    pub segments: u32,
    /// How often progress is told.
    pub progress_every: Duration,
    /// How batches are applied; nothing is swept.
    pub synchronizer: SynchronizerSettings,
}

/// 4 segments, progress each second, batches of 50,000 events or two seconds.
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

/// How far a rebuild is, and what is in its way.
#[derive(Debug, Clone)]
pub struct RebuildProgress {
    /// Events that were read so far, of streams that the view follows.
    pub read: u64,
    /// How many there are, as of the beginning.
    pub total: u64,
    /// The error that holds the rebuild up at the moment, such as a full disk; it is retried until it passes.
    pub last_error: Option<Arc<StorageError>>,
}

/// What a rebuild came to.
#[derive(Debug, Clone)]
pub struct RebuildReport<S> {
    /// Events that it applied; those that were applied before it was interrupted do not count.
    pub applied_events: u64,
    /// Transactions that it applied.
    pub applied_batches: u64,
    /// Streams that the view cannot apply as a whole.
    pub quarantined: Vec<QuarantinedCommit<S>>,
}

/// Why a rebuild did not come to its end. It can be run again, and goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The storage could not be read, or the view could not be kept.
    #[error("the rebuild was interrupted")]
    Interrupted(#[from] FollowError),
    /// The storage or the view's database could not be worked with.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl<St, V> Rebuild<St, V>
where
    St: ScanStorage<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload> + Clone,
    V: ViewStore + Clone,
{
    /// A rebuild of `view` from everything in `storage`.
    pub fn new(storage: St, view: V) -> Self {
        Self {
            storage,
            view,
            settings: RebuildSettings::default(),
            until: Until::Latest,
            environment: Environment::default(),
        }
    }

    /// The same with other settings.
    #[must_use]
    pub fn with(mut self, settings: RebuildSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The same with a clock, randomness and weights of the caller's.
    #[must_use]
    pub fn with_environment(mut self, environment: Environment<V>) -> Self {
        self.environment = environment;
        self
    }

    /// The same, but of each stream only the commits before the first that is later than `time`.
    #[must_use]
    pub fn up_to_time(mut self, time: Timestamp) -> Self {
        self.until = Until::Time(time);
        self
    }

    /// The same, but of each stream only the commits that end at the token's sequence or before; nothing of streams that it
    /// does not name.
    #[must_use]
    pub fn up_to_token(mut self, token: Token) -> Self {
        self.until = Until::Token(token);
        self
    }

    /// Builds the view, and tells `progress` from time to time.
    ///
    /// # Errors
    ///
    /// [`RebuildError`]. A database that cannot be reached, or has no room, is waited for, for ever; `progress` hears of it.
    pub async fn run(
        &self,
        mut progress: impl FnMut(RebuildProgress),
    ) -> Result<RebuildReport<V::Sequence>, RebuildError> {
        let settings = SynchronizerSettings { sweep_every: None, ..self.settings.synchronizer.clone() };
        let environment = self.environment.clone();
        let clock = Arc::clone(&environment.clock);
        let total = self.count().await?;
        let synchronizer =
            Synchronizer::start_with(self.storage.clone(), self.view.clone(), settings, environment);
        let read = Arc::new(AtomicU64::new(0));
        let segments = self.settings.segments.max(1);
        let scan = ScanFeed::new(self.storage.clone(), segments, segments as usize);
        let definition = self.view.definition().clone();
        let feed = Cut::new(scan, definition, self.until.clone(), Arc::clone(&read));
        let mut following = Box::pin(synchronizer.follow(feed));
        let mut tell = |last_error: Option<Arc<StorageError>>| {
            let now = RebuildProgress { read: read.load(Ordering::Relaxed), total, last_error };
            let last_error = now.last_error.as_deref().map(|error| describe(error));
            tracing::info!(view = %self.view.definition(), read = now.read, total, last_error, "rebuilding");
            progress(now);
        };
        loop {
            // The status waits for the view's database as well; the rebuild goes on meanwhile.
            let asking = async {
                clock.sleep(self.settings.progress_every).await;
                match synchronizer.status().await {
                    Ok(status) => status.last_error(),
                    // It is the view's database that knows what is in quarantine.
                    Err(error) => Some(Arc::new(error)),
                }
            };
            match future::select(following, Box::pin(asking)).await {
                Either::Left((followed, _)) => {
                    followed?;
                    break;
                }
                Either::Right((last_error, rest)) => {
                    following = rest;
                    tell(last_error);
                }
            }
        }
        tell(None);
        let status = synchronizer.status().await?;
        synchronizer.stop().await;
        Ok(RebuildReport {
            applied_events: status.applied_events,
            applied_batches: status.applied_batches,
            quarantined: status.quarantined,
        })
    }

    /// How many events there are of streams that the view follows: streams have no holes, so their heads tell.
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

//! Settings and environment of a synchronizer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Randomness, SystemClock};
use crate::commit::Commit;
use crate::retry::BackoffSettings;
use crate::stream::Sequence;
use crate::view::ViewStore;

/// Settings of a [`Synchronizer`](crate::Synchronizer). Within these limits, a batch contains all commits that wait:
/// few when little happens, and many when the view is behind.
#[derive(Debug, Clone, PartialEq)]
pub struct SynchronizerSettings {
    /// Number of workers that apply batches in parallel, at least 1. Each stream belongs to one worker. Default: 4.
    pub workers: usize,
    /// Maximum number of events of one transaction. A commit is never split, so the last one may exceed the
    /// limit. Default: 10,000.
    pub events_per_batch: usize,
    /// Maximum number of bytes of one transaction, as the [weight function](Environment::weighing) counts them. The
    /// last commit may exceed the limit. Default: 16 MiB.
    pub bytes_per_batch: usize,
    /// Target duration of one transaction; batch sizes adapt to it. Default: 500 ms.
    pub time_per_batch: Duration,
    /// Interval between two sweeps, of which the first begins at the start. With `None`, a commit that a feed lost at
    /// the end of a stream stays missing until the stream grows. Default: 60 s.
    pub sweep_every: Option<Duration>,
    /// Backoff between retries of transient failures, which are retried without limit. Default: 10 ms to 5 s.
    pub retry: BackoffSettings,
    /// Condition under which the view stops because too many streams go into quarantine.
    pub breaker: CircuitBreaker,
    /// True if the streams that are in quarantine at the start are released and tried once again, in the background. Those
    /// that fail go back into quarantine. Default: true.
    pub retry_quarantined_at_start: bool,
    /// Number of positions to cache, which saves reading them from the view's database. Default: 100,000.
    pub remembered_positions: usize,
}

impl Default for SynchronizerSettings {
    fn default() -> Self {
        Self {
            workers: 4,
            events_per_batch: 10_000,
            bytes_per_batch: 16 << 20,
            time_per_batch: Duration::from_millis(500),
            sweep_every: Some(Duration::from_secs(60)),
            retry: BackoffSettings::default(),
            breaker: CircuitBreaker::default(),
            retry_quarantined_at_start: true,
            remembered_positions: 100_000,
        }
    }
}

/// Stops a view if too many of its streams go into quarantine. Then the likely cause is a bad deployment, and not a bad
/// event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CircuitBreaker {
    /// Minimum number of recently quarantined streams at which the breaker can trip. Default: 10.
    pub streams: usize,
    /// Share of the recently processed streams, from 0 to 1. The breaker trips if a larger share went into quarantine;
    /// a value of 1 or more disables it. Default: 0.5.
    pub share: f64,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { streams: 10, share: 0.5 }
    }
}

/// Clock, randomness and weight function of a synchronizer.
pub struct Environment<V: ViewStore> {
    /// Clock for times and waits.
    pub clock: Arc<dyn Clock>,
    /// Randomness for the jitter of retries.
    pub randomness: Arc<Randomness>,
    weigh: Arc<Weigh<V::Key, V::Sequence, V::Payload>>,
}

type Weigh<K, S, E> = dyn Fn(&Commit<K, S, E>) -> usize + Send + Sync;

impl<V: ViewStore> Environment<V> {
    /// Sets the weight function, which returns the size of a commit in bytes.
    #[must_use]
    pub fn weighing(
        mut self,
        weigh: impl Fn(&Commit<V::Key, V::Sequence, V::Payload>) -> usize + Send + Sync + 'static,
    ) -> Self {
        self.weigh = Arc::new(weigh);
        self
    }

    pub(super) fn weight(&self, commit: &Commit<V::Key, V::Sequence, V::Payload>) -> usize {
        (self.weigh)(commit)
    }
}

impl<V: ViewStore> Clone for Environment<V> {
    fn clone(&self) -> Self {
        let Self { clock, randomness, weigh } = self;
        Self { clock: Arc::clone(clock), randomness: Arc::clone(randomness), weigh: Arc::clone(weigh) }
    }
}

/// Clock and randomness of the machine. The weight of a commit is the shallow size of its payloads, without the memory
/// that they point to.
impl<V: ViewStore> Default for Environment<V> {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            randomness: Arc::new(Randomness::from_system()),
            weigh: Arc::new(shallow_weight),
        }
    }
}

fn shallow_weight<K, S: Sequence, E>(commit: &Commit<K, S, E>) -> usize {
    commit.len() * size_of::<E>()
}

impl<V: ViewStore> fmt::Debug for Environment<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

//! How a synchronizer works.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Randomness, SystemClock};
use crate::commit::Commit;
use crate::retry::BackoffSettings;
use crate::stream::Sequence;
use crate::view::ViewStore;

/// How a [`Synchronizer`](crate::Synchronizer) works. Batches are what is at hand, within these limits: small when
/// little happens, large when the view is behind.
#[derive(Debug, Clone, PartialEq)]
pub struct SynchronizerSettings {
    /// How many workers apply side by side, at least 1. A stream always goes to the same one.
    pub workers: usize,
    /// How many events a transaction applies at most; a commit is never cut.
    pub events_per_batch: usize,
    /// How many bytes a transaction applies at most, as far as commits are [weighed](Environment::weighing).
    pub bytes_per_batch: usize,
    /// How long a transaction should take; batches become smaller and larger to keep to it.
    pub time_per_batch: Duration,
    /// How often heads are compared with positions, the first time at once; never if `None`, and then a change that the feed
    /// lost at the end of a stream is missing until the stream grows.
    pub sweep_every: Option<Duration>,
    /// How long to wait before trying again what may go well another time, at least and at most. It is tried for ever.
    pub retry: BackoffSettings,
    /// When to stop because the view cannot apply much of what it is given.
    pub breaker: CircuitBreaker,
    /// How many positions are remembered, so that they need not be asked for.
    pub remembered_positions: usize,
}

/// 4 workers, batches of 10,000 events, 16 MiB or half a second, and a sweep a minute.
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
            remembered_positions: 100_000,
        }
    }
}

/// Stops a view that cannot apply much of what it is given: that is a bad deployment, not bad events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CircuitBreaker {
    /// How many streams must have gone into quarantine before it can trip.
    pub streams: usize,
    /// The share of all streams met that must have gone into quarantine, between 0 and 1; more than 1 for never.
    pub share: f64,
}

/// More than half of the streams, and at least 10.
impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { streams: 10, share: 0.5 }
    }
}

/// What a synchronizer is given to tell the time, to draw lots, and to weigh commits.
pub struct Environment<V: ViewStore> {
    /// Tells the time and waits.
    pub clock: Arc<dyn Clock>,
    /// Spreads retries.
    pub randomness: Arc<Randomness>,
    weigh: Arc<Weigh<V::Key, V::Sequence, V::Payload>>,
}

type Weigh<K, S, E> = dyn Fn(&Commit<K, S, E>) -> usize + Send + Sync;

impl<V: ViewStore> Environment<V> {
    /// The same, but with commits weighed by `weigh`, in bytes.
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

/// The machine's clock and randomness; a commit weighs what its payloads take up without what they point to.
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

//! A change feed that repeats, reorders, loses and delays changes, from a seed.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventsrc_core::clock::Clock;
use eventsrc_core::feed::{Acknowledgement, Change, ChangeFeed, Delivery};
use eventsrc_core::{StorageError, StreamName};
use futures::FutureExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Rates and kinds of faults of a feed. Rates are between 0 (never) and 1 (always).
#[derive(Debug, Clone, PartialEq)]
pub struct FeedFaults {
    /// The seed of all random draws.
    pub seed: u64,
    /// Rate of changes that are delivered twice.
    pub repeated: f64,
    /// Rate of changes that are delivered after later ones.
    pub reordered: f64,
    /// Largest number of later changes that precede a repeated or reordered one.
    pub window: usize,
    /// Rate of changes that are lost silently.
    pub dropped: f64,
    /// Rate of changes at which their stream falls silent: the change and all later ones of the stream are lost. The
    /// tail of a stream is lost in this way, which leaves no gap.
    pub silenced: f64,
    /// Rate of deliveries that are delayed.
    pub delayed: f64,
    /// Longest delay.
    pub longest_delay: Duration,
}

impl FeedFaults {
    /// Returns rates without any faults.
    pub fn none() -> Self {
        Self {
            seed: 0,
            repeated: 0.0,
            reordered: 0.0,
            window: 0,
            dropped: 0.0,
            silenced: 0.0,
            delayed: 0.0,
            longest_delay: Duration::ZERO,
        }
    }

    /// Returns rates at which some hundred changes get many faults of every kind.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            repeated: 0.2,
            reordered: 0.3,
            window: 10,
            dropped: 0.1,
            silenced: 0.01,
            delayed: 0.1,
            longest_delay: Duration::from_millis(2),
        }
    }
}

/// Numbers of faults injected into a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InjectedInFeed {
    /// Changes that were to be delivered twice.
    pub repeated: u64,
    /// Changes that were to be delivered after later ones.
    pub reordered: u64,
    /// Changes that were lost on their own.
    pub dropped: u64,
    /// Streams that fell silent.
    pub silenced: u64,
    /// Changes that were lost because their stream was silent.
    pub unheard: u64,
    /// Delays of deliveries.
    pub delayed: u64,
}

impl fmt::Display for InjectedInFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repeated, reordered, dropped, silenced, unheard, delayed } = self;
        write!(
            f,
            "{repeated} changes repeated, {reordered} reordered, {dropped} dropped, {unheard} lost after {silenced} streams fell \
             silent, {delayed} deliveries delayed"
        )
    }
}

/// Draws faults for feeds and counts them.
///
/// A feed that replaces another one shares its source, so that it does not repeat the same faults.
pub struct FeedFaultSource {
    faults: FeedFaults,
    clock: Arc<dyn Clock>,
    draws: Mutex<StdRng>,
    repeated: AtomicU64,
    reordered: AtomicU64,
    dropped: AtomicU64,
    silenced: AtomicU64,
    unheard: AtomicU64,
    delayed: AtomicU64,
}

impl FeedFaultSource {
    /// Creates a source with these rates. Delays use `clock`.
    pub fn new(faults: FeedFaults, clock: Arc<dyn Clock>) -> Self {
        let draws = Mutex::new(StdRng::seed_from_u64(faults.seed));
        let zero = AtomicU64::default;
        Self {
            faults,
            clock,
            draws,
            repeated: zero(),
            reordered: zero(),
            dropped: zero(),
            silenced: zero(),
            unheard: zero(),
            delayed: zero(),
        }
    }

    /// Returns the numbers of faults injected so far.
    pub fn injected(&self) -> InjectedInFeed {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        InjectedInFeed {
            repeated: count(&self.repeated),
            reordered: count(&self.reordered),
            dropped: count(&self.dropped),
            silenced: count(&self.silenced),
            unheard: count(&self.unheard),
            delayed: count(&self.delayed),
        }
    }

    fn draw_fault(&self, rate: f64, count: &AtomicU64) -> bool {
        // No draw at rate 0, so that a disabled fault does not shift the draws of the others.
        let is_fault = rate > 0.0 && self.draw(|draws| draws.random::<f64>()) < rate;
        if is_fault {
            count.fetch_add(1, Ordering::Relaxed);
        }
        is_fault
    }

    /// Draws the number of changes by which one is late, at least 1.
    fn draw_delay(&self) -> usize {
        self.draw(|draws| draws.random_range(1..=self.faults.window.max(1)))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.draws.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for FeedFaultSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedFaultSource")
            .field("faults", &self.faults)
            .field("injected", &self.injected())
            .finish_non_exhaustive()
    }
}

/// A feed that forwards the changes of another feed, and repeats, reorders, loses and delays some of them.
///
/// The contract of [`ChangeFeed`] allows every one of these faults. Losses are silent, so the receiver must find them.
/// A change is held back only while the other feed has more changes ready, so that no change waits for one that may never
/// come. A lost change counts as processed when its delivery is acknowledged.
///
/// ```
/// use std::sync::Arc;
///
/// use eventsrc_core::{MemoryStorage, StreamName};
/// use eventsrc_core::clock::SystemClock;
/// use eventsrc_core::feed::NotifyingStorage;
/// use eventsrc_testkit::{FaultyFeed, FeedFaults};
///
/// let storage = NotifyingStorage::new(MemoryStorage::<StreamName, u64, String>::default());
/// let feed = FaultyFeed::new(storage.subscribe(1_000), FeedFaults::seeded(7), Arc::new(SystemClock));
/// assert_eq!(feed.source().injected().dropped, 0);
/// ```
pub struct FaultyFeed<F: ChangeFeed> {
    feed: F,
    source: Arc<FeedFaultSource>,
    held: Vec<Held<F>>,
    /// Number of changes received from the other feed.
    received: usize,
    ended: bool,
    silent: HashSet<StreamName>,
    /// True if the delay before the next delivery is over.
    has_delayed: bool,
}

/// A change to deliver once the other feed has delivered `due` changes.
struct Held<F: ChangeFeed> {
    due: usize,
    change: Change<F::Key, F::Sequence, F::Payload>,
    /// `None` for a repetition.
    part: Option<PendingChange>,
}

impl<F: ChangeFeed> FaultyFeed<F> {
    /// Wraps `feed` with these faults. Delays use `clock`.
    pub fn new(feed: F, faults: FeedFaults, clock: Arc<dyn Clock>) -> Self {
        Self::with(feed, Arc::new(FeedFaultSource::new(faults, clock)))
    }

    /// Wraps `feed` with faults from `source`, which several feeds may share.
    pub fn with(feed: F, source: Arc<FeedFaultSource>) -> Self {
        Self {
            feed,
            source,
            held: Vec::new(),
            received: 0,
            ended: false,
            silent: HashSet::new(),
            has_delayed: false,
        }
    }

    /// Returns the source of the faults, which also counts them.
    pub fn source(&self) -> &Arc<FeedFaultSource> {
        &self.source
    }

    /// Takes in a delivery of the other feed.
    fn receive(&mut self, delivery: Delivery<F::Key, F::Sequence, F::Payload>) {
        let source = Arc::clone(&self.source);
        let faults = &source.faults;
        let parts = SharedAcknowledgement::of(delivery.changes.len(), delivery.acknowledgement);
        for (change, part) in delivery.changes.into_iter().zip(parts) {
            self.received += 1;
            if self.is_unheard(&change) || source.draw_fault(faults.dropped, &source.dropped) {
                part.acknowledge();
                continue;
            }
            let reordered = faults.window > 0 && source.draw_fault(faults.reordered, &source.reordered);
            let due = self.received + if reordered { source.draw_delay() } else { 0 };
            if source.draw_fault(faults.repeated, &source.repeated) {
                self.held.push(Held {
                    due: due + source.draw_delay(),
                    change: clone_change(&change),
                    part: None,
                });
            }
            self.held.push(Held { due, change, part: Some(part) });
        }
    }

    /// Returns true if the change is lost because its stream is silent, or falls silent with this change.
    fn is_unheard(&mut self, change: &Change<F::Key, F::Sequence, F::Payload>) -> bool {
        let key: &F::Key = match change {
            Change::Commit(commit) => &commit.key,
            Change::Stream(key) => key,
            Change::Anything => return false,
        };
        let Ok(stream) = StreamName::of(key) else { return false };
        let source = &self.source;
        let unheard = self.silent.contains(&stream) || {
            let falls_silent = source.draw_fault(source.faults.silenced, &source.silenced);
            falls_silent && self.silent.insert(stream)
        };
        source.unheard.fetch_add(unheard.into(), Ordering::Relaxed);
        unheard
    }

    /// Returns the changes that are due, or all of them.
    fn deliver(&mut self, all: bool) -> Option<Delivery<F::Key, F::Sequence, F::Payload>> {
        let until = if all { usize::MAX } else { self.received };
        let mut due: Vec<_> = self.held.extract_if(.., |held| held.due <= until).collect();
        if due.is_empty() {
            return None;
        }
        due.sort_by_key(|held| held.due);
        let (changes, parts): (_, Vec<_>) = due.into_iter().map(|held| (held.change, held.part)).unzip();
        let acknowledge_all = move || parts.into_iter().flatten().for_each(PendingChange::acknowledge);
        self.has_delayed = false;
        Some(Delivery { changes, acknowledgement: Acknowledgement::new(acknowledge_all) })
    }
}

impl<F: ChangeFeed> ChangeFeed for FaultyFeed<F> {
    type Key = F::Key;
    type Sequence = F::Sequence;
    type Payload = F::Payload;

    async fn next(&mut self) -> Result<Option<Delivery<F::Key, F::Sequence, F::Payload>>, StorageError> {
        if !self.has_delayed && self.source.draw_fault(self.source.faults.delayed, &self.source.delayed) {
            let part = self.source.draw(|draws| draws.random::<f64>());
            // Drawn once for each delivery, even if a caller stops waiting for it.
            self.has_delayed = true;
            self.source.clock.sleep(self.source.faults.longest_delay.mul_f64(part)).await;
        }
        self.has_delayed = true;
        loop {
            if self.ended {
                return Ok(self.deliver(true));
            }
            let next = if self.held.is_empty() {
                Some(self.feed.next().await)
            } else {
                self.feed.next().now_or_never()
            };
            match next {
                Some(Ok(Some(delivery))) => {
                    self.receive(delivery);
                    if let Some(delivery) = self.deliver(false) {
                        return Ok(Some(delivery));
                    }
                }
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(error),
                None => return Ok(self.deliver(true)),
            }
        }
    }
}

impl<F: ChangeFeed> fmt::Debug for FaultyFeed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyFeed").field("source", &self.source).finish_non_exhaustive()
    }
}

fn clone_change<K: Clone, S, E>(change: &Change<K, S, E>) -> Change<K, S, E> {
    match change {
        Change::Commit(commit) => Change::Commit(Arc::clone(commit)),
        Change::Stream(key) => Change::Stream(key.clone()),
        Change::Anything => Change::Anything,
    }
}

/// One change of a delivery until it is processed. The delivery is acknowledged once all its changes are.
struct PendingChange(Arc<SharedAcknowledgement>);

struct SharedAcknowledgement {
    pending: AtomicUsize,
    acknowledgement: Option<Acknowledgement>,
}

impl SharedAcknowledgement {
    fn of(changes: usize, acknowledgement: Acknowledgement) -> impl Iterator<Item = PendingChange> {
        let pending = AtomicUsize::new(changes);
        let parts = Arc::new(Self { pending, acknowledgement: Some(acknowledgement) });
        std::iter::repeat_with(move || PendingChange(Arc::clone(&parts))).take(changes)
    }
}

impl PendingChange {
    fn acknowledge(self) {
        self.0.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for SharedAcknowledgement {
    fn drop(&mut self) {
        if *self.pending.get_mut() == 0
            && let Some(acknowledgement) = self.acknowledgement.take()
        {
            acknowledgement.acknowledge();
        }
    }
}

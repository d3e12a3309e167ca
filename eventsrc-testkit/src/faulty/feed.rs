//! A change feed that repeats, reorders, loses and delays what it carries, from a seed.

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

/// What a feed does to the changes that it carries. Rates are between 0 (never) and 1 (always).
#[derive(Debug, Clone, PartialEq)]
pub struct FeedFaults {
    /// The source of all that is drawn.
    pub seed: u64,
    /// Changes that are handed over, and again later.
    pub repeated: f64,
    /// Changes that are handed over after later ones.
    pub reordered: f64,
    /// By how many changes a repeated or reordered one is late, at most.
    pub window: usize,
    /// Changes that are lost, without a word.
    pub dropped: f64,
    /// Changes with which their stream falls silent: they are lost, and so is whatever comes of the stream later. This is how
    /// a tail is lost, which leaves no gap.
    pub silenced: f64,
    /// Deliveries that come after a while.
    pub delayed: f64,
    /// The longest delay.
    pub longest_delay: Duration,
}

impl FeedFaults {
    /// No faults at all.
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

    /// Faults of every kind, each often enough that some hundred changes meet many.
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

/// How many faults were injected into a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InjectedInFeed {
    /// Changes that were handed over again.
    pub repeated: u64,
    /// Changes that were to come after later ones.
    pub reordered: u64,
    /// Changes that were lost by themselves.
    pub dropped: u64,
    /// Streams that fell silent.
    pub silenced: u64,
    /// Changes that were lost because their stream was silent.
    pub unheard: u64,
    /// Deliveries that took a while.
    pub delayed: u64,
}

impl fmt::Display for InjectedInFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repeated, reordered, dropped, silenced, unheard, delayed } = self;
        write!(
            f,
            "{repeated} changes repeated, {reordered} reordered, {dropped} dropped, {unheard} unheard of {silenced} streams \
             that fell silent, {delayed} deliveries delayed"
        )
    }
}

/// Draws faults for feeds and counts them. A feed that takes over from another shares its source, so as not to begin anew.
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
    /// Draws these faults; delays are on this clock.
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

    /// What was injected so far.
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

    fn strikes(&self, rate: f64, count: &AtomicU64) -> bool {
        // Nothing is drawn for what never happens, so that a fault that is switched off does not move the others.
        let strikes = rate > 0.0 && self.draw(|draws| draws.random::<f64>()) < rate;
        if strikes {
            count.fetch_add(1, Ordering::Relaxed);
        }
        strikes
    }

    /// By how many changes one is late, at least 1.
    fn lateness(&self) -> usize {
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

/// A feed that hands over what another one brings, but repeats, reorders, loses and delays changes.
///
/// Every fault is one that a [`ChangeFeed`] may have, and losses are silent: whatever keeps a view has to find them by
/// itself. Changes are held back only while the other feed brings more at once, so that none waits for what may never
/// come. A change that is lost counts as dealt with when the delivery that had it is acknowledged.
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
    /// How many changes the other feed has brought.
    brought: usize,
    ended: bool,
    silent: HashSet<StreamName>,
    /// Whether the delay before the next delivery is over.
    rested: bool,
}

/// A change that is to be handed over once the other feed has brought `due` changes.
struct Held<F: ChangeFeed> {
    due: usize,
    change: Change<F::Key, F::Sequence, F::Payload>,
    /// There unless this is a repetition.
    part: Option<Part>,
}

impl<F: ChangeFeed> FaultyFeed<F> {
    /// `feed` with these faults; delays are on this clock.
    pub fn new(feed: F, faults: FeedFaults, clock: Arc<dyn Clock>) -> Self {
        Self::with(feed, Arc::new(FeedFaultSource::new(faults, clock)))
    }

    /// `feed` with faults from a source that others draw from as well.
    pub fn with(feed: F, source: Arc<FeedFaultSource>) -> Self {
        Self {
            feed,
            source,
            held: Vec::new(),
            brought: 0,
            ended: false,
            silent: HashSet::new(),
            rested: false,
        }
    }

    /// Where the faults come from, and are counted.
    pub fn source(&self) -> &Arc<FeedFaultSource> {
        &self.source
    }

    /// Takes in what the other feed brought.
    fn take(&mut self, delivery: Delivery<F::Key, F::Sequence, F::Payload>) {
        let source = Arc::clone(&self.source);
        let faults = &source.faults;
        let parts = Parts::of(delivery.changes.len(), delivery.acknowledgement);
        for (change, part) in delivery.changes.into_iter().zip(parts) {
            self.brought += 1;
            if self.is_unheard(&change) || source.strikes(faults.dropped, &source.dropped) {
                part.settle();
                continue;
            }
            let reordered = faults.window > 0 && source.strikes(faults.reordered, &source.reordered);
            let due = self.brought + if reordered { source.lateness() } else { 0 };
            if source.strikes(faults.repeated, &source.repeated) {
                self.held.push(Held { due: due + source.lateness(), change: again(&change), part: None });
            }
            self.held.push(Held { due, change, part: Some(part) });
        }
    }

    /// Whether the change is lost because its stream is silent, or falls silent with it.
    fn is_unheard(&mut self, change: &Change<F::Key, F::Sequence, F::Payload>) -> bool {
        let key: &F::Key = match change {
            Change::Commit(commit) => &commit.key,
            Change::Stream(key) => key,
            Change::Anything => return false,
        };
        let Ok(stream) = StreamName::of(key) else { return false };
        let source = &self.source;
        let unheard = self.silent.contains(&stream) || {
            let falls_silent = source.strikes(source.faults.silenced, &source.silenced);
            falls_silent && self.silent.insert(stream)
        };
        source.unheard.fetch_add(unheard.into(), Ordering::Relaxed);
        unheard
    }

    /// The changes that are held back until now, or all of them.
    fn hand_over(&mut self, all: bool) -> Option<Delivery<F::Key, F::Sequence, F::Payload>> {
        let until = if all { usize::MAX } else { self.brought };
        let mut due: Vec<_> = self.held.extract_if(.., |held| held.due <= until).collect();
        if due.is_empty() {
            return None;
        }
        due.sort_by_key(|held| held.due);
        let (changes, parts): (_, Vec<_>) = due.into_iter().map(|held| (held.change, held.part)).unzip();
        let tell = move || parts.into_iter().flatten().for_each(Part::settle);
        self.rested = false;
        Some(Delivery { changes, acknowledgement: Acknowledgement::new(tell) })
    }
}

impl<F: ChangeFeed> ChangeFeed for FaultyFeed<F> {
    type Key = F::Key;
    type Sequence = F::Sequence;
    type Payload = F::Payload;

    async fn next(&mut self) -> Result<Option<Delivery<F::Key, F::Sequence, F::Payload>>, StorageError> {
        if !self.rested && self.source.strikes(self.source.faults.delayed, &self.source.delayed) {
            let part = self.source.draw(|draws| draws.random::<f64>());
            // Drawn once for each delivery, whoever stops waiting for it.
            self.rested = true;
            self.source.clock.sleep(self.source.faults.longest_delay.mul_f64(part)).await;
        }
        self.rested = true;
        loop {
            if self.ended {
                return Ok(self.hand_over(true));
            }
            let next = if self.held.is_empty() {
                Some(self.feed.next().await)
            } else {
                self.feed.next().now_or_never()
            };
            match next {
                Some(Ok(Some(delivery))) => {
                    self.take(delivery);
                    if let Some(delivery) = self.hand_over(false) {
                        return Ok(Some(delivery));
                    }
                }
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(error),
                None => return Ok(self.hand_over(true)),
            }
        }
    }
}

impl<F: ChangeFeed> fmt::Debug for FaultyFeed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyFeed").field("source", &self.source).finish_non_exhaustive()
    }
}

fn again<K: Clone, S, E>(change: &Change<K, S, E>) -> Change<K, S, E> {
    match change {
        Change::Commit(commit) => Change::Commit(Arc::clone(commit)),
        Change::Stream(key) => Change::Stream(key.clone()),
        Change::Anything => Change::Anything,
    }
}

/// One change of a delivery, until it is dealt with. The delivery is acknowledged once all are.
struct Part(Arc<Parts>);

struct Parts {
    unsettled: AtomicUsize,
    acknowledgement: Option<Acknowledgement>,
}

impl Parts {
    fn of(changes: usize, acknowledgement: Acknowledgement) -> impl Iterator<Item = Part> {
        let unsettled = AtomicUsize::new(changes);
        let parts = Arc::new(Self { unsettled, acknowledgement: Some(acknowledgement) });
        std::iter::repeat_with(move || Part(Arc::clone(&parts))).take(changes)
    }
}

impl Part {
    fn settle(self) {
        self.0.unsettled.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if *self.unsettled.get_mut() == 0
            && let Some(acknowledgement) = self.acknowledgement.take()
        {
            acknowledgement.acknowledge();
        }
    }
}

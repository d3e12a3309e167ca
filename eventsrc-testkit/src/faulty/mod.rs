//! Storages that fail now and then, from a seed.

mod feed;
mod snapshots;
mod storage;
mod view;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventsrc_core::clock::Clock;
use eventsrc_core::{ErrorKind, StorageError};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use feed::{FaultyFeed, FeedFaultSource, FeedFaults, InjectedInFeed};
pub use snapshots::FaultySnapshots;
pub use storage::Faulty;
pub use view::FaultyView;

/// How often calls fail, and how. Rates are between 0 (never) and 1 (always).
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// The source of all that is drawn; every injected error names it.
    pub seed: u64,
    /// Calls that fail before anything is done.
    pub failed_before: f64,
    /// Puts that are done, and reported as failed.
    pub reply_lost: f64,
    /// Reads of several pages that break off after some of them.
    pub broken_off: f64,
    /// Calls that take a while, before or after they are done.
    pub delayed: f64,
    /// The longest delay.
    pub longest_delay: Duration,
}

impl Faults {
    /// No faults at all.
    pub fn none() -> Self {
        let longest_delay = Duration::ZERO;
        Self { seed: 0, failed_before: 0.0, reply_lost: 0.0, broken_off: 0.0, delayed: 0.0, longest_delay }
    }

    /// Faults of every kind, each often enough that a run of some hundred calls meets many.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            failed_before: 0.15,
            reply_lost: 0.15,
            broken_off: 0.3,
            delayed: 0.1,
            longest_delay: Duration::from_millis(2),
        }
    }
}

/// How many faults were injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Injected {
    /// Calls that failed before anything was done.
    pub failed_before: u64,
    /// Puts that were done, and reported as failed.
    pub replies_lost: u64,
    /// Reads that broke off in the middle.
    pub broken_off: u64,
    /// Calls that took a while.
    pub delayed: u64,
}

impl Injected {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.failed_before + self.replies_lost + self.broken_off + self.delayed
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failed_before, replies_lost, broken_off, delayed } = self;
        write!(
            f,
            "{} faults: {failed_before} failed before, {replies_lost} replies lost, {broken_off} reads broken off, \
             {delayed} delayed",
            self.total()
        )
    }
}

/// Draws faults and counts them. Handles on one place share one, so that a reopened storage does not begin anew.
pub struct FaultSource {
    faults: Faults,
    clock: Arc<dyn Clock>,
    draws: Mutex<StdRng>,
    failed_before: AtomicU64,
    replies_lost: AtomicU64,
    broken_off: AtomicU64,
    delayed: AtomicU64,
}

impl FaultSource {
    /// Draws these faults; delays are on this clock.
    pub fn new(faults: Faults, clock: Arc<dyn Clock>) -> Self {
        let draws = Mutex::new(StdRng::seed_from_u64(faults.seed));
        let zero = AtomicU64::default;
        Self {
            faults,
            clock,
            draws,
            failed_before: zero(),
            replies_lost: zero(),
            broken_off: zero(),
            delayed: zero(),
        }
    }

    /// What was injected so far.
    pub fn injected(&self) -> Injected {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Injected {
            failed_before: count(&self.failed_before),
            replies_lost: count(&self.replies_lost),
            broken_off: count(&self.broken_off),
            delayed: count(&self.delayed),
        }
    }

    /// Waits, now and then.
    async fn delay(&self) {
        if self.strikes(self.faults.delayed, &self.delayed) {
            let part = self.draw(|draws| draws.random::<f64>());
            self.clock.sleep(self.faults.longest_delay.mul_f64(part)).await;
        }
    }

    /// Fails, now and then, before a call is done.
    fn fail_before(&self) -> Result<(), StorageError> {
        if self.strikes(self.faults.failed_before, &self.failed_before) {
            return Err(self.error("failed before it was done"));
        }
        Ok(())
    }

    /// Loses the reply of a call that was done, now and then.
    fn lose_reply(&self) -> Result<(), StorageError> {
        if self.strikes(self.faults.reply_lost, &self.replies_lost) {
            return Err(self.error("the reply was lost"));
        }
        Ok(())
    }

    /// Breaks a read off before its next page, now and then.
    fn break_off(&self) -> Result<(), StorageError> {
        if self.strikes(self.faults.broken_off, &self.broken_off) {
            return Err(self.error("the read broke off"));
        }
        Ok(())
    }

    fn strikes(&self, rate: f64, count: &AtomicU64) -> bool {
        // Nothing is drawn for what never happens, so that a fault that is switched off does not move the others.
        let strikes = rate > 0.0 && self.draw(|draws| draws.random::<f64>()) < rate;
        if strikes {
            count.fetch_add(1, Ordering::Relaxed);
        }
        strikes
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.draws.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn error(&self, what: &str) -> StorageError {
        StorageError::new(ErrorKind::Unavailable, format!("injected, seed {}: {what}", self.faults.seed))
    }
}

impl fmt::Debug for FaultSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultSource")
            .field("faults", &self.faults)
            .field("injected", &self.injected())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use eventsrc_core::clock::{Randomness, SystemClock};
    use eventsrc_core::commit::vec1;
    use eventsrc_core::storage::Put;
    use eventsrc_core::{Commit, EventStorage, MemoryStorage, Metadata, StreamName, Timestamp};
    use futures::StreamExt;
    use futures::future::BoxFuture;

    use super::*;

    type Memory = MemoryStorage<StreamName, u64, u32>;

    fn commit(number: u64) -> Arc<Commit<StreamName, u64, u32>> {
        let metadata = Metadata::new(Randomness::seeded(number).commit_id(Timestamp::UNIX_EPOCH));
        let key = StreamName::new("sample", "a").unwrap();
        Arc::new(Commit { key, first: number, time: Timestamp::UNIX_EPOCH, metadata, payloads: vec1![7] })
    }

    fn faulty(faults: Faults) -> Faulty<Memory> {
        Faulty::new(Memory::default(), faults, Arc::new(SystemClock))
    }

    #[tokio::test]
    async fn a_put_that_fails_before_stores_nothing() {
        let storage = faulty(Faults { seed: 7, failed_before: 1.0, ..Faults::none() });
        let error = storage.put(commit(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.sequence()), (ErrorKind::Unavailable, Some("1")));
        assert!(error.to_string().contains("seed 7"), "{error}");
        assert_eq!(storage.storage().latest(&commit(1).key).await.unwrap(), None);
        assert_eq!(storage.injected(), Injected { failed_before: 1, ..Injected::default() });
    }

    #[tokio::test]
    async fn a_put_whose_reply_is_lost_is_stored() {
        let storage = faulty(Faults { reply_lost: 1.0, ..Faults::none() });
        storage.put(commit(1)).await.unwrap_err();
        assert_eq!(storage.storage().latest(&commit(1).key).await.unwrap(), Some(commit(1).head()));
        assert_eq!(storage.injected(), Injected { replies_lost: 1, ..Injected::default() });
    }

    #[tokio::test]
    async fn a_read_breaks_off_after_a_page() {
        let storage = faulty(Faults { broken_off: 1.0, ..Faults::none() });
        for number in 1..=600 {
            assert!(matches!(storage.put(commit(number)).await, Ok(Put::Stored)));
        }
        let pages: Vec<_> = storage.events(&commit(1).key, None).map(|page| page.is_ok()).collect().await;
        assert_eq!(pages, [true, false]);
    }

    #[tokio::test]
    async fn delays_are_on_the_clock_that_was_given() {
        #[derive(Default)]
        struct Waits(Mutex<Vec<Duration>>);
        impl Clock for Waits {
            fn now(&self) -> Timestamp {
                Timestamp::UNIX_EPOCH
            }
            fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
                self.0.lock().unwrap().push(duration);
                Box::pin(std::future::ready(()))
            }
        }
        let clock = Arc::new(Waits::default());
        let limit = Duration::from_secs(3_600);
        let faults = Faults { delayed: 1.0, longest_delay: limit, ..Faults::none() };
        let storage = Faulty::new(Memory::default(), faults, Arc::clone(&clock) as Arc<dyn Clock>);
        assert!(matches!(storage.put(commit(1)).await, Ok(Put::Stored)));
        let waits = clock.0.lock().unwrap().clone();
        assert_eq!(waits.len(), 2, "before the put, and before its reply");
        assert!(waits.iter().all(|wait| *wait <= limit), "{waits:?}");
    }

    #[tokio::test]
    async fn the_same_seed_fails_the_same_calls() {
        async fn failures(seed: u64) -> Vec<bool> {
            let storage = faulty(Faults { delayed: 0.0, ..Faults::seeded(seed) });
            let mut failures = Vec::new();
            for number in 1..=100 {
                let mut failed = storage.put(commit(number)).await.is_err();
                failures.push(failed);
                while failed {
                    failed = storage.put(commit(number)).await.is_err();
                }
            }
            failures
        }
        assert_eq!(failures(1).await, failures(1).await);
        assert_ne!(failures(1).await, failures(2).await);
    }
}

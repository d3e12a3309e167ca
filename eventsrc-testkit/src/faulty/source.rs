//! Rates of faults, and the source that draws and counts them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventsrc_core::clock::Clock;
use eventsrc_core::{ErrorKind, StorageError, StreamKey, StreamName};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::failing_streams::FailingStreams;
use super::hang::HangSwitch;

/// Rates and kinds of faults. Rates are between 0 (never) and 1 (always).
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// The seed of all random draws. Every injected error names it.
    pub seed: u64,
    /// Rate of calls that fail before they have any effect.
    pub failed_before: f64,
    /// Rate of writes that take effect and are reported as failed.
    pub reply_lost: f64,
    /// Rate of reads that fail after some of their pages.
    pub broken_off: f64,
    /// Rate of calls that are delayed, before or after their effect.
    pub delayed: f64,
    /// Longest delay.
    pub longest_delay: Duration,
    /// Rate of calls that hang, before or after their effect.
    pub hung: f64,
    /// Duration of a hang. `None`: the call never answers, and its caller has to give up.
    pub hang: Option<Duration>,
}

impl Faults {
    /// Returns rates without any faults.
    pub fn none() -> Self {
        Self {
            seed: 0,
            failed_before: 0.0,
            reply_lost: 0.0,
            broken_off: 0.0,
            delayed: 0.0,
            longest_delay: Duration::ZERO,
            hung: 0.0,
            hang: None,
        }
    }

    /// Returns rates at which a run of some hundred calls gets many faults of every kind, except for hangs.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            failed_before: 0.15,
            reply_lost: 0.15,
            broken_off: 0.3,
            delayed: 0.1,
            longest_delay: Duration::from_millis(2),
            ..Self::none()
        }
    }
}

/// Numbers of injected faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Injected {
    /// Calls that failed before they had any effect.
    pub failed_before: u64,
    /// Writes that took effect and were reported as failed.
    pub replies_lost: u64,
    /// Reads that failed between two pages.
    pub broken_off: u64,
    /// Delays.
    pub delayed: u64,
    /// Calls that hung, by their rate or by [`FaultSource::hang`].
    pub hung: u64,
    /// Calls that failed because of [`FaultSource::fail_stream`].
    pub persistent: u64,
}

impl Injected {
    /// Returns the number of all injected faults.
    pub fn total(&self) -> u64 {
        self.failed_before + self.replies_lost + self.broken_off + self.delayed + self.hung + self.persistent
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failed_before, replies_lost, broken_off, delayed, hung, persistent } = self;
        write!(
            f,
            "{} faults: {failed_before} calls failed before, {replies_lost} replies lost, {broken_off} reads broken off, \
             {delayed} delays",
            self.total()
        )?;
        if *hung > 0 {
            write!(f, ", {hung} hangs")?;
        }
        if *persistent > 0 {
            write!(f, ", {persistent} calls failed on failing streams")?;
        }
        Ok(())
    }
}

/// Draws faults and counts them.
///
/// Handles on one data set share a source, so that a reopened storage does not repeat the same faults.
pub struct FaultSource {
    faults: Faults,
    clock: Arc<dyn Clock>,
    draws: Mutex<StdRng>,
    failed_before: AtomicU64,
    replies_lost: AtomicU64,
    broken_off: AtomicU64,
    delayed: AtomicU64,
    hung: AtomicU64,
    persistent: AtomicU64,
    hang_switch: HangSwitch,
    failing: FailingStreams,
}

impl FaultSource {
    /// Creates a source with these rates. Delays use `clock`.
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
            hung: zero(),
            persistent: zero(),
            hang_switch: HangSwitch::default(),
            failing: FailingStreams::default(),
        }
    }

    /// Returns the numbers of faults injected so far.
    pub fn injected(&self) -> Injected {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Injected {
            failed_before: count(&self.failed_before),
            replies_lost: count(&self.replies_lost),
            broken_off: count(&self.broken_off),
            delayed: count(&self.delayed),
            hung: count(&self.hung),
            persistent: count(&self.persistent),
        }
    }

    /// Makes every call hang from now on, like a service that stops answering. A call that runs already hangs at its next
    /// step: before its effect, before its reply, or before its next page.
    pub fn hang(&self) {
        self.hang_switch.turn(true);
    }

    /// Ends a [`hang`](Self::hang). Calls that hang continue.
    pub fn resume(&self) {
        self.hang_switch.turn(false);
    }

    /// Makes every call on `stream` fail from now on, with an error of kind `Unavailable` and without any effect.
    pub fn fail_stream(&self, stream: StreamName) {
        self.failing.fail(stream);
    }

    /// Ends the failures of [`fail_stream`](Self::fail_stream). Returns true if the stream was failing.
    pub fn heal_stream(&self, stream: &StreamName) -> bool {
        self.failing.heal(stream)
    }

    /// Waits if calls hang, or if a hang or a delay is drawn.
    pub(super) async fn delay(&self) {
        self.wait_for_resume().await;
        if self.draw_fault(self.faults.hung, &self.hung) {
            match self.faults.hang {
                Some(duration) => self.clock.sleep(duration).await,
                None => std::future::pending().await,
            }
        }
        if self.draw_fault(self.faults.delayed, &self.delayed) {
            let part = self.draw(|draws| draws.random::<f64>());
            self.clock.sleep(self.faults.longest_delay.mul_f64(part)).await;
        }
    }

    /// Waits while calls hang.
    pub(super) async fn wait_for_resume(&self) {
        if self.hang_switch.is_on() {
            self.hung.fetch_add(1, Ordering::Relaxed);
            self.hang_switch.off().await;
        }
    }

    /// Fails if the stream of `key` is failing.
    pub(super) fn fail_on<K: StreamKey>(&self, key: &K) -> Result<(), StorageError> {
        if self.failing.is_empty() || !StreamName::of(key).is_ok_and(|stream| self.failing.has(&stream)) {
            return Ok(());
        }
        self.persistent.fetch_add(1, Ordering::Relaxed);
        Err(self.error("the stream is failing until it is healed").on(key))
    }

    /// Fails if a fault before the call is drawn.
    pub(super) fn fail_before(&self) -> Result<(), StorageError> {
        if self.draw_fault(self.faults.failed_before, &self.failed_before) {
            return Err(self.error("failed before it took effect"));
        }
        Ok(())
    }

    /// Fails if a lost reply is drawn for a call that took effect.
    pub(super) fn lose_reply(&self) -> Result<(), StorageError> {
        if self.draw_fault(self.faults.reply_lost, &self.replies_lost) {
            return Err(self.error("the reply was lost"));
        }
        Ok(())
    }

    /// Fails if a fault between two pages is drawn.
    pub(super) fn break_off(&self) -> Result<(), StorageError> {
        if self.draw_fault(self.faults.broken_off, &self.broken_off) {
            return Err(self.error("the read failed between two pages"));
        }
        Ok(())
    }

    fn draw_fault(&self, rate: f64, count: &AtomicU64) -> bool {
        // No draw at rate 0, so that a disabled fault does not shift the draws of the others.
        let is_fault = rate > 0.0 && self.draw(|draws| draws.random::<f64>()) < rate;
        if is_fault {
            count.fetch_add(1, Ordering::Relaxed);
        }
        is_fault
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

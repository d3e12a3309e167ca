//! Time and randomness. Components take both as arguments, so that a run can be simulated and repeated from one seed.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

pub use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::commit::CommitId;

/// Source of the time, and of timers.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time in UTC, with microsecond precision.
    fn now(&self) -> Timestamp;

    /// Returns the time since a fixed but arbitrary moment, for measuring durations. It is monotonic on a real machine,
    /// even if the wall clock is set back. The default, for simulated clocks, is derived from [`now`](Clock::now).
    fn elapsed(&self) -> Duration {
        self.now().duration_since(Timestamp::UNIX_EPOCH).unsigned_abs()
    }

    /// Completes after `duration` on this clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Clock of the machine. Sleeps with the timer of tokio.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one use of the wall clock")]
    fn now(&self) -> Timestamp {
        truncate_to_microseconds(Timestamp::now())
    }

    #[expect(clippy::disallowed_methods, reason = "the one use of the monotonic clock")]
    fn elapsed(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one use of tokio's timer")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Source of commit ids and of jitter, seeded by the operating system, or by a number for repeatable runs.
#[derive(Debug)]
pub struct Randomness(Mutex<StdRng>);

impl Randomness {
    /// Creates a source with an unpredictable seed from the operating system.
    pub fn from_system() -> Self {
        Self(Mutex::new(rand::make_rng()))
    }

    /// Creates a source that produces the same values for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// Returns a new commit id (UUID version 7, RFC 9562) with timestamp `now`.
    pub fn commit_id(&self, now: Timestamp) -> CommitId {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        CommitId(
            uuid::Builder::from_unix_timestamp_millis(millis, &self.with(|rng| rng.random())).into_uuid(),
        )
    }

    /// Returns a uniformly distributed duration between zero and `limit`.
    pub fn up_to(&self, limit: Duration) -> Duration {
        limit.mul_f64(self.with(|rng| rng.random::<f64>()))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Rounds `time` down to a whole microsecond, the precision that every backend can store.
pub fn truncate_to_microseconds(time: Timestamp) -> Timestamp {
    // The last second that there is has no microseconds.
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

//! Time and randomness, which come in as arguments so that a whole run can be repeated from one seed.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

pub use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::commit::CommitId;

/// What tells the time, and waits.
pub trait Clock: Send + Sync + 'static {
    /// The time now, UTC, to the microsecond.
    fn now(&self) -> Timestamp;

    /// The time since some moment, by which to tell how long something takes. On a machine it never goes back, whatever is
    /// done to its wall clock; a clock that is simulated may go by [`now`](Clock::now), as it does by default.
    fn elapsed(&self) -> Duration {
        self.now().duration_since(Timestamp::UNIX_EPOCH).unsigned_abs()
    }

    /// Waits for `duration` on this clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock; waits with tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the wall clock comes in")]
    fn now(&self) -> Timestamp {
        truncate_to_microseconds(Timestamp::now())
    }

    #[expect(clippy::disallowed_methods, reason = "this is where the monotonic clock comes in")]
    fn elapsed(&self) -> Duration {
        static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGINNING.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is where waiting comes in")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A source of commit ids and of jitter: seeded by the operating system, or by a number for a run that can be repeated.
#[derive(Debug)]
pub struct Randomness(Mutex<StdRng>);

impl Randomness {
    /// Randomness that nobody can foretell.
    pub fn from_system() -> Self {
        Self(Mutex::new(rand::make_rng()))
    }

    /// The same randomness for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A new commit id (UUID version 7, RFC 9562) at `now`.
    pub fn commit_id(&self, now: Timestamp) -> CommitId {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        CommitId(
            uuid::Builder::from_unix_timestamp_millis(millis, &self.with(|rng| rng.random())).into_uuid(),
        )
    }

    /// A duration between zero and `limit`, each as likely as the other.
    pub fn up_to(&self, limit: Duration) -> Duration {
        limit.mul_f64(self.with(|rng| rng.random::<f64>()))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `time` without what is finer than a microsecond, which is what every backend can hold.
pub fn truncate_to_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).expect("a timestamp to the microsecond is in range")
}

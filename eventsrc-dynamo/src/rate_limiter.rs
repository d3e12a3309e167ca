//! The rate limit of scans.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use eventsrc_core::clock::Clock;

/// A limit of read units per second, shared by all scans.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    units_per_second: Option<u32>,
    /// Monotonic time at which the units consumed so far are within the limit.
    available_at: Mutex<Duration>,
}

impl RateLimiter {
    pub(crate) fn new(units_per_second: Option<u32>) -> Self {
        let units_per_second = units_per_second.map(|units| units.max(1));
        Self { units_per_second, available_at: Mutex::default() }
    }

    /// Waits until `units`, which a scan has just consumed, are within the limit.
    pub(crate) async fn wait_for(&self, units: f64, clock: &dyn Clock) {
        let Some(limit) = self.units_per_second else { return };
        let wait = {
            let mut available_at = self.available_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock.elapsed();
            let cost = Duration::from_secs_f64(units.max(0.0) / f64::from(limit));
            // Units that were not used earlier are lost; to use them now would be a burst.
            *available_at = (*available_at).max(now).saturating_add(cost);
            available_at.saturating_sub(now)
        };
        clock.sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use eventsrc_core::Timestamp;
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    /// A clock that advances only by its own sleeps.
    #[derive(Default)]
    struct SleepClock(AtomicU64);

    impl Clock for SleepClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millisecond(self.0.load(Ordering::SeqCst) as i64).unwrap()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            self.0.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
            futures::future::ready(()).boxed()
        }
    }

    #[test]
    fn scans_stay_within_their_units_per_second() {
        let (limiter, clock) = (RateLimiter::new(Some(100)), SleepClock::default());
        for _ in 0..10 {
            limiter.wait_for(50.0, &clock).now_or_never().unwrap();
        }
        assert_eq!(clock.now().as_millisecond(), 5_000);
    }

    #[test]
    fn scans_without_a_limit_do_not_wait() {
        let (limiter, clock) = (RateLimiter::new(None), SleepClock::default());
        limiter.wait_for(1e9, &clock).now_or_never().unwrap();
        assert_eq!(clock.now().as_millisecond(), 0);
    }
}

//! The rate that scans keep to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use eventsrc_core::Timestamp;
use eventsrc_core::clock::Clock;

/// A limit on read units a second, for all scans together.
#[derive(Debug)]
pub(crate) struct Pace {
    units_per_second: Option<u32>,
    /// When what was consumed so far is paid off.
    paid: Mutex<Timestamp>,
}

impl Pace {
    pub(crate) fn new(units_per_second: Option<u32>) -> Self {
        let units_per_second = units_per_second.map(|units| units.max(1));
        Self { units_per_second, paid: Mutex::new(Timestamp::MIN) }
    }

    /// Waits until `units`, which were just consumed, are within the limit.
    pub(crate) async fn consumed(&self, units: f64, clock: &dyn Clock) {
        let Some(limit) = self.units_per_second else { return };
        let wait = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock.now();
            let cost = Duration::from_secs_f64(units.max(0.0) / f64::from(limit));
            // What was left unused a second ago is not made up for: that would be a burst.
            *paid = (*paid).max(now).saturating_add(cost).unwrap_or(Timestamp::MAX);
            Duration::try_from(paid.duration_since(now)).unwrap_or_default()
        };
        clock.sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    /// A clock that only moves when somebody waits.
    #[derive(Default)]
    struct Waited(AtomicU64);

    impl Clock for Waited {
        fn now(&self) -> Timestamp {
            Timestamp::from_millisecond(self.0.load(Ordering::SeqCst) as i64).unwrap()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            self.0.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
            futures::future::ready(()).boxed()
        }
    }

    #[test]
    fn scans_keep_to_their_units_a_second() {
        let (pace, clock) = (Pace::new(Some(100)), Waited::default());
        for _ in 0..10 {
            pace.consumed(50.0, &clock).now_or_never().unwrap();
        }
        assert_eq!(clock.now().as_millisecond(), 5_000);
    }

    #[test]
    fn scans_without_a_limit_do_not_wait() {
        let (pace, clock) = (Pace::new(None), Waited::default());
        pace.consumed(1e9, &clock).now_or_never().unwrap();
        assert_eq!(clock.now().as_millisecond(), 0);
    }
}

//! Retries with exponential backoff and full jitter: [`RetryPolicy`] for a bounded number of tries, [`Backoff`] for
//! background work that retries without end.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

use crate::clock::Randomness;

/// Bounded retries of a save that meets contention, with exponential backoff and full jitter.
///
/// Before its second try, a writer waits for a random duration between zero and `first_wait`. The limit doubles with
/// each further try, up to `longest_wait`. The jitter keeps writers that collided from colliding again. See Brooker,
/// "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Total number of tries, at least 1. Default: 20.
    pub tries: u32,
    /// Upper limit of the wait before the second try. Default: 5 ms.
    pub first_wait: Duration,
    /// Upper limit of any wait. Default: 1 s.
    pub longest_wait: Duration,
}

/// 20 tries; waits of at most 5 ms at first and 1 s later.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self { tries: 20, first_wait: Duration::from_millis(5), longest_wait: Duration::from_secs(1) }
    }
}

impl RetryPolicy {
    /// Returns the wait before each try after the first.
    pub(crate) fn waits(&self, randomness: &Randomness) -> impl Iterator<Item = Duration> {
        let mut backoff = Backoff::new(self.first_wait, self.longest_wait);
        std::iter::repeat_with(move || backoff.wait(randomness)).take(self.tries.saturating_sub(1) as usize)
    }
}

/// Limits of a [`Backoff`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackoffSettings {
    /// Upper limit of the wait before the second try. Default: 10 ms.
    pub first_wait: Duration,
    /// Upper limit of any wait. Default: 5 s.
    pub longest_wait: Duration,
}

/// Waits of at most 10 ms at first and 5 s later.
impl Default for BackoffSettings {
    fn default() -> Self {
        Self { first_wait: Duration::from_millis(10), longest_wait: Duration::from_secs(5) }
    }
}

impl BackoffSettings {
    /// Starts a new sequence of waits.
    pub fn start(&self) -> Backoff {
        Backoff::new(self.first_wait, self.longest_wait)
    }
}

/// Unbounded sequence of waits between tries, with exponential backoff and full jitter.
/// [`BackoffSettings::start`] creates one.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Creates waits whose limits double from `first_wait` to `longest_wait`.
    pub(crate) fn new(first_wait: Duration, longest_wait: Duration) -> Self {
        // The crate computes the limits. The jitter is drawn in `wait`, from the caller's seed.
        Self(ExponentialBackoff {
            current_interval: first_wait,
            initial_interval: first_wait,
            max_interval: longest_wait,
            multiplier: 2.0,
            randomization_factor: 0.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// Returns the duration to wait before the next try.
    pub fn wait(&mut self, randomness: &Randomness) -> Duration {
        let limit = self.0.next_backoff().unwrap_or(self.0.max_interval);
        randomness.up_to(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_random_parts_of_limits_that_double_up_to_the_longest() {
        let policy = RetryPolicy { tries: 9, ..RetryPolicy::default() };
        let limits = [5, 10, 20, 40, 80, 160, 320, 640].map(Duration::from_millis);
        let randomness = Randomness::seeded(7);
        let mut spread = Duration::ZERO;
        for _ in 0..100 {
            let waits: Vec<_> = policy.waits(&randomness).collect();
            assert_eq!(waits.len(), limits.len());
            assert!(waits.iter().zip(limits).all(|(wait, limit)| *wait <= limit), "{waits:?}");
            spread = spread.max(waits[0]);
        }
        assert!(spread > limits[0] / 2, "the jitter is full");
        let longest = RetryPolicy { tries: 40, ..policy }.waits(&randomness).max();
        assert!(longest <= Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |seed| RetryPolicy::default().waits(&Randomness::seeded(seed)).collect::<Vec<_>>();
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}

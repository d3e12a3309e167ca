//! The pace of retries.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

use crate::clock::Randomness;

/// How contention is met: some tries, further and further apart.
///
/// Exponential back-off with full jitter: before try n+1 the writer waits for a random part of `first_wait * 2^n`, at
/// most `longest_wait`, so that writers that collided do not collide again. See Brooker, "Exponential Backoff And
/// Jitter", AWS Architecture Blog, 2015.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many tries there are in all, at least 1.
    pub tries: u32,
    /// The longest wait before the second try.
    pub first_wait: Duration,
    /// The longest wait before any try.
    pub longest_wait: Duration,
}

/// 20 tries, from 5 ms to a second.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self { tries: 20, first_wait: Duration::from_millis(5), longest_wait: Duration::from_secs(1) }
    }
}

impl RetryPolicy {
    /// How long to wait before each try after the first.
    pub(crate) fn waits(&self, randomness: &Randomness) -> impl Iterator<Item = Duration> {
        let mut pace = Backoff::new(self.first_wait, self.longest_wait);
        std::iter::repeat_with(move || pace.wait(randomness)).take(self.tries.saturating_sub(1) as usize)
    }
}

/// How long to wait between tries: exponential back-off with full jitter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackoffSettings {
    /// The longest wait before the second try.
    pub first_wait: Duration,
    /// The longest wait before any try.
    pub longest_wait: Duration,
}

/// From 10 ms to 5 seconds.
impl Default for BackoffSettings {
    fn default() -> Self {
        Self { first_wait: Duration::from_millis(10), longest_wait: Duration::from_secs(5) }
    }
}

impl BackoffSettings {
    /// Waits between tries, from the first on.
    pub fn start(&self) -> Backoff {
        Backoff::new(self.first_wait, self.longest_wait)
    }
}

/// How long to wait before each further try, without end: [`BackoffSettings::start`] starts one.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Waits that are random parts of limits, which double from `first_wait` to `longest_wait`.
    pub(crate) fn new(first_wait: Duration, longest_wait: Duration) -> Self {
        // The jitter is ours, from the caller's seed; the limits are the crate's.
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

    /// How long to wait before the next try.
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
    fn the_same_seed_waits_the_same() {
        let waits = |seed| RetryPolicy::default().waits(&Randomness::seeded(seed)).collect::<Vec<_>>();
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}

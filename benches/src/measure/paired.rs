//! Comparison of times in pairs.
//!
//! Machines are noisy and can be slow for minutes, so a single time means little. The two sides take turns in short
//! slices within one process, in random order, and each pair gives one ratio. Noise affects both sides of a pair alike.

use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Result of a comparison.
pub(crate) struct Paired {
    /// Seconds per unit of work, as the median over the slices.
    pub(crate) ours: f64,
    pub(crate) reference: f64,
    /// Speed of ours relative to the reference: the reference's time divided by ours, by pairs.
    pub(crate) speed: Spread,
}

/// A median and its quartiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Scales the ratio for units in which ours does `factor` times as much work.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self { low: self.low * factor, median: self.median * factor, high: self.high * factor }
    }

    /// Inverts the ratio from speed to time.
    pub(crate) fn inverse(self) -> Self {
        Self { low: 1.0 / self.high, median: 1.0 / self.median, high: 1.0 / self.low }
    }
}

const PAIRS: usize = 100;
/// Target duration of a slice: less than half of the longest useful slice, because noise makes some slices longer.
const SLICE: Duration = Duration::from_millis(100);
const SEED: u64 = 20;

/// Compares two sides that do the given number of units of work in each call.
pub(crate) fn compare(
    mut ours: impl FnMut(u64) -> Result<()>,
    mut reference: impl FnMut(u64) -> Result<()>,
) -> Result<Paired> {
    let our_units = units(&mut ours)?;
    let reference_units = units(&mut reference)?;
    let mut order = StdRng::seed_from_u64(SEED);
    let (mut our_times, mut reference_times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let ours_first: bool = order.random();
        let mut our_time = 0.0;
        if ours_first {
            our_time = slice(&mut ours, our_units)?;
        }
        let reference_time = slice(&mut reference, reference_units)?;
        if !ours_first {
            our_time = slice(&mut ours, our_units)?;
        }
        ratios.push(reference_time / our_time);
        our_times.push(our_time);
        reference_times.push(reference_time);
    }
    Ok(Paired {
        ours: spread(our_times).median,
        reference: spread(reference_times).median,
        speed: spread(ratios),
    })
}

/// Compares two sides that do one unit in each call and return its duration, in `pairs` pairs.
pub(crate) fn compare_whole(
    pairs: usize,
    mut ours: impl FnMut() -> Result<Duration>,
    mut reference: impl FnMut() -> Result<Duration>,
) -> Result<Paired> {
    let mut order = StdRng::seed_from_u64(SEED);
    let (mut our_times, mut reference_times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let first = if order.random() { Some(ours()?) } else { None };
        let reference_time = reference()?.as_secs_f64();
        let our_time = first.map_or_else(&mut ours, Ok)?.as_secs_f64();
        ratios.push(reference_time / our_time);
        our_times.push(our_time);
        reference_times.push(reference_time);
    }
    Ok(Paired {
        ours: spread(our_times).median,
        reference: spread(reference_times).median,
        speed: spread(ratios),
    })
}

/// Returns the duration of `work` and its result.
pub(crate) async fn time<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let start = now();
    let done = work.await;
    (start.elapsed(), done)
}

/// Returns the duration of `work` in seconds, and its result.
pub(crate) fn seconds<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = now();
    let done = work()?;
    Ok((start.elapsed().as_secs_f64(), done))
}

/// Returns a percentile of the values.
pub(crate) fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * percent / 100]
}

/// Returns the number of units that fill a slice. Its trial runs also warm up caches and files.
fn units(work: &mut impl FnMut(u64) -> Result<()>) -> Result<u64> {
    let mut units = 1;
    loop {
        let seconds = slice(work, units)? * units as f64;
        if seconds * 2.0 >= SLICE.as_secs_f64() {
            return Ok(((units as f64 * SLICE.as_secs_f64() / seconds) as u64).max(1));
        }
        units *= 2;
    }
}

/// Runs one slice, and returns the seconds per unit.
fn slice(work: &mut impl FnMut(u64) -> Result<()>, units: u64) -> Result<f64> {
    let (seconds, ()) = seconds(|| work(units))?;
    Ok(seconds / units as f64)
}

fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
    Spread { low: at(1), median: at(2), high: at(3) }
}

#[expect(clippy::disallowed_methods, reason = "measuring time is what this module is for")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_that_does_half_the_work_is_twice_as_fast() {
        let work = |rounds: u64| {
            let sum = (0..rounds * 1_000).fold(0u64, |sum, n| std::hint::black_box(sum ^ n));
            std::hint::black_box(sum);
            Ok(())
        };
        let paired = compare(work, |units| work(units * 2)).unwrap();
        assert!((1.5..3.0).contains(&paired.speed.median), "{:?}", paired.speed);
    }
}

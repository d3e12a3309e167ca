//! Waiting jobs of one stream.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::job::Job;

/// Waiting jobs of one stream, in the order in which they arrived. Each operation costs the logarithm of their number.
#[derive(Default)]
pub(super) struct StreamQueue {
    /// By arrival.
    jobs: BTreeMap<u64, Job>,
    /// First number and arrival of each job.
    numbers: BTreeSet<(u64, u64)>,
    /// True while a job of the stream is sent. The others wait for its outcome.
    pub(super) in_flight: bool,
}

impl StreamQueue {
    /// Adds the job that arrived as the one with the number `arrival` in the whole queue.
    pub(super) fn push(&mut self, arrival: u64, job: Job) {
        self.numbers.insert((job.commit.number, arrival));
        self.jobs.insert(arrival, job);
    }

    /// The job that arrived first.
    pub(super) fn first(&self) -> Option<&Job> {
        self.jobs.values().next()
    }

    /// Removes the job that arrived first.
    pub(super) fn pop(&mut self) -> Option<Job> {
        let (arrival, job) = self.jobs.pop_first()?;
        self.numbers.remove(&(job.commit.number, arrival));
        Some(job)
    }

    /// Removes the jobs whose first number is one of `numbers`, and that arrived before `arrival`.
    pub(super) fn take(&mut self, numbers: RangeInclusive<u64>, arrival: u64) -> Vec<Job> {
        let range = (*numbers.start(), 0)..=(*numbers.end(), u64::MAX);
        let taken: Vec<_> = self.numbers.range(range).filter(|(_, of)| *of < arrival).copied().collect();
        let remove = |key: (u64, u64)| {
            self.numbers.remove(&key);
            self.jobs.remove(&key.1)
        };
        taken.into_iter().filter_map(remove).collect()
    }

    /// Number of jobs whose first number is one of `numbers`.
    #[cfg(test)]
    pub(super) fn count(&self, numbers: RangeInclusive<u64>) -> usize {
        self.numbers.range((*numbers.start(), 0)..=(*numbers.end(), u64::MAX)).count()
    }

    /// Removes all jobs.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Job> + use<> {
        self.numbers.clear();
        std::mem::take(&mut self.jobs).into_values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

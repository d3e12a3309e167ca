//! Commits of one stream that wait to be applied, sorted by sequence.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::commit::Commit;
use crate::stream::Sequence;

/// The waiting commits, each once, sorted by their first sequence. They usually arrive in that order.
#[derive(Debug)]
pub(super) struct ReorderBuffer<K, S, E> {
    commits: VecDeque<Arc<Commit<K, S, E>>>,
    events: usize,
}

impl<K, S: Sequence, E> ReorderBuffer<K, S, E> {
    /// Creates an empty buffer.
    pub(super) fn new() -> Self {
        Self { commits: VecDeque::new(), events: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Number of events of the commits.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    pub(super) fn first(&self) -> Option<&Arc<Commit<K, S, E>>> {
        self.commits.front()
    }

    pub(super) fn last(&self) -> Option<&Arc<Commit<K, S, E>>> {
        self.commits.back()
    }

    /// Adds a commit, unless the buffer has a commit with the same first sequence.
    pub(super) fn add(&mut self, commit: Arc<Commit<K, S, E>>) {
        let first = commit.first.number();
        let index = if self.last().is_none_or(|last| last.first.number() < first) {
            self.commits.len()
        } else {
            match self.commits.binary_search_by_key(&first, |commit| commit.first.number()) {
                Ok(_) => return,
                Err(index) => index,
            }
        };
        self.events += commit.len();
        self.commits.insert(index, commit);
    }

    /// Returns the consecutive commits that begin at number `next`, up to the first one for which `fits` is false.
    pub(super) fn run_from(
        &self,
        mut next: u64,
        mut fits: impl FnMut(&Commit<K, S, E>) -> bool,
    ) -> Vec<Arc<Commit<K, S, E>>> {
        let before = self.commits.partition_point(|commit| commit.first.number() < next);
        let follows = |commit: &&Arc<Commit<K, S, E>>| {
            let follows = commit.first.number() == next && fits(commit);
            next = commit.last().number().saturating_add(1);
            follows
        };
        self.commits.range(before..).take_while(follows).map(Arc::clone).collect()
    }

    /// Removes the commits up to `position`, and returns their number.
    pub(super) fn pass(&mut self, position: S) -> usize {
        let passed = self.commits.iter().take_while(|commit| commit.last() <= position).count();
        self.events -= self.commits.drain(..passed).map(|commit| commit.len()).sum::<usize>();
        passed
    }

    pub(super) fn clear(&mut self) {
        self.commits.clear();
        self.events = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::commit::{CommitId, Metadata};
    use crate::stream::StreamName;
    use vec1::Vec1;

    type Deposit = Commit<StreamName, u64, ()>;

    fn commit(first: u64, events: usize) -> Arc<Deposit> {
        Arc::new(Commit {
            key: StreamName::new("a", "1").unwrap(),
            first,
            previous: None,
            time: jiff::Timestamp::UNIX_EPOCH,
            metadata: Metadata::new(CommitId(uuid::Uuid::from_u128(first.into()))),
            payloads: Vec1::try_from_vec(vec![(); events]).unwrap().into(),
        })
    }

    #[test]
    fn commits_in_any_order_form_a_run_without_holes_and_repetitions() {
        let mut random = StdRng::seed_from_u64(20);
        for _ in 0..500 {
            let mut next = 1;
            let all: Vec<_> = (0..random.random_range(1..20))
                .map(|_| {
                    let commit = commit(next, random.random_range(1..4));
                    next = commit.last() + 1;
                    commit
                })
                .collect();
            let missing = random.random_range(0..all.len());
            let mut arriving: Vec<_> =
                all.iter().enumerate().filter(|(index, _)| *index != missing).collect();
            arriving.extend(arriving.clone());
            arriving.shuffle(&mut random);
            let mut buffer = ReorderBuffer::new();
            arriving.iter().for_each(|(_, commit)| buffer.add(Arc::clone(commit)));
            let numbers = |run: &[Arc<Deposit>]| run.iter().map(|commit| commit.first).collect::<Vec<_>>();
            assert_eq!(numbers(&buffer.run_from(1, |_| true)), numbers(&all[..missing]));
            assert_eq!(buffer.run_from(1, |_| false).len(), 0);
            assert_eq!(buffer.pass(all[missing].last()), missing);
            let rest = &all[missing + 1..];
            assert_eq!(numbers(&buffer.run_from(all[missing].last() + 1, |_| true)), numbers(rest));
            assert_eq!(buffer.events(), rest.iter().map(|commit| commit.len()).sum::<usize>());
            assert_eq!(buffer.is_empty(), rest.is_empty());
        }
    }
}

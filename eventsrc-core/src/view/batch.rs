//! The unit that one transaction applies to a view.

use std::sync::Arc;

use crate::commit::{Commit, Event};
use crate::stream::{Sequence, StreamName};

/// The commits that one transaction applies to a view, with the position changes that they cause.
///
/// The commits of each stream are in order, without a hole, and begin right after the position that the view is
/// expected to have. Each stream occurs once. Streams are sorted by name, so that concurrent transactions lock their
/// positions in the same order.
#[derive(Debug)]
pub struct Batch<K, S, E> {
    commits: Vec<Arc<Commit<K, S, E>>>,
    changes: Vec<PositionChange<S>>,
}

/// A clone shares the commits.
impl<K, S: Clone, E> Clone for Batch<K, S, E> {
    fn clone(&self) -> Self {
        Self { commits: self.commits.clone(), changes: self.changes.clone() }
    }
}

/// Step of one stream in a batch: the position that the view must have, and the position that the batch leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionChange<S> {
    /// Name of the stream.
    pub stream: StreamName,
    /// Position that the view must have for the batch to be applied; `None` before the first event.
    pub from: Option<S>,
    /// Position after the batch.
    pub to: S,
}

impl<K, S: Sequence, E> Batch<K, S, E> {
    /// Creates a batch of the given runs.
    ///
    /// # Panics
    ///
    /// If a run is empty or two runs have the same stream, which is an error in the caller's code.
    pub fn new(mut runs: Vec<CommitRun<K, S, E>>) -> Self {
        runs.sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        assert!(
            runs.windows(2).all(|pair| pair[0].stream < pair[1].stream),
            "a stream occurs once in a batch"
        );
        let changes = runs
            .iter()
            .map(|run| {
                let last = run.commits.last().expect("a run has at least one commit");
                PositionChange { stream: run.stream.clone(), from: run.from, to: last.last() }
            })
            .collect();
        let commits = runs.into_iter().flat_map(|run| run.commits).collect();
        Self { commits, changes }
    }

    /// Returns the commits, sorted by stream name, and in order within each stream.
    pub fn commits(&self) -> &[Arc<Commit<K, S, E>>] {
        &self.commits
    }

    /// Returns the events of the commits, in the same order.
    pub fn events(&self) -> impl Iterator<Item = Event<'_, K, S, E>> {
        self.commits.iter().flat_map(|commit| commit.events())
    }

    /// Returns the commits of each stream, in the order of [`position_changes`](Batch::position_changes).
    pub fn streams(&self) -> impl Iterator<Item = &[Arc<Commit<K, S, E>>]>
    where
        K: PartialEq,
    {
        self.commits.chunk_by(|a, b| a.key == b.key)
    }

    /// Returns the position changes, sorted by stream name.
    pub fn position_changes(&self) -> &[PositionChange<S>] {
        &self.changes
    }

    /// Returns the runs that the batch was made of.
    pub(crate) fn into_runs(self) -> Vec<CommitRun<K, S, E>> {
        let mut commits = self.commits.into_iter();
        let run = |PositionChange { stream, from, to }| {
            let mut run = Vec::new();
            for commit in commits.by_ref() {
                let ends = commit.last() == to;
                run.push(commit);
                if ends {
                    break;
                }
            }
            CommitRun { stream, from, commits: run }
        };
        self.changes.into_iter().map(run).collect()
    }

    /// Returns the number of events.
    pub fn event_count(&self) -> usize {
        self.commits.iter().map(|commit| commit.len()).sum()
    }
}

/// The next commits of one stream, without a hole, for a [`Batch`].
#[derive(Debug)]
pub struct CommitRun<K, S, E> {
    /// Name of the stream.
    pub stream: StreamName,
    /// Position that the view is expected to have.
    pub from: Option<S>,
    /// Commits right after that position, at least one.
    pub commits: Vec<Arc<Commit<K, S, E>>>,
}

impl<K: Clone, S: Sequence, E> CommitRun<K, S, E> {
    /// Splits the run into two, the first with `middle` commits. Neither is empty.
    pub(crate) fn split(mut self, middle: usize) -> (Self, Self) {
        let rest = self.commits.split_off(middle);
        let from = self.commits.last().map(|commit| commit.last());
        let second = Self { stream: self.stream.clone(), from, commits: rest };
        (self, second)
    }
}

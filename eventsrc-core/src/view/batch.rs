//! What is applied to a view in one transaction.

use std::sync::Arc;

use crate::commit::{Commit, Event};
use crate::stream::{Sequence, StreamName};

/// Some whole commits, and how they move the positions of their streams.
///
/// Of each stream, the commits are in order and without a hole, and begin right after the position that the view is
/// believed to have. Streams are sorted by name, each once, so that two transactions never wait for each other in a circle.
#[derive(Debug)]
pub struct Batch<K, S, E> {
    commits: Vec<Arc<Commit<K, S, E>>>,
    changes: Vec<PositionChange<S>>,
}

/// The same commits; they are shared.
impl<K, S: Clone, E> Clone for Batch<K, S, E> {
    fn clone(&self) -> Self {
        Self { commits: self.commits.clone(), changes: self.changes.clone() }
    }
}

/// How a batch changes one stream of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionChange<S> {
    /// The stream.
    pub stream: StreamName,
    /// The position that the view must have for the batch to be applied; `None` before the first event.
    pub from: Option<S>,
    /// The position that the batch leaves it at.
    pub to: S,
}

impl<K, S: Sequence, E> Batch<K, S, E> {
    /// A batch of runs: of each stream its name, the position it is believed to have, and the commits right after it.
    ///
    /// # Panics
    ///
    /// If a run is empty or a stream comes twice, which is a mistake of the caller.
    pub fn new(mut runs: Vec<CommitRun<K, S, E>>) -> Self {
        runs.sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        assert!(
            runs.windows(2).all(|pair| pair[0].stream < pair[1].stream),
            "a stream comes once in a batch"
        );
        let changes = runs
            .iter()
            .map(|run| {
                let last = run.commits.last().expect("a run has a commit");
                PositionChange { stream: run.stream.clone(), from: run.from, to: last.last() }
            })
            .collect();
        let commits = runs.into_iter().flat_map(|run| run.commits).collect();
        Self { commits, changes }
    }

    /// The commits: streams by name, each stream in order.
    pub fn commits(&self) -> &[Arc<Commit<K, S, E>>] {
        &self.commits
    }

    /// The events of the commits, in the same order.
    pub fn events(&self) -> impl Iterator<Item = Event<'_, K, S, E>> {
        self.commits.iter().flat_map(|commit| commit.events())
    }

    /// The commits of each stream, in the order of [`changes`](Batch::position_changes).
    pub fn streams(&self) -> impl Iterator<Item = &[Arc<Commit<K, S, E>>]>
    where
        K: PartialEq,
    {
        self.commits.chunk_by(|a, b| a.key == b.key)
    }

    /// How the positions move, by name of the stream.
    pub fn position_changes(&self) -> &[PositionChange<S>] {
        &self.changes
    }

    /// The runs that the batch was made of.
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

    /// The number of events.
    pub fn event_count(&self) -> usize {
        self.commits.iter().map(|commit| commit.len()).sum()
    }
}

/// The next commits of one stream, for a [`Batch`].
#[derive(Debug)]
pub struct CommitRun<K, S, E> {
    /// The stream.
    pub stream: StreamName,
    /// The position that the view is believed to have.
    pub from: Option<S>,
    /// The commits right after it, at least one.
    pub commits: Vec<Arc<Commit<K, S, E>>>,
}

impl<K: Clone, S: Sequence, E> CommitRun<K, S, E> {
    /// The same commits in two runs, the first of `middle` commits; `middle` lies inside.
    pub(crate) fn split(mut self, middle: usize) -> (Self, Self) {
        let rest = self.commits.split_off(middle);
        let from = self.commits.last().map(|commit| commit.last());
        let second = Self { stream: self.stream.clone(), from, commits: rest };
        (self, second)
    }
}

//! Pages, the unit in which storages deliver events.

use std::ops::Range;
use std::sync::Arc;

use crate::commit::{Commit, Event, Head};
use crate::stream::Sequence;

/// Some consecutive events of a read, as shared commits. The page may cut the first and the last commit. Cheap to clone.
///
/// A stream of any length is read in pages, so a reader holds one page at a time. Within a page, a reader iterates over
/// slices: the cost of the asynchronous stream arises once for each page, not for each event.
#[derive(Debug)]
pub struct Page<K, S, E> {
    commits: Arc<Vec<Arc<Commit<K, S, E>>>>,
    range: Range<usize>,
    /// Number of events of the first commit that are before the page.
    skip: usize,
    /// Number of events of the last commit that are after the page.
    trim: usize,
}

/// A commit, and the indices of its events that are in a page.
type Part<'a, K, S, E> = (&'a Arc<Commit<K, S, E>>, Range<usize>);

impl<K, S: Sequence, E> Page<K, S, E> {
    /// Creates a page of whole commits, of one or more streams. The commits of each stream must be in order.
    pub fn new(commits: Vec<Arc<Commit<K, S, E>>>) -> Self {
        let range = 0..commits.len();
        Self { commits: Arc::new(commits), range, skip: 0, trim: 0 }
    }

    /// Creates a page of the events of `commits` from sequence `from` on, which may be inside a commit. The commits must
    /// belong to one stream and be in order.
    pub fn starting_at(commits: Arc<Vec<Arc<Commit<K, S, E>>>>, from: Option<S>) -> Self {
        let start = from.map_or(0, |from| commits.partition_point(|commit| commit.last() < from));
        let skip = commits.get(start).zip(from).map_or(0, |(commit, from)| commit.events_before(from));
        Self { range: start..commits.len(), commits, skip, trim: 0 }
    }

    /// Creates a page of the events of one commit at `indices`, which must not be empty.
    pub(crate) fn part_of(commit: Arc<Commit<K, S, E>>, indices: Range<usize>) -> Self {
        debug_assert!(indices.start < indices.end && indices.end <= commit.len(), "a page has an event");
        let trim = commit.len() - indices.end;
        Self { commits: Arc::new(vec![commit]), range: 0..1, skip: indices.start, trim }
    }

    /// Returns the commits that contain the events, whole.
    pub fn commits(&self) -> &[Arc<Commit<K, S, E>>] {
        &self.commits[self.range.clone()]
    }

    /// Returns the commits, each with the indices of its events that are in the page.
    pub fn parts(&self) -> impl Iterator<Item = (&Arc<Commit<K, S, E>>, Range<usize>)> {
        let last = self.range.len().wrapping_sub(1);
        self.commits().iter().enumerate().map(move |(index, commit)| {
            let start = if index == 0 { self.skip } else { 0 };
            let trim = if index == last { self.trim } else { 0 };
            (commit, start..commit.len() - trim)
        })
    }

    /// Returns the events, in order.
    pub fn events(&self) -> impl Iterator<Item = Event<'_, K, S, E>> {
        self.parts().flat_map(|(commit, indices)| commit.events_at(indices))
    }

    /// Returns the events before the first one that is not wanted, and true if all events are wanted. `wanted` receives a
    /// commit and the index of an event in it.
    pub(crate) fn take_while(&self, wanted: impl Fn(&Commit<K, S, E>, usize) -> bool) -> (Self, bool) {
        let mut taken = self.clone();
        for (position, (commit, indices)) in self.parts().enumerate() {
            let first = indices.start;
            let end = indices.into_iter().find(|&index| !wanted(commit, index));
            if let Some(end) = end {
                let cut = end > first;
                taken.range.end = self.range.start + position + usize::from(cut);
                taken.trim = if cut { commit.len() - end } else { 0 };
                return (taken, false);
            }
        }
        (taken, true)
    }

    /// Returns the cut commit at the start, the whole commits, and the cut commit at the end.
    pub(crate) fn split(
        &self,
    ) -> (Option<Part<'_, K, S, E>>, &[Arc<Commit<K, S, E>>], Option<Part<'_, K, S, E>>) {
        let (mut before, mut whole, mut after) = (None, self.commits(), None);
        if self.skip > 0
            && let Some((first, others)) = whole.split_first()
        {
            let trim = if others.is_empty() { self.trim } else { 0 };
            before = Some((first, self.skip..first.len() - trim));
            whole = others;
        }
        if self.trim > 0
            && let Some((last, others)) = whole.split_last()
        {
            after = Some((last, 0..last.len() - self.trim));
            whole = others;
        }
        (before, whole, after)
    }

    /// Returns the head of a stream that ends with the last event of the page.
    pub(crate) fn head(&self) -> Option<Head<S>> {
        let last = self.commits().last()?;
        let sequence = last.sequence(last.len() - 1 - self.trim);
        Some(Head { sequence, time: last.time, commit_id: Some(last.metadata.commit_id) })
    }

    /// Returns the sequence of the first event of the page, and its commit.
    pub(crate) fn first_event_head(&self) -> Option<Head<S>> {
        let first = self.commits().first()?;
        let commit_id = Some(first.metadata.commit_id);
        Some(Head { sequence: first.sequence(self.skip), time: first.time, commit_id })
    }

    /// Returns the events after the first one.
    pub(crate) fn without_first_event(mut self) -> Self {
        let events_of_first = self.parts().next().map(|(_, indices)| indices.len());
        match events_of_first {
            None => {}
            Some(1) => {
                (self.skip, self.range.start) = (0, self.range.start + 1);
                if self.range.is_empty() {
                    self.trim = 0;
                }
            }
            Some(_) => self.skip += 1,
        }
        self
    }

    /// True if the last commit has events after the page.
    pub(crate) fn ends_inside_commit(&self) -> bool {
        self.trim > 0
    }

    /// True if the page has no events.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Converts each commit with `map`, and drops those for which it returns `None`.
    ///
    /// A converted commit must have as many events as before. A page that cuts commits belongs to one stream, of which
    /// `map` drops all commits or none, so the cuts stay valid.
    pub(crate) fn filter_map_commits<K2, S2, E2>(
        self,
        map: impl FnMut(Arc<Commit<K, S, E>>) -> Option<Arc<Commit<K2, S2, E2>>>,
    ) -> Page<K2, S2, E2> {
        let commits: Vec<_> = match Arc::try_unwrap(self.commits) {
            Ok(owned) => {
                owned.into_iter().skip(self.range.start).take(self.range.len()).filter_map(map).collect()
            }
            Err(shared) => shared[self.range].iter().cloned().filter_map(map).collect(),
        };
        Page { range: 0..commits.len(), commits: Arc::new(commits), skip: self.skip, trim: self.trim }
    }
}

impl<K, S, E> Clone for Page<K, S, E> {
    fn clone(&self) -> Self {
        Self { commits: Arc::clone(&self.commits), range: self.range.clone(), ..*self }
    }
}

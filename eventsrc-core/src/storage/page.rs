//! Pages, in which stored commits are handed to readers.

use std::ops::Range;
use std::sync::Arc;

use crate::commit::{Commit, Event, Head};
use crate::stream::Sequence;

/// Some consecutive events, as a storage hands them over: the commits that they are part of, which the page may
/// cut at both ends. Cheap to clone.
///
/// A stream of any length is read page by page, so a reader holds one page at a time. Within the page a
/// reader loops over plain slices: the cost of the asynchronous stream is paid once a page, not once an event.
#[derive(Debug)]
pub struct Page<K, S, E> {
    commits: Arc<Vec<Arc<Commit<K, S, E>>>>,
    range: Range<usize>,
    /// Events of the first commit that lie before the page.
    skip: usize,
    /// Events of the last commit that lie after the page.
    trim: usize,
}

/// A commit, and the places of its events that are in a page.
type Part<'a, K, S, E> = (&'a Arc<Commit<K, S, E>>, Range<usize>);

impl<K, S: Sequence, E> Page<K, S, E> {
    /// All of `commits`: of one stream in order, or of several, each in order.
    pub fn new(commits: Vec<Arc<Commit<K, S, E>>>) -> Self {
        let range = 0..commits.len();
        Self { commits: Arc::new(commits), range, skip: 0, trim: 0 }
    }

    /// The events of `commits`, which are of one stream and in order, from `from` on; it may lie inside a commit.
    pub fn starting_at(commits: Arc<Vec<Arc<Commit<K, S, E>>>>, from: Option<S>) -> Self {
        let start = from.map_or(0, |from| commits.partition_point(|commit| commit.last() < from));
        let skip = commits.get(start).zip(from).map_or(0, |(commit, from)| commit.events_before(from));
        Self { range: start..commits.len(), commits, skip, trim: 0 }
    }

    /// The events of one commit whose places are in `places`, which is not empty.
    pub(crate) fn part_of(commit: Arc<Commit<K, S, E>>, places: Range<usize>) -> Self {
        debug_assert!(places.start < places.end && places.end <= commit.len(), "a page has an event");
        let trim = commit.len() - places.end;
        Self { commits: Arc::new(vec![commit]), range: 0..1, skip: places.start, trim }
    }

    /// The commits that the events are part of, whole.
    pub fn commits(&self) -> &[Arc<Commit<K, S, E>>] {
        &self.commits[self.range.clone()]
    }

    /// The commits, each with the places of its events that are in the page.
    pub fn parts(&self) -> impl Iterator<Item = (&Arc<Commit<K, S, E>>, Range<usize>)> {
        let last = self.range.len().wrapping_sub(1);
        self.commits().iter().enumerate().map(move |(index, commit)| {
            let start = if index == 0 { self.skip } else { 0 };
            let trim = if index == last { self.trim } else { 0 };
            (commit, start..commit.len() - trim)
        })
    }

    /// The events, in order.
    pub fn events(&self) -> impl Iterator<Item = Event<'_, K, S, E>> {
        self.parts().flat_map(|(commit, places)| {
            let first = places.start;
            commit.payloads[places].iter().enumerate().map(move |(place, payload)| Event {
                commit,
                index: first + place,
                payload,
            })
        })
    }

    /// The events before the first that is not wanted, and whether those are all.
    pub(crate) fn take_while(&self, wanted: impl Fn(Event<'_, K, S, E>) -> bool) -> (Self, bool) {
        let mut taken = self.clone();
        for (place, (commit, places)) in self.parts().enumerate() {
            let first = places.start;
            let end = places
                .into_iter()
                .find(|&index| !wanted(Event { commit, index, payload: &commit.payloads[index] }));
            if let Some(end) = end {
                let cut = end > first;
                taken.range.end = self.range.start + place + usize::from(cut);
                taken.trim = if cut { commit.len() - end } else { 0 };
                return (taken, false);
            }
        }
        (taken, true)
    }

    /// The commits that are in the page as a whole, and those that it cuts, before and after them.
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

    /// The last event, as what is known of a stream that ends there.
    pub(crate) fn head(&self) -> Option<Head<S>> {
        let last = self.commits().last()?;
        Some(Head { sequence: last.sequence(last.len() - 1 - self.trim), time: last.time })
    }

    /// Whether the last commit goes on after the last event.
    pub(crate) fn ends_inside_commit(&self) -> bool {
        self.trim > 0
    }

    /// Whether the page has no events.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The page of what `map` makes of each commit, without those that it drops; a mapped commit has as many events. A page
    /// that cuts commits is of one stream, of which nothing is dropped: so the cuts stay with the commits they were made in.
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

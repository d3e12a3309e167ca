//! A bounded queue of changes for a reader that may be slow.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::contract::Change;
use crate::commit::Commit;
use crate::stream::{Sequence, StreamKey};

/// Changes that a reader has not taken yet. Commits beyond the capacity become hints that name their streams, and hints
/// beyond the capacity become one `Anything`. Every added commit is delivered, or a hint that is delivered later
/// covers it.
pub(super) struct PendingChanges<K, S, E> {
    capacity: usize,
    /// At most `capacity` commits, `capacity` streams and one `Anything`, in the order in which they came.
    changes: VecDeque<Change<K, S, E>>,
    /// Number of commits among the changes.
    commits: usize,
    /// Streams that the hints name. Reading a stream after its hint shows all commits that were stored until then.
    streams: HashSet<K>,
    /// True if the changes contain `Anything`, which covers all commits that are added until it is taken.
    anything: bool,
    /// True if no more changes are added.
    closed: bool,
}

impl<K: StreamKey, S: Sequence, E> PendingChanges<K, S, E> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            changes: VecDeque::new(),
            commits: 0,
            streams: HashSet::new(),
            anything: false,
            closed: false,
        }
    }

    /// Adds a commit, or a hint if the commit does not fit.
    pub(super) fn add(&mut self, commit: &Arc<Commit<K, S, E>>) {
        if self.anything || self.streams.contains(&commit.key) {
            return;
        }
        if self.commits < self.capacity {
            self.commits += 1;
            self.changes.push_back(Change::Commit(Arc::clone(commit)));
        } else {
            self.add_hint(&commit.key);
        }
    }

    /// Adds a hint that a stream may have grown.
    pub(super) fn add_hint(&mut self, key: &K) {
        if self.anything || !self.streams.insert(key.clone()) {
            return;
        }
        if self.streams.len() <= self.capacity {
            self.changes.push_back(Change::Stream(key.clone()));
            return;
        }
        self.changes.retain(|change| matches!(change, Change::Commit(_)));
        self.streams = HashSet::new();
        self.anything = true;
        self.changes.push_back(Change::Anything);
    }

    /// Removes and returns the first changes, at most `limit`.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Change<K, S, E>> {
        let taken: Vec<_> = self.changes.drain(..limit.min(self.changes.len())).collect();
        for change in &taken {
            match change {
                Change::Commit(_) => self.commits -= 1,
                Change::Stream(key) => drop(self.streams.remove(key)),
                Change::Anything => self.anything = false,
            }
        }
        taken
    }

    /// Returns the number of waiting changes.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Marks the queue as complete: no more changes are added.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// True if no more changes are added.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use vec1::vec1;

    use super::*;
    use crate::clock::Randomness;
    use crate::commit::Metadata;
    use crate::stream::StreamName;

    fn waiting(capacity: usize) -> PendingChanges<StreamName, u64, ()> {
        PendingChanges::new(capacity)
    }

    fn name(id: char) -> StreamName {
        StreamName::new("stream", &id.to_string()).unwrap()
    }

    /// Adds a commit to each of these streams.
    fn add(waiting: &mut PendingChanges<StreamName, u64, ()>, streams: &str) {
        for id in streams.chars() {
            let time = Timestamp::UNIX_EPOCH;
            let metadata = Metadata::new(Randomness::seeded(1).commit_id(time));
            let (key, payloads) = (name(id), vec1![()]);
            waiting.add(&Arc::new(Commit {
                key,
                first: 1,
                previous: None,
                time,
                metadata,
                payloads: payloads.into(),
            }));
        }
    }

    /// Renders the next changes: `a` for a commit, `(a)` for a hint that names stream `a`, `*` for `Anything`.
    fn take(waiting: &mut PendingChanges<StreamName, u64, ()>, limit: usize) -> String {
        let render = |change: Change<StreamName, u64, ()>| match change {
            Change::Commit(commit) => commit.key.id().to_owned(),
            Change::Stream(key) => format!("({})", key.id()),
            Change::Anything => "*".to_owned(),
        };
        waiting.take(limit).into_iter().map(render).collect()
    }

    #[test]
    fn beyond_the_capacity_each_stream_is_hinted_once_and_beyond_as_many_hints_comes_anything() {
        for (streams, expected) in [
            ("abc", "abc"),
            ("aaaa", "aaa(a)"),
            ("abcab", "abc(a)(b)"),
            ("abcaabbcacb", "abc(a)(b)(c)"),
            ("abcaabbcd", "abc*"),
            ("abcaabbcdefgabc", "abc*"),
        ] {
            let mut waiting = waiting(3);
            add(&mut waiting, streams);
            assert!(waiting.len() <= 7);
            assert_eq!(take(&mut waiting, 100), expected, "{streams}");
            assert_eq!(take(&mut waiting, 100), "");
            add(&mut waiting, "abcd");
            assert_eq!(take(&mut waiting, 100), "abc(d)", "{streams}: there is room again");
        }
    }

    #[test]
    fn a_hint_covers_commits_that_are_added_until_it_is_taken() {
        let mut waiting = waiting(2);
        add(&mut waiting, "abc");
        assert_eq!(take(&mut waiting, 1), "a");
        add(&mut waiting, "cd");
        assert_eq!(take(&mut waiting, 3), "b(c)d");
        add(&mut waiting, "c");
        assert_eq!(take(&mut waiting, 3), "c");
        add(&mut waiting, "abcdef");
        assert_eq!(take(&mut waiting, 2), "ab");
        add(&mut waiting, "abc");
        assert_eq!(take(&mut waiting, 3), "*");
        add(&mut waiting, "ab");
        assert_eq!(take(&mut waiting, 3), "ab");
    }

    #[test]
    fn a_hint_does_not_use_the_capacity_for_commits() {
        let mut waiting = waiting(2);
        waiting.add_hint(&name('x'));
        add(&mut waiting, "xaxb");
        waiting.add_hint(&name('a'));
        add(&mut waiting, "a");
        assert_eq!(take(&mut waiting, 100), "(x)ab(a)");
    }

    #[test]
    fn with_capacity_zero_every_commit_becomes_anything() {
        let mut waiting = waiting(0);
        add(&mut waiting, "ab");
        assert_eq!(take(&mut waiting, 100), "*");
    }
}

//! What waits for a reader who may be slow.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::contract::Change;
use crate::commit::Commit;
use crate::stream::{Sequence, StreamKey};

/// The changes that a reader has not taken yet: commits while there is room, then the names of their streams, and then only that
/// there was something. Whatever is told is delivered, or covered by what is delivered later.
pub(super) struct PendingChanges<K, S, E> {
    capacity: usize,
    /// At most `capacity` commits, `capacity` streams and one `Anything`, in the order in which they came.
    changes: VecDeque<Change<K, S, E>>,
    /// How many of the changes are commits.
    commits: usize,
    /// The streams among the changes: who reads them later sees all that was stored until then.
    streams: HashSet<K>,
    /// Whether `Anything` is among the changes, which covers whatever comes until it is taken.
    anything: bool,
    /// Nothing comes any more.
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

    /// Adds a commit, or what there is room for.
    pub(super) fn add(&mut self, commit: &Arc<Commit<K, S, E>>) {
        if self.anything || self.streams.contains(&commit.key) {
            return;
        }
        if self.commits < self.capacity {
            self.commits += 1;
            self.changes.push_back(Change::Commit(Arc::clone(commit)));
        } else {
            self.name(&commit.key);
        }
    }

    /// Names a stream that may have grown.
    pub(super) fn name(&mut self, key: &K) {
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

    /// Takes the first changes, `limit` at most.
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

    /// How many changes wait.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Says that nothing more comes.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether nothing more comes.
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
            waiting.add(&Arc::new(Commit { key: name(id), first: 1, time, metadata, payloads: vec1![()] }));
        }
    }

    /// A letter for a commit, one in brackets for a stream, a star for anything.
    fn take(waiting: &mut PendingChanges<StreamName, u64, ()>, limit: usize) -> String {
        let tell = |change: Change<StreamName, u64, ()>| match change {
            Change::Commit(commit) => commit.key.id().to_owned(),
            Change::Stream(key) => format!("({})", key.id()),
            Change::Anything => "*".to_owned(),
        };
        waiting.take(limit).into_iter().map(tell).collect()
    }

    #[test]
    fn past_the_capacity_streams_are_named_once_each_and_past_as_many_anything_may_have_grown() {
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
    fn what_is_named_covers_what_comes_until_it_is_taken() {
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
    fn a_stream_that_may_have_grown_takes_no_commits_place() {
        let mut waiting = waiting(2);
        waiting.name(&name('x'));
        add(&mut waiting, "xaxb");
        waiting.name(&name('a'));
        add(&mut waiting, "a");
        assert_eq!(take(&mut waiting, 100), "(x)ab(a)");
    }

    #[test]
    fn without_any_capacity_anything_may_have_grown() {
        let mut waiting = waiting(0);
        add(&mut waiting, "ab");
        assert_eq!(take(&mut waiting, 100), "*");
    }
}

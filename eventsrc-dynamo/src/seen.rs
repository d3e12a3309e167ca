//! Commits that this process has read or stored, so that most puts need not read the commit before them.

use std::time::Duration;

use eventsrc_core::backend::EncodedHead;
use quick_cache::sync::Cache;
use uuid::Uuid;

/// Maximum number of streams whose last seen commit is kept.
const STREAMS: usize = 10_000;

/// Last seen commit of each stream. A stream that was not used for long makes way for others.
pub(crate) struct SeenCommits {
    last: Cache<String, SeenCommit>,
    trust_for: Duration,
}

/// A commit that the table had when it was seen. The stream may have grown since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenCommit {
    /// Number of the first event.
    pub(crate) first: u64,
    /// Number of the last event.
    pub(crate) last: u64,
    pub(crate) commit_id: Uuid,
    /// Time of the monotonic clock.
    seen_at: Duration,
}

impl SeenCommits {
    /// Trusts a commit for `trust_for` after it was seen.
    pub(crate) fn new(trust_for: Duration) -> Self {
        Self { last: Cache::new(STREAMS), trust_for }
    }

    /// Notes a commit that was seen at `now`, unless a later one of the stream is known.
    pub(crate) fn note(&self, stream: &str, first: u64, head: EncodedHead, now: Duration) {
        // Two notes of one stream may race and leave the earlier commit, which costs one read and is still true.
        if !self.trust_for.is_zero() && self.lately(stream, now).is_none_or(|known| known.last <= head.number)
        {
            let commit = SeenCommit { first, last: head.number, commit_id: head.commit_id, seen_at: now };
            self.last.insert(stream.to_owned(), commit);
        }
    }

    /// Returns the last commit of `stream` that was seen, if it is still trusted at `now`.
    pub(crate) fn lately(&self, stream: &str, now: Duration) -> Option<SeenCommit> {
        self.last.get(stream).filter(|commit| now.saturating_sub(commit.seen_at) < self.trust_for)
    }

    pub(crate) fn forget_all(&self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn head(number: u64) -> EncodedHead {
        EncodedHead { number, zone: 0, time: 0, commit_id: Uuid::from_u128(number.into()) }
    }

    fn last(seen: &SeenCommits, stream: &str, now: Duration) -> Option<u64> {
        seen.lately(stream, now).map(|commit| commit.last)
    }

    #[test]
    fn a_commit_is_trusted_for_a_time() {
        let seen = SeenCommits::new(MINUTE);
        seen.note("user/1", 6, head(7), MINUTE);
        let expected = SeenCommit { first: 6, last: 7, commit_id: head(7).commit_id, seen_at: MINUTE };
        assert_eq!(seen.lately("user/1", MINUTE * 3 / 2), Some(expected));
        assert_eq!(last(&seen, "user/1", MINUTE * 2), None);
        assert_eq!(last(&seen, "user/2", MINUTE), None);
        seen.note("user/1", 6, head(7), MINUTE * 2);
        assert_eq!(last(&seen, "user/1", MINUTE * 5 / 2), Some(7), "it was seen again");
        seen.forget_all();
        assert_eq!(last(&seen, "user/1", MINUTE * 5 / 2), None);
    }

    #[test]
    fn an_earlier_commit_replaces_a_later_one_only_if_that_is_not_trusted() {
        let seen = SeenCommits::new(MINUTE);
        seen.note("user/1", 7, head(7), MINUTE);
        seen.note("user/1", 3, head(3), MINUTE);
        assert_eq!(last(&seen, "user/1", MINUTE), Some(7));
        seen.note("user/1", 8, head(8), MINUTE);
        assert_eq!(last(&seen, "user/1", MINUTE), Some(8));
        seen.note("user/1", 3, head(3), MINUTE * 2);
        assert_eq!(last(&seen, "user/1", MINUTE * 2), Some(3));
    }

    #[test]
    fn no_commit_is_trusted_for_no_time() {
        let seen = SeenCommits::new(Duration::ZERO);
        seen.note("user/1", 7, head(7), MINUTE);
        assert_eq!(last(&seen, "user/1", MINUTE), None);
    }
}

//! Ids of the last commits of a stream, by which a repeated command is recognised.

use std::collections::VecDeque;

use crate::commit::{CommitId, Head};
use crate::storage::{EventStorage, StorageError};
use crate::stream::Sequence;

/// Ids of all commits of a stream in a range of numbers that ends at a sequence known to the writer.
#[derive(Debug, Clone)]
pub(super) struct RecentIds<S> {
    /// Every commit that ends after this number, up to the last one in `ends`, is in `ends`.
    after: u64,
    /// Id, if the storage tells it, and last sequence of each commit, in order.
    ends: VecDeque<(Option<CommitId>, S)>,
}

impl<S: Sequence> RecentIds<S> {
    /// Creates an empty range after `number`.
    pub(super) fn after(number: u64) -> Self {
        Self { after: number, ends: VecDeque::new() }
    }

    /// Creates the range of `heads`, the last commits of a stream, newest first. `whole` is true if the stream has no
    /// others.
    fn of_heads(heads: &[Head<S>], whole: bool) -> Self {
        let oldest = heads.last().map_or(0, |head| head.sequence.number() - 1);
        let ends = heads.iter().rev().map(|head| (head.commit_id, head.sequence));
        Self { after: if whole { 0 } else { oldest }, ends: ends.collect() }
    }

    /// Makes the range cover every commit of the stream that ends after `after`, up to the one that ends at `end`. It
    /// reads the heads of the last commits, unless the range covers them already. Returns true if it read them.
    pub(super) async fn cover<St>(
        &mut self,
        storage: &St,
        key: &St::Key,
        after: u64,
        end: u64,
    ) -> Result<bool, StorageError>
    where
        St: EventStorage<Sequence = S>,
    {
        let (mut newest, mut read) = (end, false);
        while !self.covers(after, end) {
            read = true;
            // Each commit has an event, so this many commits reach back far enough.
            let count = usize::try_from(newest - after).unwrap_or(usize::MAX);
            let heads = storage.recent(key, count).await?;
            *self = Self::of_heads(&heads, heads.len() < count);
            let last = heads.first().map_or(0, |head| head.sequence.number());
            if last <= newest {
                break;
            }
            newest = last;
        }
        Ok(read)
    }

    /// True if the range has every commit that ends after `after`, up to the one that ends at `to`.
    fn covers(&self, after: u64, to: u64) -> bool {
        self.after <= after && self.end() >= to
    }

    /// Returns the last sequence of the commit with this id.
    pub(super) fn find(&self, id: CommitId) -> Option<S> {
        self.ends.iter().find(|(known, _)| *known == Some(id)).map(|(_, last)| *last)
    }

    /// Returns the end of the commit that ends at `sequence`, if the range has one.
    pub(super) fn end_at(&self, sequence: S) -> Option<(S, Option<CommitId>)> {
        self.ends.iter().rev().find(|(_, last)| *last == sequence).map(|(id, last)| (*last, *id))
    }

    /// Returns the last end of the range.
    pub(super) fn last(&self) -> Option<(S, Option<CommitId>)> {
        self.ends.back().map(|(id, last)| (*last, *id))
    }

    /// Adds a commit that begins at `first`, unless the range includes it already, and drops the oldest ones beyond
    /// `limit`. If the commit does not follow the range, the range restarts with it.
    pub(super) fn push(&mut self, first: S, id: CommitId, last: S, limit: usize) {
        if self.end() >= last.number() {
            return;
        }
        let before = first.number() - 1;
        if self.end() != before {
            *self = Self::after(before);
        }
        self.ends.push_back((Some(id), last));
        while self.ends.len() > limit {
            if let Some((_, dropped)) = self.ends.pop_front() {
                self.after = dropped.number();
            }
        }
    }

    fn end(&self) -> u64 {
        self.ends.back().map_or(self.after, |(_, last)| last.number())
    }
}

/// True if a stream that had its end at `earlier` can end at `end` now.
pub(super) fn may_lead_to<S: Sequence>(
    earlier: (S, Option<CommitId>),
    end: Option<(S, Option<CommitId>)>,
) -> bool {
    end.is_some_and(|end| end.0 > earlier.0 || (end.0 == earlier.0 && agree(end.1, earlier.1)))
}

/// True if two ids are equal as far as both are known.
pub(super) fn agree(one: Option<CommitId>, other: Option<CommitId>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> CommitId {
        CommitId(uuid::Uuid::from_u128(number.into()))
    }

    #[test]
    fn a_range_grows_without_gaps_up_to_its_limit() {
        let mut recent = RecentIds::after(4);
        for number in 5..10_u64 {
            recent.push(number, id(number), number, 3);
        }
        assert!(recent.covers(6, 9) && !recent.covers(5, 9) && !recent.covers(6, 10));
        assert_eq!((recent.find(id(6)), recent.find(id(7))), (None, Some(7)));
        recent.push(12, id(12), 14, 3);
        assert!(recent.covers(11, 14) && !recent.covers(6, 14), "a gap restarts the range");
    }

    #[test]
    fn heads_cover_what_they_end() {
        let head = |sequence: u64| Head {
            sequence,
            time: jiff::Timestamp::UNIX_EPOCH,
            commit_id: Some(id(sequence)),
        };
        let part = RecentIds::of_heads(&[head(9), head(6)], false);
        assert!(part.covers(5, 9) && !part.covers(4, 9));
        assert!(RecentIds::of_heads(&[head(9), head(6)], true).covers(0, 9));
        assert!(RecentIds::<u64>::of_heads(&[], true).covers(0, 0));
    }
}

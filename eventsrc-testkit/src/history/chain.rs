//! Links of the commits of a stream.

use eventsrc_core::{Commit, CommitId, Sequence};

use super::violation::{Violation, ViolationKind};

/// Checks that each commit of a stream that names a previous one names the commit before it.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The commit that the read is at: the one before it, and its own id.
    current: Option<(Option<CommitId>, CommitId)>,
}

impl Chain {
    /// Adds the next commit of a read, or the same one again if a page begins inside it.
    pub(super) fn add<K, S: Sequence, E>(
        &mut self,
        stream: &str,
        commit: &Commit<K, S, E>,
    ) -> Result<(), Violation> {
        let id = commit.metadata.commit_id;
        let before = match self.current {
            Some((before, current)) if current == id => before,
            current => current.map(|(_, current)| current),
        };
        self.current = Some((before, id));
        if commit.previous.is_none() || commit.previous == before {
            return Ok(());
        }
        let text = |id: Option<CommitId>| id.map_or_else(|| "none".into(), |id| id.to_string());
        let what = format!(
            "in the end commit {id} at {} names {} as its previous commit, and the commit before it is {}",
            commit.first,
            text(commit.previous),
            text(before)
        );
        Err(Violation { kind: ViolationKind::BrokenChain, stream: stream.into(), what })
    }
}

#[cfg(test)]
mod tests {
    use eventsrc_core::commit::vec1;
    use eventsrc_core::{Metadata, StreamName, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn kind(previous: &[(u128, Option<u128>)]) -> Option<ViolationKind> {
        let id = |id| CommitId(Uuid::from_u128(id));
        let mut chain = Chain::default();
        let mut results = (1..).zip(previous).map(|(first, (own, previous))| {
            let key: StreamName = "user/1".parse().unwrap();
            let (time, metadata) = (Timestamp::UNIX_EPOCH, Metadata::new(id(*own)));
            let previous = previous.map(id);
            chain.add("user/1", &Commit { key, first, previous, time, metadata, payloads: vec1![7].into() })
        });
        results.find_map(Result::err).map(|violation| violation.kind)
    }

    #[test]
    fn a_link_to_another_commit_is_a_broken_chain() {
        assert_eq!(
            kind(&[(1, None), (2, Some(1)), (3, None), (4, Some(3)), (4, Some(3)), (5, Some(4))]),
            None
        );
        assert_eq!(kind(&[(1, None), (2, Some(1)), (3, Some(1))]), Some(ViolationKind::BrokenChain));
        assert_eq!(kind(&[(1, Some(7))]), Some(ViolationKind::BrokenChain));
    }
}

//! Refresh of what a save knows of its stream, and checks that the storage still has that history.

use super::knowledge::{Basis, Knowledge};
use super::operation::Known;
use super::recent_ids::{RecentIds, agree, may_lead_to};
use super::save_loop::{SaveLoop, SequenceOf};
use super::streams::Turn;
use super::writer::remember;
use crate::commit::{CommitId, Head};
use crate::storage::{CommitOf, Conflict, Diverged, EventStorage, StorageError};
use crate::stream::Sequence;

/// End of a stream that a token names.
type Named<St> = (SequenceOf<St>, Option<CommitId>);

impl<St, N, D> SaveLoop<'_, St, N, D>
where
    St: EventStorage,
    N: Knowledge<St>,
{
    /// Returns the end of the stream that a trusted token names.
    pub(super) fn named(&self) -> Option<Named<St>> {
        let token = Some(&self.context.token).filter(|token| token.is_trusted())?;
        Some((token.sequence(self.key)?, token.commit_id(self.key)))
    }

    /// Makes `basis`, which is what this writer remembers, as new as what a trusted token names or another save of this
    /// writer has seen. Reads the storage if nothing is known, or after a put with an unknown result.
    pub(super) async fn begin(
        &self,
        named: Option<Named<St>>,
        basis: &mut Basis<N::Known>,
        turn: &mut Turn<'_, St::Key, SequenceOf<St>>,
    ) -> Result<(), StorageError> {
        if let Some((sequence, commit_id)) = named
            && basis.known.sequence() < Some(sequence)
            && let Some(later) = self.knowledge.at(sequence, commit_id)
        {
            *basis = later;
        }
        let seen = turn.remembered.head.map(|head| head.sequence).max(named.map(|(sequence, _)| sequence));
        if basis.is_nothing || turn.remembered.is_doubtful || basis.known.sequence() < seen {
            self.refresh(basis, turn).await?;
        }
        Ok(())
    }

    /// Checks that a trusted token is of the history of the stream that is known. A token that is behind is not compared if
    /// it has no commit id, or is further behind than the commits that are searched for idempotency keys.
    pub(super) async fn check_token(
        &self,
        (sequence, commit_id): Named<St>,
        basis: &Basis<N::Known>,
        turn: &mut Turn<'_, St::Key, SequenceOf<St>>,
    ) -> Result<(), StorageError> {
        let mut stored = basis.known.sequence().map(|known| (known, basis.commit_id));
        if let Some((known, _)) = stored.filter(|(known, _)| *known > sequence) {
            let (after, end) = (sequence.number() - 1, known.number());
            if commit_id.is_none() || end - after > self.writer.settings.repeats_among.into() {
                return Ok(());
            }
            let recent = turn.remembered.recent.get_or_insert_with(|| RecentIds::after(end));
            recent.cover(&self.writer.storage, self.key, after, end).await?;
            stored = recent.end_at(sequence).or(stored);
        }
        if stored.is_some_and(|(at, id)| at == sequence && agree(id, commit_id)) {
            return Ok(());
        }
        let time = basis.time.unwrap_or_default();
        let stored = stored.map(|(sequence, commit_id)| Head { sequence, time, commit_id });
        Err(Diverged::error(self.key, (sequence, commit_id), stored.as_ref()))
    }

    /// Reads the current knowledge from the storage.
    ///
    /// # Errors
    ///
    /// Those of the read; `Diverged` if the stream ends before what a save of this writer has seen, or differently.
    pub(super) async fn refresh(
        &self,
        basis: &mut Basis<N::Known>,
        turn: &mut Turn<'_, St::Key, SequenceOf<St>>,
    ) -> Result<(), StorageError> {
        self.knowledge.read(basis).await?;
        turn.remembered.is_doubtful = false;
        let end = basis.known.sequence().map(|sequence| (sequence, basis.commit_id));
        if let Some(seen) =
            turn.remembered.head.filter(|seen| !may_lead_to((seen.sequence, seen.commit_id), end))
        {
            let time = basis.time.unwrap_or_default();
            let stored = end.map(|(sequence, commit_id)| Head { sequence, time, commit_id });
            return Err(Diverged::error(self.key, (seen.sequence, seen.commit_id), stored.as_ref()));
        }
        remember(basis, turn);
        // A restored storage may have another history than the one that is remembered.
        turn.remembered.recent.take_if(|recent| recent.last().is_some_and(|last| !may_lead_to(last, end)));
        Ok(())
    }

    /// Advances the knowledge by a stored commit that directly follows it.
    pub(super) fn advance(
        &self,
        basis: &mut Basis<N::Known>,
        commit: &CommitOf<St>,
        turn: &mut Turn<'_, St::Key, SequenceOf<St>>,
    ) {
        self.knowledge.advance(&mut basis.known, commit);
        (basis.commit_id, basis.time) = (Some(commit.metadata.commit_id), Some(commit.time));
        remember(basis, turn);
        if let Some(recent) = &mut turn.remembered.recent {
            let limit = self.writer.settings.repeats_among as usize;
            recent.push(commit.first, commit.metadata.commit_id, commit.last(), limit);
        }
    }

    /// Brings the knowledge up to date with what a conflict tells. Returns false if that is not enough.
    ///
    /// The conflicting commit is usually the only one that was missed.
    pub(super) fn catch_up(
        &self,
        basis: &mut Basis<N::Known>,
        Conflict { existing, head }: Conflict<St::Key, SequenceOf<St>, St::Payload>,
        turn: &mut Turn<'_, St::Key, SequenceOf<St>>,
    ) -> Result<bool, StorageError> {
        let after = basis.known.sequence().map_or(0, Sequence::number);
        if let Some((existing, known)) = existing.as_ref().zip(basis.known.sequence())
            && existing.first.number() <= after
        {
            // It includes the event at which a commit that the writer knows ends.
            let id = Some(existing.metadata.commit_id);
            let stored = Head { sequence: existing.last(), time: existing.time, commit_id: id };
            return Err(Diverged::error(self.key, (known, basis.commit_id), Some(&stored)));
        }
        if let Some(existing) = existing.filter(|existing| existing.first.number() == after + 1) {
            let known = basis.known.sequence().zip(basis.commit_id);
            if let Some((previous, (sequence, known))) = existing.previous.zip(known)
                && previous != known
            {
                let stored = Head { sequence, time: existing.time, commit_id: Some(previous) };
                return Err(Diverged::error(self.key, (sequence, Some(known)), Some(&stored)));
            }
            if head.is_none_or(|head| head.sequence == existing.last()) {
                self.advance(basis, &existing, turn);
                basis.fresh = head.is_some();
                return Ok(true);
            }
        }
        let Some((head, at)) =
            head.and_then(|head| Some((head, self.knowledge.at(head.sequence, head.commit_id)?)))
        else {
            return Ok(false);
        };
        *basis = Basis { time: Some(head.time), fresh: true, ..at };
        remember(basis, turn);
        Ok(true)
    }

    /// Searches for a stored commit with this id among those that the context or the settings name, and returns its last
    /// sequence. What the writer remembers saves the read, unless it has the commit, which a restored storage may lack.
    pub(super) async fn find_repeated(
        &self,
        commit_id: CommitId,
        basis: &Basis<N::Known>,
        turn: &mut Turn<'_, St::Key, SequenceOf<St>>,
    ) -> Result<Option<SequenceOf<St>>, StorageError> {
        let end = basis.known.sequence().map_or(0, Sequence::number);
        let named = self.context.token.position(self.key).map(|position| position.number);
        let after =
            named.unwrap_or_else(|| end.saturating_sub(self.writer.settings.repeats_among.into())).min(end);
        let storage = &self.writer.storage;
        let recent = turn.remembered.recent.get_or_insert_with(|| RecentIds::after(end));
        let was_read = recent.cover(storage, self.key, after, end).await?;
        let Some(found) = recent.find(commit_id).filter(|_| !was_read) else {
            return Ok(recent.find(commit_id));
        };
        // The range may go on beyond what is known, up to a commit that came while it was read.
        let end = end.max(found.number());
        let mut stored = RecentIds::after(end);
        stored.cover(storage, self.key, found.number() - 1, end).await?;
        if stored.find(commit_id) == Some(found) {
            return Ok(Some(found));
        }
        turn.remembered.recent = None;
        let stored = storage.latest(self.key).await?;
        Err(Diverged::error(self.key, (found, Some(commit_id)), stored.as_ref()))
    }
}

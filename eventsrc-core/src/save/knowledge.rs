//! What a save knows of its stream, and how it learns more.

use std::ops::{Deref, DerefMut};

use jiff::Timestamp;

use super::operation::Known;
use crate::commit::{CommitId, Head};
use crate::storage::{CommitOf, EventStorage, StorageError};

/// Knowledge of one stream, and its refresh after a conflict.
pub(super) trait Knowledge<St: EventStorage>: Sync {
    /// Value that operations decide on.
    type Known: Known<Sequence = St::Sequence>;

    /// Takes what the writer remembers out of its cache. It may be stale. `head` is the remembered head of the stream.
    fn remembered(&self, head: Option<&Head<St::Sequence>>) -> Basis<Self::Known>;

    /// Returns knowledge to the cache, at the end of a save.
    fn give_back(&self, basis: Basis<Self::Known>);

    /// Returns the knowledge of a stream whose last commit ends at `sequence`, if that determines it.
    fn at(&self, sequence: St::Sequence, commit_id: Option<CommitId>) -> Option<Basis<Self::Known>>;

    /// Brings the knowledge up to date from the storage. If the call fails or is dropped, the knowledge stays valid.
    fn read(&self, basis: &mut Basis<Self::Known>) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Advances the knowledge by `commit`, which directly follows it.
    fn advance(&self, known: &mut Self::Known, commit: &CommitOf<St>);
}

/// Knowledge that operations decide on, and its reliability.
pub(super) struct Basis<Kn> {
    pub(super) known: Kn,
    /// Id of the last commit, if known. The next commit names it.
    pub(super) commit_id: Option<CommitId>,
    /// Time of the last commit, if known. The next commit is not earlier.
    pub(super) time: Option<Timestamp>,
    /// True if it was read during this save, so that a decision not to save is final.
    pub(super) fresh: bool,
    /// True before anything was read.
    pub(super) is_nothing: bool,
}

impl<Kn> Basis<Kn> {
    /// Creates the knowledge before anything was read.
    pub(super) fn nothing(known: Kn) -> Self {
        Self { known, commit_id: None, time: None, fresh: false, is_nothing: true }
    }

    /// Creates remembered knowledge of a stream with this head.
    pub(super) fn remembered<S>(known: Kn, head: Option<&Head<S>>) -> Self {
        let (commit_id, time) = (head.and_then(|head| head.commit_id), head.map(|head| head.time));
        Self { known, commit_id, time, fresh: false, is_nothing: false }
    }

    /// Marks the knowledge as just read from a stream with this head.
    pub(super) fn was_read<S>(&mut self, head: Option<&Head<S>>) {
        (self.commit_id, self.time) = (head.and_then(|head| head.commit_id), head.map(|head| head.time));
        (self.fresh, self.is_nothing) = (true, false);
    }
}

/// Knowledge that a save has taken out of the cache. It returns there when the save ends or is dropped.
pub(super) struct Held<'a, St: EventStorage, N: Knowledge<St>> {
    knowledge: &'a N,
    /// `None` once forgotten.
    basis: Option<Basis<N::Known>>,
}

impl<'a, St: EventStorage, N: Knowledge<St>> Held<'a, St, N> {
    pub(super) fn new(knowledge: &'a N, basis: Basis<N::Known>) -> Self {
        Self { knowledge, basis: Some(basis) }
    }

    /// Forgets the knowledge. The save must not use it again.
    pub(super) fn forget(&mut self) {
        self.basis = None;
    }
}

impl<St: EventStorage, N: Knowledge<St>> Deref for Held<'_, St, N> {
    type Target = Basis<N::Known>;

    fn deref(&self) -> &Basis<N::Known> {
        self.basis.as_ref().expect("forgotten knowledge is not used")
    }
}

impl<St: EventStorage, N: Knowledge<St>> DerefMut for Held<'_, St, N> {
    fn deref_mut(&mut self) -> &mut Basis<N::Known> {
        self.basis.as_mut().expect("forgotten knowledge is not used")
    }
}

impl<St: EventStorage, N: Knowledge<St>> Drop for Held<'_, St, N> {
    fn drop(&mut self) {
        if let Some(basis) = self.basis.take().filter(|basis| !basis.is_nothing) {
            self.knowledge.give_back(basis);
        }
    }
}

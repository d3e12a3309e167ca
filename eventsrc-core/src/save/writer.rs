//! Components of a writer, and what it remembers of its streams.

use std::sync::Arc;

use super::knowledge::{Basis, Held, Knowledge};
use super::operation::Known;
use super::settings::SaveSettings;
use super::streams::{Remembered, Streams, Turn};
use crate::clock::{Clock, Randomness};
use crate::commit::{CommitId, Head};
use crate::storage::{ErrorKind, EventStorage, StorageError};
use crate::stream::StreamKey;

/// Components of a writer that all its saves share.
pub(super) struct Writer<St: EventStorage> {
    pub(super) storage: St,
    pub(super) settings: SaveSettings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<Randomness>,
    pub(super) streams: Streams<St::Key, St::Sequence>,
}

impl<St: EventStorage> Writer<St> {
    pub(super) fn new_id(&self) -> CommitId {
        self.randomness.commit_id(self.clock.now())
    }

    /// Brings the knowledge of a stream up to date, and returns what `read` makes of it.
    pub(super) async fn read<N: Knowledge<St>, T>(
        &self,
        key: &St::Key,
        knowledge: &N,
        read: impl FnOnce(&N::Known) -> T,
    ) -> Result<T, StorageError> {
        let mut turn = self.enter(key).await?;
        let mut basis = Held::new(knowledge, knowledge.remembered(turn.remembered.head.as_ref()));
        if let Err(error) = knowledge.read(&mut basis).await {
            if error.kind() == ErrorKind::Diverged {
                forget(&mut basis, &mut turn);
            }
            return Err(error);
        }
        remember(&basis, &mut turn);
        Ok(read(&basis.known))
    }

    /// Waits for the turn of a save.
    ///
    /// # Errors
    ///
    /// `Overloaded`, at once, if too many saves of the stream wait.
    pub(super) async fn enter<'a>(
        &'a self,
        key: &'a St::Key,
    ) -> Result<Turn<'a, St::Key, St::Sequence>, StorageError> {
        self.streams.enter(key).await.ok_or_else(|| {
            StorageError::new(ErrorKind::Overloaded, "too many saves of the stream wait").on(key)
        })
    }
}

/// Remembers the head of a stream for the next save.
pub(super) fn remember<K: StreamKey, Kn: Known>(basis: &Basis<Kn>, turn: &mut Turn<'_, K, Kn::Sequence>) {
    let head = basis.known.sequence().zip(basis.time);
    turn.remembered.head = head.map(|(sequence, time)| Head { sequence, time, commit_id: basis.commit_id });
}

/// Forgets what is remembered of a stream of which the storage has another history.
pub(super) fn forget<K: StreamKey, St: EventStorage, N: Knowledge<St>>(
    basis: &mut Held<'_, St, N>,
    turn: &mut Turn<'_, K, St::Sequence>,
) {
    basis.forget();
    turn.remembered = Remembered::default();
}

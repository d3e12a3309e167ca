//! Decisions about streams in quarantine.

use futures::TryStreamExt;

use super::handle::Synchronizer;
use super::pending_ack::PendingAck;
use super::worker::Request;
use crate::feed::Acknowledgement;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::{Sequence, StreamKey, StreamName};
use crate::view::{PositionChange, QuarantinedCommit, SkippedCommits, ViewStore};

/// A decision about a quarantine that could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The stream is not in quarantine, or not any more.
    #[error("the stream {0} is not in quarantine")]
    NotQuarantined(StreamName),
    /// The storage or the view's database could not be worked with.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl<V: ViewStore> Synchronizer<V> {
    /// Has the commit that put `stream` in quarantine tried again, as after a correction of the view's code.
    ///
    /// # Errors
    ///
    /// [`RepairError`].
    pub async fn retry(&self, stream: &StreamName) -> Result<(), RepairError> {
        if !self.view().release(stream).await? {
            return Err(RepairError::NotQuarantined(stream.clone()));
        }
        tracing::info!(view = %self.view().definition(), %stream, "released a stream from quarantine");
        self.look(stream).await;
        Ok(())
    }

    /// Leaves the commit that put `stream` in quarantine out of the view, and goes on after it. Who decided so, and why, is
    /// recorded as `reason` in the view's database.
    ///
    /// Skipping makes the view other than the fold of all events, on purpose; a later version of the view, built anew, is
    /// given the commit again.
    ///
    /// # Errors
    ///
    /// [`RepairError`].
    pub async fn skip(
        &self,
        stream: &StreamName,
        reason: &str,
    ) -> Result<SkippedCommits<V::Sequence>, RepairError> {
        let quarantined = self.view().quarantined().await?;
        let poison = quarantined.into_iter().find(|poison| poison.stream == *stream);
        let poison = poison.ok_or_else(|| RepairError::NotQuarantined(stream.clone()))?;
        let to = self.end_of(&poison).await?;
        let skip = SkippedCommits {
            change: PositionChange { stream: stream.clone(), from: poison.position, to },
            reason: reason.to_owned(),
            time: self.0.shared.environment.clock.now(),
        };
        if !self.view().skip(&skip).await? {
            return Err(RepairError::NotQuarantined(stream.clone()));
        }
        tracing::warn!(view = %self.view().definition(), %stream, sequence = %to, reason, "skipped a commit");
        self.look(stream).await;
        Ok(skip)
    }

    /// Where the commit that cannot be applied ends.
    async fn end_of(&self, poison: &QuarantinedCommit<V::Sequence>) -> Result<V::Sequence, StorageError> {
        let stream = &poison.stream;
        let lost = |what: &str| StorageError::new(ErrorKind::Invalid, what).on(stream).at(poison.sequence);
        let key = V::Key::from_parts(stream.category(), stream.id())
            .ok_or_else(|| lost("the name is no key of the view's storage"))?;
        let source = &self.0.shared.source;
        match source.events(&key, Some(poison.sequence)).try_next().await {
            Ok(Some(page)) => {
                let (commit, _) = page.parts().next().ok_or_else(|| lost("an empty page was read"))?;
                return Ok(commit.last());
            }
            Ok(None) => return Err(lost("the commit is not in the event storage")),
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
        // It cannot be read, so its end is where the next one begins that can be, or where the stream ends.
        let head = source.latest(&key).await?.ok_or_else(|| lost("the stream has no events"))?;
        for number in poison.sequence.number() + 1..=head.sequence.number() {
            let Some(from) = V::Sequence::from_parts(number, poison.sequence.zone()) else { break };
            match source.events(&key, Some(from)).try_next().await {
                Ok(Some(_)) => {
                    let last = V::Sequence::from_parts(number - 1, poison.sequence.zone());
                    return last.ok_or_else(|| lost("the commit has no end"));
                }
                Ok(None) => break,
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
        Ok(head.sequence)
    }

    async fn look(&self, stream: &StreamName) {
        if let Some(key) = V::Key::from_parts(stream.category(), stream.id()) {
            let (open, _) = tokio::sync::mpsc::channel(1);
            let ack = PendingAck::new(Acknowledgement::none(), open);
            self.0.router.ask(stream, Request::Look(stream.clone(), key, ack)).await;
        }
    }
}

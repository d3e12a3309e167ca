//! Retrying and skipping commits of streams in quarantine.

use futures::{TryStreamExt, future};
use tokio::sync::watch;

use super::handle::Synchronizer;
use super::pending_ack::PendingAck;
use super::retry_at_start;
use super::worker::Request;
use crate::feed::Acknowledgement;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::{Sequence, StreamKey, StreamName};
use crate::view::{PositionChange, QuarantinedCommit, SkippedCommits, ViewStore};

/// Error of [`Synchronizer::retry`] or [`Synchronizer::skip`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The stream is not in quarantine, or no longer.
    #[error("stream {0} is not in quarantine")]
    NotQuarantined(StreamName),
    /// The event storage or the view's database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl<V: ViewStore> Synchronizer<V> {
    /// Ends the quarantine of `stream` and retries its commit, for example after a correction of the view's code.
    ///
    /// # Errors
    ///
    /// [`RepairError`] if the stream is not in quarantine or the view's database fails.
    pub async fn retry(&self, stream: &StreamName) -> Result<(), RepairError> {
        self.tried_again().await;
        self.release(stream).await
    }

    /// Ends the quarantine of `stream`, and makes its worker try the commit.
    async fn release(&self, stream: &StreamName) -> Result<(), RepairError> {
        self.0.shared.mark_retried(stream);
        match self.view().release(stream).await {
            Ok(true) => {}
            Ok(false) => {
                self.0.shared.unmark_retried(stream);
                return Err(RepairError::NotQuarantined(stream.clone()));
            }
            Err(error) => {
                // The quarantine may have ended, and then nothing else reads the stream.
                self.request_read(stream).await;
                return Err(error.into());
            }
        }
        let view = self.view().definition();
        tracing::info!(%view, %stream, "released a stream from quarantine; retrying its commit");
        self.request_read(stream).await;
        Ok(())
    }

    /// Ends the quarantine of each stream whose record `is_meant` accepts, and retries their commits, for example after a
    /// deployment of corrected code. Returns the number of streams. `|_| true` means all streams, and
    /// `|entry| entry.error.contains("…")` all with this error.
    ///
    /// A commit that the view still cannot apply puts its stream in quarantine again, and does not count for the circuit
    /// breaker. The start of a synchronizer [does this](crate::synchronizer::SynchronizerSettings) for all streams by
    /// default.
    ///
    /// # Errors
    ///
    /// [`StorageError`] if the view's database fails; some quarantines may have ended by then, and their commits are
    /// retried.
    pub async fn retry_all(
        &self,
        is_meant: impl Fn(&QuarantinedCommit<V::Sequence>) -> bool,
    ) -> Result<usize, StorageError> {
        self.tried_again().await;
        let mut released = 0;
        for entry in self.view().quarantined().await?.iter().filter(|entry| is_meant(entry)) {
            match self.release(&entry.stream).await {
                Ok(()) => released += 1,
                // Another process was first.
                Err(RepairError::NotQuarantined(_)) => {}
                Err(RepairError::Storage(error)) => return Err(error),
            }
        }
        Ok(released)
    }

    /// Leaves the commit that put `stream` in quarantine out of the view, and continues after it. The view's database
    /// records `reason`, which should say who made the decision, and why.
    ///
    /// After a skip, the view deliberately differs from a fold of all events. A rebuild of a later version applies the
    /// commit again.
    ///
    /// # Errors
    ///
    /// [`RepairError`] if the stream is not in quarantine, or the storage or the view's database fails.
    pub async fn skip(
        &self,
        stream: &StreamName,
        reason: &str,
    ) -> Result<SkippedCommits<V::Sequence>, RepairError> {
        self.tried_again().await;
        let quarantined = self.view().quarantined().await?;
        let entry = quarantined.into_iter().find(|entry| entry.stream == *stream);
        let entry = entry.ok_or_else(|| RepairError::NotQuarantined(stream.clone()))?;
        let to = self.end_of(&entry).await?;
        let skip = SkippedCommits {
            change: PositionChange { stream: stream.clone(), from: entry.position, to },
            reason: reason.to_owned(),
            time: self.0.shared.environment.clock.now(),
        };
        if !self.view().skip(&skip).await? {
            return Err(RepairError::NotQuarantined(stream.clone()));
        }
        let view = self.view().definition();
        tracing::warn!(%view, %stream, sequence = %to, reason, "skipped a commit on request");
        self.request_read(stream).await;
        Ok(skip)
    }

    /// Returns the last sequence of the commit in quarantine.
    async fn end_of(&self, entry: &QuarantinedCommit<V::Sequence>) -> Result<V::Sequence, StorageError> {
        let stream = &entry.stream;
        let invalid = |what: &str| StorageError::new(ErrorKind::Invalid, what).on(stream).at(entry.sequence);
        let key = V::Key::from_parts(stream.category(), stream.id())
            .ok_or_else(|| invalid("the stream name is not a valid key of the event storage"))?;
        let source = &self.0.shared.source;
        match source.events(&key, Some(entry.sequence)).try_next().await {
            Ok(Some(page)) => {
                let (commit, _) =
                    page.parts().next().ok_or_else(|| invalid("the event storage returned an empty page"))?;
                return Ok(commit.last());
            }
            Ok(None) => return Err(invalid("the commit is not in the event storage")),
            Err(error) if error.kind().is_unreadable() => {}
            Err(error) => return Err(error),
        }
        // The commit cannot be read. It ends before the next readable commit, or at the end of the stream.
        let head = source.latest(&key).await?.ok_or_else(|| invalid("the stream has no events"))?;
        for number in entry.sequence.number() + 1..=head.sequence.number() {
            let Some(from) = V::Sequence::from_parts(number, entry.sequence.zone()) else { break };
            match source.events(&key, Some(from)).try_next().await {
                Ok(Some(_)) => {
                    let last = V::Sequence::from_parts(number - 1, entry.sequence.zone());
                    return last.ok_or_else(|| invalid("the last sequence of the commit is unknown"));
                }
                Ok(None) => break,
                Err(error) if error.kind().is_unreadable() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(head.sequence)
    }

    /// Waits until the streams that were in quarantine at the start were tried again. Returns early if the view's
    /// database fails, or the synchronizer stops.
    pub(super) async fn tried_again(&self) {
        let mut failing = self.0.retry_at_start.clone();
        // The retry drops its sender when it has finished.
        let finished = Box::pin(failing.wait_for(|failing| *failing));
        drop(future::select(finished, Box::pin(self.0.shared.stopped())).await);
    }

    /// Releases all streams from quarantine, for a caller that delivers their commits itself. Returns early if the
    /// synchronizer stops.
    pub(crate) async fn release_all(&self) {
        let (shared, failing) = (&self.0.shared, watch::Sender::new(false));
        for entry in retry_at_start::quarantined(shared, &failing).await.into_iter().flatten() {
            if retry_at_start::release(shared, &failing, &entry.stream).await.is_none() {
                return;
            }
        }
    }

    /// Makes the stream's worker read the stream.
    async fn request_read(&self, stream: &StreamName) {
        if let Some(key) = V::Key::from_parts(stream.category(), stream.id()) {
            let (in_flight, _) = tokio::sync::mpsc::channel(1);
            let ack = PendingAck::new(Acknowledgement::none(), in_flight);
            self.0.router.send(stream, Request::Hint(stream.clone(), key, ack)).await;
        }
    }
}

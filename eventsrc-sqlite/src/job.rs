//! Jobs of the writer thread.

use eventsrc_core::snapshot::SnapshotMode;

use crate::append::{Appended, NewCommit, append};
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::{self, SnapshotKey, SnapshotRow};
use crate::reply::Reply;
use crate::streams::Streams;
use crate::view::inline::InlineCommit;
use crate::work::Work;

/// A write, with the caller that waits for it. A write whose caller is gone before it begins is not executed.
pub(crate) enum Job {
    /// Appends a commit, and applies it to `views` in the same transaction.
    Commit { new: NewCommit, views: Vec<Box<dyn InlineCommit>>, reply: Reply<Appended> },
    /// Stores a snapshot.
    Snapshot { at: SnapshotKey, snapshot: SnapshotRow, mode: SnapshotMode, reply: Reply<()> },
    /// Runs a function; `alone` gives it a transaction of its own.
    Work { work: Box<dyn Work>, alone: bool },
}

/// Outcome of a job. It is sent to the caller once the transaction is on the disk.
pub(crate) enum JobOutcome {
    Commit(Appended),
    Snapshot,
    /// The work holds its result itself.
    Work,
}

impl Job {
    /// Executes the job. Returns its outcome, and true if its writes stay.
    ///
    /// If `is_alone` is false, the job shares the transaction, and rolls back writes that do not stay itself.
    pub(crate) fn apply(
        &mut self,
        connection: &Guarded,
        streams: &mut Streams,
        is_alone: bool,
    ) -> Result<(JobOutcome, bool), Failure> {
        let failure = |error| Failure::new("cannot write", error);
        match self {
            Self::Commit { new, views, .. } => {
                let appended = append(connection, streams, new).map_err(failure)?;
                if let Appended::Stored { after } = appended {
                    for view in views {
                        view.apply(connection, after)?;
                        // After the end of the transaction, each further write would commit by itself.
                        if connection.was_rolled_back() {
                            break;
                        }
                    }
                }
                Ok((JobOutcome::Commit(appended), true))
            }
            Self::Snapshot { at, snapshot, mode, .. } => {
                match mode {
                    SnapshotMode::Epoch => layout::put_epoch(connection, at, snapshot),
                    SnapshotMode::Cache => layout::put_cached(connection, at, snapshot),
                }
                .map_err(failure)?;
                Ok((JobOutcome::Snapshot, true))
            }
            Self::Work { work, .. } if is_alone => {
                let stays = work.run(connection)?;
                Ok((JobOutcome::Work, stays && !work.is_abandoned()))
            }
            Self::Work { work, .. } => {
                connection.in_savepoint(|| work.run(connection))?;
                Ok((JobOutcome::Work, true))
            }
        }
    }

    /// True if the caller no longer waits.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Commit { reply, .. } => reply.is_abandoned(),
            Self::Snapshot { reply, .. } => reply.is_abandoned(),
            Self::Work { work, .. } => work.is_abandoned(),
        }
    }

    /// Makes the next view of a commit reject it because of `error`, with which its transaction ended. Returns false if no
    /// view is left that has not rejected it.
    pub(crate) fn reject_in_next_view(&mut self, error: &rusqlite::Error) -> bool {
        match self {
            Self::Commit { views, .. } => views.iter_mut().any(|view| view.reject(&error.to_string())),
            Self::Snapshot { .. } | Self::Work { .. } => false,
        }
    }

    /// Sends the outcome to the caller.
    pub(crate) fn succeed(self, outcome: JobOutcome) {
        match (self, outcome) {
            (Self::Commit { reply, .. }, JobOutcome::Commit(appended)) => reply.send(Ok(appended)),
            (Self::Snapshot { reply, .. }, JobOutcome::Snapshot) => reply.send(Ok(())),
            (Self::Work { work, .. }, JobOutcome::Work) => work.succeed(),
            _ => unreachable!("an outcome has the variant of its job"),
        }
    }

    /// Sends the failure to the caller.
    pub(crate) fn fail(self, failure: Failure) {
        match self {
            Self::Commit { reply, .. } => reply.send(Err(failure)),
            Self::Snapshot { reply, .. } => reply.send(Err(failure)),
            Self::Work { work, .. } => work.fail(failure),
        }
    }
}

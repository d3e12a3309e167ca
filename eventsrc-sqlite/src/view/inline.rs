//! Views that are applied in the transaction in which a commit is stored.

use std::iter::successors;
use std::sync::Arc;

use eventsrc_core::backend::EncodedHead;
use eventsrc_core::commit::Payload;
use eventsrc_core::stream::Zone;
use eventsrc_core::view::{Applied, Batch, CommitRun};
use eventsrc_core::{Commit, Sequence, StreamKey, StreamName};

use super::contract::View;
use super::inner::ViewInner;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::views::{self as layout, PositionRow, QuarantineRow};

/// A commit for one view, to be applied when the commit is stored.
pub(crate) trait InlineCommit: Send {
    /// Applies the commit, which was just stored after `head`, if the view's position is `head`. If the view rejects the
    /// commit, puts its stream in quarantine.
    fn apply(&mut self, connection: &Guarded, head: Option<EncodedHead>) -> Result<(), Failure>;

    /// Makes each later [`apply`](InlineCommit::apply) put the stream in quarantine for this reason. Returns false if the
    /// commit was rejected before.
    fn reject(&mut self, why: &str) -> bool;
}

/// A view that follows a storage in the same file.
pub(crate) trait InlineView<K, S, E>: Send + Sync {
    /// Prepares `commit` of the stream `name` for the view. `None` if the view does not follow the stream's category.
    fn prepare(&self, name: &StreamName, commit: &Arc<Commit<K, S, E>>) -> Option<Box<dyn InlineCommit>>;
}

/// A view as an [`InlineView`].
pub(super) struct FollowingView<K, S, E, V>(pub(super) Arc<ViewInner<K, S, E, V>>);

impl<K, S, E, V> InlineView<K, S, E> for FollowingView<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    fn prepare(&self, name: &StreamName, commit: &Arc<Commit<K, S, E>>) -> Option<Box<dyn InlineCommit>> {
        if !self.0.definition().follows(name.category()) {
            return None;
        }
        let (inner, commit) = (Arc::clone(&self.0), Arc::clone(commit));
        Some(Box::new(PreparedCommit { inner, stream: name.clone(), commit, rejection: None }))
    }
}

struct PreparedCommit<K, S, E, V> {
    inner: Arc<ViewInner<K, S, E, V>>,
    stream: StreamName,
    commit: Arc<Commit<K, S, E>>,
    /// Reason for which the view rejects the commit.
    rejection: Option<String>,
}

impl<K, S, E, V> InlineCommit for PreparedCommit<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    fn apply(&mut self, connection: &Guarded, head: Option<EncodedHead>) -> Result<(), Failure> {
        match self.apply_or_quarantine(connection, head) {
            // The view stays behind until its synchronizer, which reports the error, has caught up.
            Err(failure) if failure.misses_object() => Ok(()),
            result => result,
        }
    }

    fn reject(&mut self, why: &str) -> bool {
        let is_new = self.rejection.is_none();
        self.rejection.get_or_insert_with(|| why.to_owned());
        is_new
    }
}

impl<K, S, E, V> PreparedCommit<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Applies the commit, or puts its stream in quarantine if the view rejects it.
    fn apply_or_quarantine(
        &mut self,
        connection: &Guarded,
        head: Option<EncodedHead>,
    ) -> Result<(), Failure> {
        let id = layout::version(connection, self.inner.name(), self.inner.version())
            .map_err(|error| Failure::new(&self.inner.cannot("apply"), error))?;
        // A retired version follows no storage.
        let Some(id) = id else { return Ok(()) };
        if self.rejection.is_none() {
            self.rejection = self.try_apply(connection, head)?;
        }
        match &self.rejection {
            Some(why) if !connection.was_rolled_back() => self.quarantine(connection, id, head, why),
            _ => Ok(()),
        }
    }

    /// Applies the commit. Returns the reason if the view rejects it. After an error because of a missing object, nothing
    /// of it is left.
    fn try_apply(&self, connection: &Guarded, head: Option<EncodedHead>) -> Result<Option<String>, Failure> {
        let from = head.map(|head| S::from_parts(head.number, Zone(head.zone)));
        // A head that is not of the view's sequence type is no position of this view.
        let (None | Some(Some(_))) = from else { return Ok(None) };
        let run = CommitRun {
            stream: self.stream.clone(),
            from: from.flatten(),
            commits: vec![Arc::clone(&self.commit)],
        };
        let batch = Batch::new(vec![run]);
        let (mut rejection, mut missing) = (None, None);
        connection.in_savepoint(|| match self.inner.apply(connection, &batch) {
            Ok(Applied::Rejected(error)) => {
                rejection = Some(with_causes(&*error));
                Ok(false)
            }
            Ok(applied) => Ok(matches!(applied, Applied::Done)),
            // The savepoint must end, so that the commit alone stays.
            Err(failure) if failure.misses_object() => {
                missing = Some(failure);
                Ok(false)
            }
            Err(failure) => Err(failure),
        })?;
        missing.map_or(Ok(rejection), Err)
    }

    fn quarantine(
        &self,
        connection: &Guarded,
        id: i64,
        head: Option<EncodedHead>,
        why: &str,
    ) -> Result<(), Failure> {
        let first = self.commit.first;
        let entry = QuarantineRow {
            stream: self.stream.as_str().to_owned(),
            position: head.map(|head| PositionRow { number: head.number as i64, zone: head.zone }),
            commit: PositionRow { number: first.number() as i64, zone: first.zone().0 },
            error: why.to_owned(),
            time: self.commit.time.as_microsecond(),
        };
        layout::quarantine(connection, id, &entry)
            .map_err(|error| Failure::new(&self.inner.cannot("quarantine a stream of"), error))
    }
}

/// The text of an error and its causes.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

//! Views that are applied in the very transaction in which events are stored.

use std::sync::Arc;

use eventsrc_core::commit::Payload;
use eventsrc_core::stream::Zone;
use eventsrc_core::view::{Applied, Batch, CommitRun};
use eventsrc_core::{Commit, Sequence, StreamKey, StreamName};

use super::View;
use super::inner::ViewInner;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::HeadRow;
use crate::layout::views::{self as layout, PositionRow, QuarantineRow};

/// A commit on its way into a view, once it is stored.
pub(crate) trait Inline: Send {
    /// Applies the commit that was just stored after `head`, if the view stands there.
    fn apply(&mut self, connection: &Guarded, head: Option<HeadRow>) -> Result<(), Failure>;

    /// From here on, puts the stream in quarantine for this reason instead; false if it did so before.
    fn refuse(&mut self, why: &str) -> bool;
}

/// A view that follows a storage in the same file.
pub(crate) trait Follower<K, S, E>: Send + Sync {
    /// What is to be done with `commit`, of the stream `name`, where the view follows that.
    fn follow(&self, name: &StreamName, commit: &Arc<Commit<K, S, E>>) -> Option<Box<dyn Inline>>;
}

/// Applies a view in the transactions in which events are stored.
pub(super) struct InTheAppend<K, S, E, V>(pub(super) Arc<ViewInner<K, S, E, V>>);

impl<K, S, E, V> Follower<K, S, E> for InTheAppend<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    fn follow(&self, name: &StreamName, commit: &Arc<Commit<K, S, E>>) -> Option<Box<dyn Inline>> {
        if !self.0.definition().follows(name.category()) {
            return None;
        }
        let (kept, commit) = (Arc::clone(&self.0), Arc::clone(commit));
        Some(Box::new(Following { kept, stream: name.clone(), commit, refused: None }))
    }
}

struct Following<K, S, E, V> {
    kept: Arc<ViewInner<K, S, E, V>>,
    stream: StreamName,
    commit: Arc<Commit<K, S, E>>,
    /// Why the view does not take the commit.
    refused: Option<String>,
}

impl<K, S, E, V> Inline for Following<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    fn apply(&mut self, connection: &Guarded, head: Option<HeadRow>) -> Result<(), Failure> {
        // A version that was retired follows no more.
        let id = layout::version(connection, self.kept.name(), self.kept.version())
            .map_err(|error| Failure::new(&self.kept.cannot("apply"), error))?;
        let Some(id) = id else { return Ok(()) };
        if self.refused.is_none() {
            self.refused = self.try_apply(connection, head)?;
        }
        match &self.refused {
            Some(why) if !connection.has_ended() => self.quarantine(connection, id, head, why),
            _ => Ok(()),
        }
    }

    fn refuse(&mut self, why: &str) -> bool {
        let is_new = self.refused.is_none();
        self.refused.get_or_insert_with(|| why.to_owned());
        is_new
    }
}

impl<K, S, E, V> Following<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Applies the commit, and says why not where the view refuses it.
    fn try_apply(&self, connection: &Guarded, head: Option<HeadRow>) -> Result<Option<String>, Failure> {
        let from = head.map(|head| S::from_parts(head.number as u64, Zone(head.zone)));
        // A head of another type of sequence is no position of this view.
        let (None | Some(Some(_))) = from else { return Ok(None) };
        let run = CommitRun {
            stream: self.stream.clone(),
            from: from.flatten(),
            commits: vec![Arc::clone(&self.commit)],
        };
        let batch = Batch::new(vec![run]);
        let mut refused = None;
        connection.nested(|| {
            let applied = self.kept.apply(connection, &batch)?;
            if let Applied::Rejected(error) = &applied {
                refused = Some(told(&**error));
            }
            Ok(matches!(applied, Applied::Done))
        })?;
        Ok(refused)
    }

    fn quarantine(
        &self,
        connection: &Guarded,
        id: i64,
        head: Option<HeadRow>,
        why: &str,
    ) -> Result<(), Failure> {
        let first = self.commit.first;
        let poison = QuarantineRow {
            stream: self.stream.as_str().to_owned(),
            position: head.map(|head| PositionRow { number: head.number, zone: head.zone }),
            commit: PositionRow { number: first.number() as i64, zone: first.zone().0 },
            error: why.to_owned(),
            time: self.commit.time.as_microsecond(),
        };
        layout::quarantine(connection, id, &poison)
            .map_err(|error| Failure::new(&self.kept.cannot("put a stream in quarantine of"), error))
    }
}

/// An error and its causes.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

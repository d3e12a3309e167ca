//! The fold of events into a scratch version, up to given positions.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::error::VerifyError;
use crate::commit::Commit;
use crate::storage::{ErrorKind, EventStorage, StorageError};
use crate::stream::{Sequence, StreamKey, StreamName};
use crate::view::{Applied, Batch, CommitRun, Positions, SkippedCommits, ViewStore};

/// Maximum number of streams of one batch. Of each, a batch has at most one page of commits.
const STREAMS_PER_BATCH: usize = 256;

/// Maximum number of concurrent reads from the storage.
const CONCURRENT_READS: usize = 16;

/// Brings a scratch version of a view to the positions of the view.
pub(super) struct Fold<'a, St, V> {
    pub(super) storage: &'a St,
    pub(super) view: &'a V,
    pub(super) scratch: &'a V,
}

/// A stream of the scratch version, and the position that it must reach.
struct Advance<S> {
    stream: StreamName,
    position: Option<S>,
    target: S,
}

/// Decisions to skip commits, by stream and by the position before the skip.
type Skips<S> = HashMap<(StreamName, Option<S>), SkippedCommits<S>>;

impl<St, V> Fold<'_, St, V>
where
    St: EventStorage<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload>,
    V: ViewStore,
{
    /// Applies the commits of each stream up to its position in `targets`, except for those that the view has skipped.
    pub(super) async fn advance(&self, targets: Positions<V::Sequence>) -> Result<(), VerifyError> {
        // Every skip before the targets is among them, because a skip is recorded together with its position.
        let skipped = self.view.skipped().await?.into_iter();
        let skips: Skips<V::Sequence> =
            skipped.map(|skip| ((skip.change.stream.clone(), skip.change.from), skip)).collect();
        let mut targets = targets.into_iter().peekable();
        while targets.peek().is_some() {
            let (streams, ends): (Vec<_>, Vec<_>) = targets.by_ref().take(STREAMS_PER_BATCH).unzip();
            let reached = self.scratch.positions_of(&streams).await?;
            let advances = streams.into_iter().zip(ends).zip(reached);
            let advances = advances.map(|((stream, target), reached)| Advance {
                stream,
                position: reached.position,
                target,
            });
            let advances: Vec<_> = advances.collect();
            if let Some(ahead) = advances.iter().find(|advance| advance.position > Some(advance.target)) {
                let what = "the view has moved back during the verification; verify it again";
                return Err(StorageError::new(ErrorKind::Refused, what).on(&ahead.stream).into());
            }
            self.advance_streams(advances, &skips).await?;
        }
        Ok(())
    }

    async fn advance_streams(
        &self,
        mut streams: Vec<Advance<V::Sequence>>,
        skips: &Skips<V::Sequence>,
    ) -> Result<(), VerifyError> {
        loop {
            for advance in &mut streams {
                self.skip(advance, skips).await?;
            }
            streams.retain(|advance| advance.position < Some(advance.target));
            if streams.is_empty() {
                return Ok(());
            }
            let reads = streams.iter().map(|advance| self.next_run(advance, skips));
            let runs: Vec<_> = stream::iter(reads).buffered(CONCURRENT_READS).try_collect().await?;
            for (advance, run) in streams.iter_mut().zip(&runs) {
                advance.position = run.commits.last().map(|last| last.last());
            }
            self.apply(runs).await?;
        }
    }

    /// Skips the commits after the position that the view has skipped.
    async fn skip(
        &self,
        advance: &mut Advance<V::Sequence>,
        skips: &Skips<V::Sequence>,
    ) -> Result<(), StorageError> {
        while advance.position < Some(advance.target)
            && let Some(skip) = skips.get(&(advance.stream.clone(), advance.position))
        {
            if !self.scratch.skip(skip).await? {
                return Err(in_use(&advance.stream));
            }
            advance.position = Some(skip.change.to);
        }
        Ok(())
    }

    /// Reads the next page of a stream, up to the next skip or to the target.
    async fn next_run(
        &self,
        advance: &Advance<V::Sequence>,
        skips: &Skips<V::Sequence>,
    ) -> Result<CommitRun<V::Key, V::Sequence, V::Payload>, StorageError> {
        let Advance { stream, position, target } = advance;
        let wrong = |what: &str| StorageError::new(ErrorKind::Corrupt, what).on(stream).at(*target);
        let key = V::Key::from_parts(stream.category(), stream.id()).ok_or_else(|| {
            wrong("the view has a stream whose name is not a valid key of the event storage")
        })?;
        let after = position.and_then(Sequence::least_greater);
        let page = self.storage.events(&key, after).try_next().await?;
        let page =
            page.ok_or_else(|| wrong("the view has applied events that are not in the event storage"))?;
        let mut commits: Vec<Arc<Commit<_, _, _>>> = Vec::new();
        for (commit, events) in page.parts() {
            if events.len() < commit.len() || commit.last() > *target {
                break;
            }
            commits.push(Arc::clone(commit));
            if skips.contains_key(&(stream.clone(), Some(commit.last()))) {
                break;
            }
        }
        if commits.is_empty() {
            return Err(wrong("the position of the view is inside a commit"));
        }
        Ok(CommitRun { stream: stream.clone(), from: *position, commits })
    }

    /// Applies a batch. If the view's code rejects it, finds the stream by applying one after the other.
    async fn apply(&self, runs: Vec<CommitRun<V::Key, V::Sequence, V::Payload>>) -> Result<(), VerifyError> {
        let mut batches = vec![Batch::new(runs)];
        while let Some(batch) = batches.pop() {
            let stream = batch.position_changes()[0].stream.clone();
            match self.scratch.apply(&batch).await? {
                Applied::Done => {}
                Applied::PositionDiffers | Applied::Quarantined => return Err(in_use(&stream).into()),
                Applied::Rejected(source) if batch.position_changes().len() == 1 => {
                    let view = self.view.definition().clone();
                    return Err(VerifyError::Rejected { view, stream, source });
                }
                Applied::Rejected(_) => {
                    batches.extend(batch.into_runs().into_iter().map(|run| Batch::new(vec![run])));
                }
            }
        }
        Ok(())
    }
}

/// Error for a scratch version that another process changes.
fn in_use(stream: &StreamName) -> StorageError {
    let what = "another process changes the scratch version; keep its number for one verification at a time";
    StorageError::new(ErrorKind::Refused, what).on(stream)
}

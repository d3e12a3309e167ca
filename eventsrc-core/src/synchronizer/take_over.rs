//! Making a new version of a view the one that readers see.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::handle::Synchronizer;
use super::shared::Shared;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::{Sequence, StreamKey, StreamName};
use crate::view::{
    Batch, CommitRun, PositionChange, TakeOver, VersionedStore, ViewDefinition, ViewError, ViewStore,
};

/// A take-over that did not happen. The other version goes on serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeOverError {
    /// Streams of this version are in quarantine that the serving version is past.
    #[error("{view} cannot take over: {} of its streams are in quarantine, the first is {}", .streams.len(), .streams[0])]
    Quarantined {
        /// The view.
        view: ViewDefinition,
        /// The streams; never empty.
        streams: Vec<StreamName>,
    },
    /// The view's code refuses a commit that the serving version has applied.
    #[error("{view} cannot take over: it refuses a commit that the serving version has applied")]
    Rejected {
        /// The view.
        view: ViewDefinition,
        /// The error of the view's code.
        source: ViewError,
    },
    /// The serving version moved on meanwhile; retrying may help.
    #[error("{view} cannot take over: it is still behind the version that serves")]
    Behind {
        /// The view.
        view: ViewDefinition,
    },
    /// The event storage or the view's database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How often a sweep brings a version nearer before the rest is done while everything stands still.
const SWEEPS: usize = 5;

impl<V: VersionedStore> Synchronizer<V> {
    /// Brings this version of the view up to the one that serves, and makes it the one that readers see.
    ///
    /// Both go on being kept meanwhile, and readers go on reading. The last few commits are applied in the transaction that
    /// makes the switch, in which no position of the view moves: so no reader ever sees an older state than before. The
    /// other version can take over again, as long as it is kept and not retired.
    ///
    /// # Errors
    ///
    /// [`TakeOverError`].
    pub async fn take_over(&self) -> Result<(), TakeOverError> {
        for _ in 0..SWEEPS {
            if self.sweep().await?.behind == 0 {
                break;
            }
        }
        let shared = Arc::clone(&self.0.shared);
        let outcome =
            self.view().take_over(Box::new(move |behind| Box::pin(between(shared, behind)))).await?;
        let view = self.view().definition().clone();
        match outcome {
            TakeOver::Done => {
                tracing::info!(%view, "took over");
                Ok(())
            }
            TakeOver::Behind => Err(TakeOverError::Behind { view }),
            TakeOver::Quarantined(streams) => Err(TakeOverError::Quarantined { view, streams }),
            TakeOver::Rejected(source) => Err(TakeOverError::Rejected { view, source }),
        }
    }
}

/// Reads the commits between the two ends of each change.
async fn between<V: ViewStore>(
    shared: Arc<Shared<V>>,
    changes: Vec<PositionChange<V::Sequence>>,
) -> Result<Batch<V::Key, V::Sequence, V::Payload>, StorageError> {
    let shared = &shared;
    let runs = stream::iter(changes).map(|change| async move {
        let PositionChange { stream, from, to } = change;
        let lost = |what: &str| StorageError::new(ErrorKind::Corrupt, what).on(&stream).at(to);
        let key = V::Key::from_parts(stream.category(), stream.id())
            .ok_or_else(|| lost("the other version has a stream that is none of this storage"))?;
        let after = from.and_then(Sequence::least_greater);
        let mut pages = shared.source.events(&key, after);
        let mut commits = Vec::new();
        let mut reached = from;
        while reached < Some(to) {
            let page = pages.try_next().await?;
            let page = page.ok_or_else(|| lost("the other version has more than the event storage"))?;
            commits.extend(page.commits().iter().cloned());
            reached = commits.last().map(|commit| commit.last());
        }
        drop(pages);
        Ok(CommitRun { stream, from, commits })
    });
    Ok(Batch::new(runs.buffer_unordered(16).try_collect().await?))
}

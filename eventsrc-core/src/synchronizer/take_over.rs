//! Take-over: making a version of a view the serving version.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::handle::Synchronizer;
use super::shared::Shared;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::{Sequence, StreamKey, StreamName};
use crate::view::{
    Batch, CommitRun, PositionChange, TakeOver, VersionedStore, ViewDefinition, ViewError, ViewStore,
};

/// Error of [`Synchronizer::take_over`]. The other version still serves.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeOverError {
    /// Streams are in quarantine in this version, and the serving version has applied more of them.
    #[error(
        "{view} cannot take over: {} of its streams are in quarantine, the first is {}; retry or skip them first",
        .streams.len(),
        .streams[0]
    )]
    Quarantined {
        /// Name and version of the view.
        view: ViewDefinition,
        /// Names of these streams; never empty.
        streams: Vec<StreamName>,
    },
    /// The view's code rejects a commit that the serving version has applied.
    #[error("{view} cannot take over: it rejects a commit that the serving version has applied")]
    Rejected {
        /// Name and version of the view.
        view: ViewDefinition,
        /// Error of the view's code.
        source: ViewError,
    },
    /// The serving version has advanced meanwhile; a retry may succeed.
    #[error("{view} cannot take over: it is still behind the serving version; retry later")]
    Behind {
        /// Name and version of the view.
        view: ViewDefinition,
    },
    /// The event storage or the view's database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Maximum number of sweeps before the transaction of the take-over, which applies the remaining commits.
const MAX_SWEEPS: usize = 5;

impl<V: VersionedStore> Synchronizer<V> {
    /// Makes this version of the view the serving version, once it has caught up with the version that serves now.
    ///
    /// Both versions stay up to date meanwhile, and readers are not blocked. The last commits are applied in the
    /// transaction of the cutover, during which no other transaction changes a position of the view. Therefore a reader
    /// never sees an older state than before. The other version can take over again, as long as it is kept up to date
    /// and not retired.
    ///
    /// # Errors
    ///
    /// [`TakeOverError`].
    pub async fn take_over(&self) -> Result<(), TakeOverError> {
        // Each sweep begins after the retry of the streams that were in quarantine at the start.
        for _ in 0..MAX_SWEEPS {
            if self.sweep().await?.behind == 0 {
                break;
            }
        }
        let shared = Arc::clone(&self.0.shared);
        let outcome =
            self.view().take_over(Box::new(move |behind| Box::pin(read_changes(shared, behind)))).await?;
        let view = self.view().definition().clone();
        match outcome {
            TakeOver::Done => {
                tracing::info!(%view, "took over; this version serves now");
                Ok(())
            }
            TakeOver::Behind => Err(TakeOverError::Behind { view }),
            TakeOver::Quarantined(streams) => Err(TakeOverError::Quarantined { view, streams }),
            TakeOver::Rejected(source) => Err(TakeOverError::Rejected { view, source }),
        }
    }
}

/// Reads the commits of each position change, for the last batch of a take-over.
async fn read_changes<V: ViewStore>(
    shared: Arc<Shared<V>>,
    changes: Vec<PositionChange<V::Sequence>>,
) -> Result<Batch<V::Key, V::Sequence, V::Payload>, StorageError> {
    let shared = &shared;
    let runs = stream::iter(changes).map(|change| async move {
        let PositionChange { stream, from, to } = change;
        let corrupt = |what: &str| StorageError::new(ErrorKind::Corrupt, what).on(&stream).at(to);
        let key = V::Key::from_parts(stream.category(), stream.id()).ok_or_else(|| {
            corrupt("the serving version has a stream whose name is not a valid key of the event storage")
        })?;
        let after = from.and_then(Sequence::least_greater);
        let mut pages = shared.source.events(&key, after);
        let mut commits = Vec::new();
        let mut reached = from;
        while reached < Some(to) {
            let page = pages.try_next().await?;
            let page = page.ok_or_else(|| {
                corrupt("the serving version has applied events that are not in the event storage")
            })?;
            commits.extend(page.commits().iter().cloned());
            reached = commits.last().map(|commit| commit.last());
        }
        drop(pages);
        Ok(CommitRun { stream, from, commits })
    });
    Ok(Batch::new(runs.buffer_unordered(16).try_collect().await?))
}

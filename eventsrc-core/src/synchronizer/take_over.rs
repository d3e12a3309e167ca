//! Making a new version of a view the one that readers see.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::Synchronizer;
use super::shared::Shared;
use crate::error::{ErrorKind, StorageError, describe};
use crate::sequence::Sequence;
use crate::stream::StreamKey;
use crate::view::{Applied, Batch, Move, Poison, Run, VersionedStore, ViewStore};

/// Why a version of a view did not take over. The other one goes on serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeOverError {
    /// Streams of this version are in quarantine, and it would serve less than the other one.
    #[error("{view} cannot take over: {} of its streams are in quarantine, the first is {}", .quarantined.len(), .quarantined[0])]
    Quarantined {
        /// The view, with its version.
        view: String,
        /// The streams; never empty.
        quarantined: Vec<String>,
    },
    /// The view cannot apply what the other version has applied.
    #[error("{view} cannot take over: {error}")]
    Rejected {
        /// The view, with its version.
        view: String,
        /// Why, with its causes.
        error: String,
    },
    /// The versions moved on beside each other; trying again may do.
    #[error("{view} cannot take over: it is still behind the version that serves")]
    Behind {
        /// The view, with its version.
        view: String,
    },
    /// The storage or the view's database could not be worked with.
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
        let applied =
            self.view().take_over(Box::new(move |behind| Box::pin(between(shared, behind)))).await?;
        let view = self.view().definition().to_string();
        match applied {
            Applied::Done => {
                tracing::info!(view, "took over");
                Ok(())
            }
            Applied::Rejected(error) => Err(TakeOverError::Rejected { view, error: describe(&*error) }),
            Applied::Moved => {
                let quarantined = self.view().quarantined().await?;
                let quarantined: Vec<_> =
                    quarantined.into_iter().map(|Poison { stream, .. }| stream.to_string()).collect();
                Err(if quarantined.is_empty() {
                    TakeOverError::Behind { view }
                } else {
                    TakeOverError::Quarantined { view, quarantined }
                })
            }
        }
    }
}

/// The commits between the two ends of each move.
async fn between<V: ViewStore>(
    shared: Arc<Shared<V>>,
    moves: Vec<Move<V::Sequence>>,
) -> Result<Batch<V::Key, V::Sequence, V::Payload>, StorageError> {
    let shared = &shared;
    let runs = stream::iter(moves).map(|moved| async move {
        let Move { stream, from, to } = moved;
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
        Ok(Run { stream, from, commits })
    });
    Ok(Batch::new(runs.buffer_unordered(16).try_collect().await?))
}

//! The contract of a change feed.

use std::fmt;
use std::sync::Arc;

use crate::commit::{Commit, Payload};
use crate::storage::StorageError;
use crate::stream::{Sequence, StreamKey};

/// Delivers stored commits to a reader, soon after they are stored and roughly in order.
///
/// A feed only saves its reader from polling; correctness never depends on it. A feed may repeat, delay, reorder and
/// lose changes. Therefore a [`Synchronizer`](crate::Synchronizer) applies a commit only right after the commit before
/// it, reads missing commits from the event storage, and sweeps: it compares the heads of all streams with its
/// positions.
///
/// # Contract
///
/// - A delivered commit is stored, and it is delivered whole and as it was put.
/// - `next` waits for a change. It returns `None` once there will never be another change.
/// - A feed that left out changes, and knows it, reports them by [`Change::Stream`] or [`Change::Anything`].
/// - A delivery that is not acknowledged may be delivered again, by this feed or by the feed that replaces it.
/// - Deliveries may be acknowledged in any order.
/// - After an `Err` of kind `Unavailable`, `next` may be called again and continues. An error of any other kind is
///   final.
/// - Dropping the future of `next` loses no change, unless that change will be delivered again.
pub trait ChangeFeed: Send + 'static {
    /// Key of a stream.
    type Key: StreamKey;
    /// Sequence of an event in its stream.
    type Sequence: Sequence;
    /// Payload of an event.
    type Payload: Payload;

    /// Returns the next changes, as many as are available now.
    fn next(
        &mut self,
    ) -> impl Future<Output = Result<Option<Delivery<Self::Key, Self::Sequence, Self::Payload>>, StorageError>>
    + Send;
}

/// Some changes with one acknowledgement.
#[derive(Debug)]
#[must_use = "changes that are dropped without being acknowledged may be delivered again"]
pub struct Delivery<K, S, E> {
    /// Changes, in the order in which the feed received them.
    pub changes: Vec<Change<K, S, E>>,
    /// Acknowledgement of all these changes; used once they are applied, in quarantine, or stored elsewhere.
    pub acknowledgement: Acknowledgement,
}

/// One item of a change feed: a stored commit, or a hint.
#[derive(Debug)]
pub enum Change<K, S, E> {
    /// A commit that was stored.
    Commit(Arc<Commit<K, S, E>>),
    /// A stream that may have grown; reading it shows whether it has.
    Stream(K),
    /// Any stream may have grown; comparing heads with positions shows which have.
    Anything,
}

impl<K: Clone, S: Sequence, E: Clone> Change<K, S, E> {
    /// Converts key and payloads. Payloads are moved if this is the only reference to the commit, and cloned otherwise.
    #[must_use]
    pub fn mapped<K2, E2>(
        self,
        key: impl FnOnce(K) -> K2,
        payload: impl FnMut(E) -> E2,
    ) -> Change<K2, S, E2> {
        match self {
            Self::Commit(commit) => {
                Change::Commit(Arc::new(Arc::unwrap_or_clone(commit).mapped(key, payload)))
            }
            Self::Stream(stream) => Change::Stream(key(stream)),
            Self::Anything => Change::Anything,
        }
    }
}

/// Tells a feed that a delivery is processed: applied, or in quarantine. Dropping it unused means that it is not.
#[derive(Default)]
#[must_use = "dropping an acknowledgement means that the delivery is not processed"]
pub struct Acknowledgement(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Acknowledgement {
    /// Creates an acknowledgement that calls `on_acknowledge`, which runs on the reader's task and should be quick.
    pub fn new(on_acknowledge: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(on_acknowledge)))
    }

    /// Creates an acknowledgement without effect, for a feed that does not need one.
    pub fn none() -> Self {
        Self(None)
    }

    /// Acknowledges the delivery.
    pub fn acknowledge(self) {
        if let Some(on_acknowledge) = self.0 {
            on_acknowledge();
        }
    }
}

impl fmt::Debug for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acknowledgement").finish_non_exhaustive()
    }
}

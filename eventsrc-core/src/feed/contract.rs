//! The contract of a change feed.

use std::fmt;
use std::sync::Arc;

use crate::commit::{Commit, Payload};
use crate::storage::StorageError;
use crate::stream::{Sequence, StreamKey};

/// Carries what was stored to a reader, roughly soon and roughly in order.
///
/// A feed saves its reader from asking; it is never what the reader relies on. It may repeat a change, bring it late or
/// out of order, and lose it. So a [`Synchronizer`](crate::Synchronizer) applies a commit only right after the one
/// before it, fetches from the storage what it misses, and compares heads from time to time.
///
/// # Contract
///
/// - A commit that is handed over is stored, whole, and as it was put.
/// - `next` waits for a change, and is `None` once there will never be another.
/// - A feed that had to leave out changes says so with [`Change::Stream`] or [`Change::Anything`], where it knows.
/// - A delivery that is not acknowledged may be handed over again, by this feed or by the one that takes over from it.
/// - Deliveries may be acknowledged in any order.
/// - After an `Err` of kind `Unavailable`, `next` may be called again and goes on; any other kind is final.
/// - Dropping the future of `next` loses no change that would not be handed over again.
pub trait ChangeFeed: Send + 'static {
    /// What names a stream.
    type Key: StreamKey;
    /// The position of an event in its stream.
    type Sequence: Sequence;
    /// The event itself.
    type Payload: Payload;

    /// The next changes, as many as are at hand.
    fn next(
        &mut self,
    ) -> impl Future<Output = Result<Option<Delivery<Self::Key, Self::Sequence, Self::Payload>>, StorageError>>
    + Send;
}

/// Some changes, and how to say that they were dealt with.
#[derive(Debug)]
#[must_use = "changes that are dropped without their acknowledgement may come again"]
pub struct Delivery<K, S, E> {
    /// The changes, in the order in which the feed learned of them.
    pub changes: Vec<Change<K, S, E>>,
    /// To be used once all of them are applied, or kept elsewhere.
    pub acknowledgement: Acknowledgement,
}

/// Something that happened in the storage.
#[derive(Debug)]
pub enum Change<K, S, E> {
    /// This commit was stored.
    Commit(Arc<Commit<K, S, E>>),
    /// This stream may have grown; read it to know.
    Stream(K),
    /// Any stream may have grown; compare heads to know.
    Anything,
}

impl<K: Clone, S: Sequence, E: Clone> Change<K, S, E> {
    /// The same, of another type. Payloads are moved where nobody else holds the commit, and cloned where somebody does.
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
            Self::Stream(of) => Change::Stream(key(of)),
            Self::Anything => Change::Anything,
        }
    }
}

/// Tells a feed that a delivery was dealt with. Dropped unused, it says that it was not.
#[derive(Default)]
#[must_use = "dropping an acknowledgement says that the delivery was not dealt with"]
pub struct Acknowledgement(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Acknowledgement {
    /// An acknowledgement that calls `tell`, which should be quick: it runs on the reader's task.
    pub fn new(tell: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// An acknowledgement for a feed that does not care.
    pub fn none() -> Self {
        Self(None)
    }

    /// The delivery was dealt with.
    pub fn acknowledge(self) {
        if let Some(tell) = self.0 {
            tell();
        }
    }
}

impl fmt::Debug for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acknowledgement").finish_non_exhaustive()
    }
}

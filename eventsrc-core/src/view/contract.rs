//! The contract of a store for views.

use std::any::Any;
use std::error::Error;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;

use super::batch::{Batch, PositionChange};
use super::definition::ViewDefinition;
use crate::commit::Payload;
use crate::storage::StorageError;
use crate::stream::{Sequence, StreamKey, StreamName};

/// A batch of the commits that `V` applies.
pub type BatchOf<V> = Batch<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>;

/// What a view could not do with a commit; any error of the caller's own.
pub type ViewError = Box<dyn Error + Send + Sync>;

/// A panic of a view's code, as the error that it is for the view.
pub fn error_from_panic(panic: &(dyn Any + Send)) -> ViewError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("the view panicked: {text}").into()
}

/// Keeps one version of one view: its rows, and the position of each stream that they are made of. This is what a new
/// kind of database for views implements.
///
/// The rows are the user's own, written by the user's own code. What makes them right is that rows and positions
/// move in one transaction, which is decided by comparing positions: so any number of workers may apply the same commits
/// at once, and each commit has its effect once. The contract is checked sentence by sentence by the suite in
/// `eventsrc-testkit`; [`MemoryView`] is the reference.
///
/// # Applying
///
/// - A batch is applied whole or not at all: rows and positions of all its streams.
/// - An empty batch is `Done`, and changes nothing.
/// - A batch is applied only if each of its streams is at the position that its move begins from; otherwise nothing
///   changes, and the answer is [`Applied::PositionDiffers`], whatever the view's code would say to it.
/// - Of any number of racing batches that move one stream from the same position, exactly one is applied.
/// - A batch of which the view's code refuses something, by an error or a panic, or whose rows break a rule of the
///   database, changes nothing, and the answer is [`Applied::Rejected`] with the cause.
/// - What may go well another time, such as a lost connection, a deadlock or a full disk, is never `Rejected` but an `Err`.
/// - An `Err` means unknown: the batch may be applied. Positions tell.
/// - When a batch was answered with `Done`, every later read sees it, from any task or process.
/// - A caller that stops waiting does no harm: the batch is applied whole or not at all.
///
/// # Places
///
/// - A stream that was never applied has no position.
/// - `places` answers in the order of the streams that it was asked for: one that is named twice is answered twice, and an
///   empty list with an empty list.
/// - `positions` are those of all streams that have one, each once, by name, from after a name on, and at most as many as
///   asked for.
/// - Another version of the view, and another view, have positions, quarantines and skips of their own.
///
/// # Quarantine
///
/// - A stream in quarantine is shown as such by `places`, and by `quarantined` with all that was recorded.
/// - A stream goes into quarantine only while it stands right before the commit in question; later it changes nothing.
/// - A stream that is in quarantine keeps what was recorded first; a second quarantine changes nothing.
/// - A batch that moves a stream in quarantine changes nothing, and the answer is [`Applied::Quarantined`].
/// - `release` ends it, and nothing else changes.
/// - `skip` moves the position over a commit, ends the quarantine and records the decision, in one transaction, and only from
///   the position that its change begins from; otherwise nothing changes, and the answer is `false`.
/// - `skipped` are all decisions that were recorded, in the order of their streams and sequences.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not keep a view",
    note = "a view is kept by a store such as `MemoryView`, `SqliteView` or `PostgresView`; wrap one in `Arc` to share it"
)]
pub trait ViewStore: Send + Sync + 'static {
    /// What names a stream.
    type Key: StreamKey;
    /// The position of an event in its stream.
    type Sequence: Sequence;
    /// The event itself.
    type Payload: Payload;

    /// Which view this is, and what it follows.
    fn definition(&self) -> &ViewDefinition;

    /// Applies `batch` in one transaction, if every stream is where the batch begins.
    fn apply(&self, batch: &BatchOf<Self>) -> impl Future<Output = Result<Applied, StorageError>> + Send;

    /// Where these streams are.
    fn positions_of(
        &self,
        streams: &[StreamName],
    ) -> impl Future<Output = Result<Vec<StreamPosition<Self::Sequence>>, StorageError>> + Send;

    /// The positions of the streams whose names come after `after`, at most `limit`, by name.
    fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(StreamName, Self::Sequence)>, StorageError>> + Send;

    /// Puts a stream in quarantine, if it is where `poison` says.
    fn quarantine(
        &self,
        poison: &QuarantinedCommit<Self::Sequence>,
    ) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// The streams in quarantine, by name.
    fn quarantined(
        &self,
    ) -> impl Future<Output = Result<Vec<QuarantinedCommit<Self::Sequence>>, StorageError>> + Send;

    /// Ends a quarantine, so that the commit is tried again; false if there was none.
    fn release(&self, stream: &StreamName) -> impl Future<Output = Result<bool, StorageError>> + Send;

    /// Moves over commits without applying them, and records who decided so; `false` if the stream's position differs.
    fn skip(
        &self,
        skip: &SkippedCommits<Self::Sequence>,
    ) -> impl Future<Output = Result<bool, StorageError>> + Send;

    /// The decisions to skip.
    fn skipped(
        &self,
    ) -> impl Future<Output = Result<Vec<SkippedCommits<Self::Sequence>>, StorageError>> + Send;
}

/// Outcome of applying a batch. Unless it is `Done`, nothing was changed.
#[derive(Debug)]
#[must_use = "a batch that was not applied is a value"]
pub enum Applied {
    /// Rows and positions were written.
    Done,
    /// A stream is not at the position where the batch begins: another worker was first, or the caller's knowledge is old.
    PositionDiffers,
    /// A stream of the batch is in quarantine.
    Quarantined,
    /// The view's code or a rule of the database refuses the batch, however often it is tried.
    Rejected(ViewError),
}

/// Outcome of a take-over. Unless it is `Done`, nothing was changed, and the other version goes on serving.
#[derive(Debug)]
#[must_use = "a take-over that did not happen is a value"]
pub enum TakeOver {
    /// This version serves.
    Done,
    /// This version would still be behind the serving one.
    Behind,
    /// These streams are in quarantine in this version, and the serving one is past them; never empty.
    Quarantined(Vec<StreamName>),
    /// The view's code or a rule of the database refuses a commit by which this version is behind.
    Rejected(ViewError),
}

/// The outcome of a take-over whose last batch was not applied.
impl From<Applied> for TakeOver {
    fn from(applied: Applied) -> Self {
        match applied {
            Applied::Done => Self::Done,
            // Whatever holds the batch up, the version stays behind.
            Applied::PositionDiffers | Applied::Quarantined => Self::Behind,
            Applied::Rejected(error) => Self::Rejected(error),
        }
    }
}

/// Where a stream is in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPosition<S> {
    /// The sequence up to which the view has applied it; `None` before its first event.
    pub position: Option<S>,
    /// Whether it is in quarantine, and does not move.
    pub quarantined: bool,
}

/// Nowhere yet.
impl<S> Default for StreamPosition<S> {
    fn default() -> Self {
        Self { position: None, quarantined: false }
    }
}

/// A commit that a view cannot apply, and which stops its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedCommit<S> {
    /// The stream.
    pub stream: StreamName,
    /// The position that the view has of it.
    pub position: Option<S>,
    /// Where the commit begins.
    pub sequence: S,
    /// Why it cannot be applied, with its causes.
    pub error: String,
    /// When that was found.
    pub time: Timestamp,
}

/// The decision to leave a commit out of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedCommits<S> {
    /// The change that leaves them out: from the stream's position to the end of the last one.
    pub change: PositionChange<S>,
    /// Who decided, and why.
    pub reason: String,
    /// When.
    pub time: Timestamp,
}

/// A store in which several versions of a view live beside each other, one of which readers see.
///
/// - The first version that is ever opened serves at once.
/// - Reads by the view's public names show the rows of the serving version, and their check of positions goes by its positions.
/// - After `take_over` this version serves; the other one goes on being kept, and can take over again.
/// - `take_over` is one transaction, in which no position of the view moves but by `catch_up`: it is given every stream of
///   which this version lies behind the serving one, and brings the commits in between; it may bring later ones as well.
/// - Where this version lies nowhere behind, `catch_up` is not called.
/// - A `take_over` whose `catch_up` fails is that `Err`, and one whose batch would be rejected is [`TakeOver::Rejected`] with
///   the cause; either changes nothing.
/// - A version that would still lie behind anywhere does not take over: nothing changes, and the answer is
///   [`TakeOver::Behind`].
/// - A version with a stream in quarantine that the serving one is past does not take over: nothing changes, and the answer
///   is [`TakeOver::Quarantined`] with the names of all such streams.
/// - `retire` removes the rows, positions, quarantines and skips of this version, and of no other; the serving one is not
///   retired, which is an error of kind `Invalid`.
/// - The digest is the same for equal rows, in whatever order they were written, and another one for other rows.
pub trait VersionedStore: ViewStore {
    /// The version that readers see.
    fn serving(&self) -> impl Future<Output = Result<u32, StorageError>> + Send;

    /// Makes this the version that readers see.
    fn take_over(
        &self,
        catch_up: CatchUp<Self>,
    ) -> impl Future<Output = Result<TakeOver, StorageError>> + Send;

    /// Removes this version.
    fn retire(&self) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// What the rows of this version come to.
    fn digest(&self) -> impl Future<Output = Result<ViewDigest, StorageError>> + Send;
}

/// Brings the commits by which a version lies behind, while the positions of its view stand still.
pub type CatchUp<V> = Box<
    dyn FnOnce(
            Vec<PositionChange<<V as ViewStore>::Sequence>>,
        ) -> BoxFuture<'static, Result<BatchOf<V>, StorageError>>
        + Send,
>;

/// What the rows of a view come to, whatever their order: two builds that are equal have equal digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewDigest {
    /// How many rows there are.
    pub rows: u64,
    /// A hash of the rows of all tables, as text that means something to the same kind of store only.
    pub hash: String,
}

impl<V: ViewStore> ViewStore for Arc<V> {
    type Key = V::Key;
    type Sequence = V::Sequence;
    type Payload = V::Payload;

    fn definition(&self) -> &ViewDefinition {
        V::definition(self)
    }

    fn apply(&self, batch: &BatchOf<Self>) -> impl Future<Output = Result<Applied, StorageError>> + Send {
        V::apply(self, batch)
    }

    fn positions_of(
        &self,
        streams: &[StreamName],
    ) -> impl Future<Output = Result<Vec<StreamPosition<Self::Sequence>>, StorageError>> + Send {
        V::positions_of(self, streams)
    }

    fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(StreamName, Self::Sequence)>, StorageError>> + Send {
        V::positions(self, after, limit)
    }

    fn quarantine(
        &self,
        poison: &QuarantinedCommit<Self::Sequence>,
    ) -> impl Future<Output = Result<(), StorageError>> + Send {
        V::quarantine(self, poison)
    }

    fn quarantined(
        &self,
    ) -> impl Future<Output = Result<Vec<QuarantinedCommit<Self::Sequence>>, StorageError>> + Send {
        V::quarantined(self)
    }

    fn release(&self, stream: &StreamName) -> impl Future<Output = Result<bool, StorageError>> + Send {
        V::release(self, stream)
    }

    fn skip(
        &self,
        skip: &SkippedCommits<Self::Sequence>,
    ) -> impl Future<Output = Result<bool, StorageError>> + Send {
        V::skip(self, skip)
    }

    fn skipped(
        &self,
    ) -> impl Future<Output = Result<Vec<SkippedCommits<Self::Sequence>>, StorageError>> + Send {
        V::skipped(self)
    }
}

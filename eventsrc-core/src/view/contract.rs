//! The contract of a view store.

use std::any::Any;
use std::error::Error;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;

use super::batch::{Batch, PositionChange};
use super::definition::ViewDefinition;
use crate::commit::Payload;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::{Sequence, StreamKey, StreamName};

/// A batch for `V`.
pub type BatchOf<V> = Batch<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>;

/// Error of a view's code for an event that it cannot apply. Any error type converts to it.
pub type ViewError = Box<dyn Error + Send + Sync>;

/// Converts the payload of a panic of a view's code to an error with its message.
pub fn error_from_panic(panic: &(dyn Any + Send)) -> ViewError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("the view panicked: {text}").into()
}

/// Returns the cause of an error. That of an [`io::Error`](std::io::Error) is the error which it wraps, and which its
/// `source` passes over.
pub fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// Returns the kind of the first storage error among the causes of an error of a view's code, if that error is no error of
/// an event: the batch can be applied later, once the storage that the code uses is available.
pub fn outside_cause(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut causes = std::iter::successors(Some(error), |cause| cause_of(*cause));
    let kind = causes.find_map(|cause| cause.downcast_ref::<StorageError>())?.kind();
    (kind.is_transient() || kind == ErrorKind::Refused).then_some(kind)
}

/// Stores one version of one view: its rows, and the position of each stream that they contain. A new database for
/// views implements this trait.
///
/// The rows belong to the user, whose code writes them. Rows and positions change in one transaction, which is applied
/// only if the stored positions are the expected ones. Therefore any number of workers may apply the same commits
/// concurrently, and each commit has its effect exactly once.
///
/// The suite in `eventsrc-testkit` checks the contract sentence by sentence. [`MemoryView`](crate::view::MemoryView) is
/// the reference.
///
/// # Applying
///
/// - A batch is applied as a whole or not at all: the rows and the positions of all its streams.
/// - An empty batch returns `Done` and changes nothing.
/// - A batch is applied only if each of its streams has the position `from` of its change; otherwise nothing changes,
///   and the result is [`Applied::PositionDiffers`], even if the view's code would reject the batch.
/// - Of any number of concurrent batches that change one stream from the same position, exactly one is applied.
/// - A batch that the view's code rejects, by an error or a panic, or whose rows violate a constraint of the database,
///   changes nothing, and the result is [`Applied::Rejected`] with the cause.
/// - A transient failure, such as a lost connection, a deadlock or a full disk, is an `Err` and never `Rejected`.
/// - A missing table, column or privilege of the view is an `Err` of kind `Refused` and never `Rejected`, and the batch
///   can be applied once it is back.
/// - An `Err` means that the outcome is unknown: the batch may be applied, and the positions show whether it is.
/// - After `Done`, every later read sees the batch, from any task or process.
/// - If the caller stops waiting, the batch is applied as a whole or not at all, and other callers are not affected.
///
/// # Positions
///
/// - A stream of which no commit was applied has no position.
/// - `positions_of` returns one entry for each given stream, in the given order; a stream that is named twice has two
///   entries, and an empty list has none.
/// - `positions` returns the streams that have a position, each once, sorted by name, beginning after the given name,
///   and at most `limit` of them.
/// - Each version of each view has its own positions, quarantines and skips.
/// - The name of a stream has any length: old streams have names that are longer than those of new ones may be.
///
/// # Quarantine
///
/// - A stream in quarantine is reported as such by `positions_of`, and by `quarantined` with everything that was
///   recorded.
/// - `quarantine` has an effect only while the position of the stream is right before the commit; later it changes
///   nothing.
/// - A stream in quarantine keeps its first record; a second `quarantine` changes nothing.
/// - A batch with a stream in quarantine changes nothing, and the result is [`Applied::Quarantined`].
/// - `release` ends the quarantine and changes nothing else.
/// - `skip` moves the position over commits, ends the quarantine and records the decision, in one transaction, and only
///   from the position `from` of its change; otherwise nothing changes, and the result is `false`.
/// - `skipped` returns all recorded decisions, sorted by stream and sequence.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a view store",
    note = "view stores are `MemoryView`, `SqliteView` and `PostgresView`, for example; wrap one in `Arc` to share it"
)]
pub trait ViewStore: Send + Sync + 'static {
    /// Key of a stream.
    type Key: StreamKey;
    /// Sequence of an event in its stream.
    type Sequence: Sequence;
    /// Payload of an event.
    type Payload: Payload;

    /// Returns the name, the version and the followed categories of the view.
    fn definition(&self) -> &ViewDefinition;

    /// Applies `batch` in one transaction, if every stream has the position from which the batch changes it.
    fn apply(&self, batch: &BatchOf<Self>) -> impl Future<Output = Result<Applied, StorageError>> + Send;

    /// Returns the positions of `streams`.
    fn positions_of(
        &self,
        streams: &[StreamName],
    ) -> impl Future<Output = Result<Vec<StreamPosition<Self::Sequence>>, StorageError>> + Send;

    /// Returns the positions of at most `limit` streams whose names follow `after`, sorted by name.
    fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(StreamName, Self::Sequence)>, StorageError>> + Send;

    /// Puts a stream in quarantine, if it has the position of `entry`.
    fn quarantine(
        &self,
        entry: &QuarantinedCommit<Self::Sequence>,
    ) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Returns the streams in quarantine, sorted by name.
    fn quarantined(
        &self,
    ) -> impl Future<Output = Result<Vec<QuarantinedCommit<Self::Sequence>>, StorageError>> + Send;

    /// Ends a quarantine, so that the commit is retried. Returns false if the stream was not in quarantine.
    fn release(&self, stream: &StreamName) -> impl Future<Output = Result<bool, StorageError>> + Send;

    /// Moves the position over commits without applying them, and records the decision. Returns false if the position
    /// of the stream differs.
    fn skip(
        &self,
        skip: &SkippedCommits<Self::Sequence>,
    ) -> impl Future<Output = Result<bool, StorageError>> + Send;

    /// Returns the recorded decisions to skip commits.
    fn skipped(
        &self,
    ) -> impl Future<Output = Result<Vec<SkippedCommits<Self::Sequence>>, StorageError>> + Send;

    /// Returns the number of the version whose rows and positions readers see, or `None` if that is this one or is not
    /// known, as by default. It is for messages: another version may take over at any time.
    fn version_of_readers(&self) -> impl Future<Output = Result<Option<u32>, StorageError>> + Send {
        async { Ok(None) }
    }
}

/// Outcome of applying a batch. Unless it is `Done`, nothing has changed.
#[derive(Debug)]
#[must_use = "a batch that was not applied is reported by this value, not by an error"]
pub enum Applied {
    /// Rows and positions are written.
    Done,
    /// A stream has another position than the batch expects: another worker was first, or the caller's position is
    /// stale.
    PositionDiffers,
    /// A stream of the batch is in quarantine.
    Quarantined,
    /// The view's code or a constraint of the database rejects the batch, and will reject it again.
    Rejected(ViewError),
}

/// Outcome of a take-over. Unless it is `Done`, nothing has changed, and the other version still serves.
#[derive(Debug)]
#[must_use = "a take-over that did not happen is reported by this value, not by an error"]
pub enum TakeOver {
    /// This version serves now.
    Done,
    /// This version would still be behind the serving version.
    Behind,
    /// Streams that are in quarantine in this version, and of which the serving version has applied more; never empty.
    Quarantined(Vec<StreamName>),
    /// The view's code or a constraint of the database rejects a commit that this version lacks.
    Rejected(ViewError),
}

/// Converts the outcome of the last batch of a take-over.
impl From<Applied> for TakeOver {
    fn from(applied: Applied) -> Self {
        match applied {
            Applied::Done => Self::Done,
            // Without this batch, the version stays behind.
            Applied::PositionDiffers | Applied::Quarantined => Self::Behind,
            Applied::Rejected(error) => Self::Rejected(error),
        }
    }
}

/// Position of a stream in a view, and whether the stream is in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPosition<S> {
    /// Sequence up to which the view has applied the stream; `None` before the first event.
    pub position: Option<S>,
    /// True if the stream is in quarantine, so that its position does not change.
    pub quarantined: bool,
}

/// A stream of which nothing is applied.
impl<S> Default for StreamPosition<S> {
    fn default() -> Self {
        Self { position: None, quarantined: false }
    }
}

/// A commit that a view cannot apply. Its stream stops there until the commit is retried, by an operator or the next start of
/// a synchronizer, or skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedCommit<S> {
    /// Name of the stream.
    pub stream: StreamName,
    /// Position of the stream in the view.
    pub position: Option<S>,
    /// First sequence of the commit.
    pub sequence: S,
    /// Text of the error, with its causes.
    pub error: String,
    /// Time at which the stream went into quarantine.
    pub time: Timestamp,
}

/// A recorded decision to leave commits of one stream out of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedCommits<S> {
    /// Position change over the skipped commits: from the stream's position to the end of the last one.
    pub change: PositionChange<S>,
    /// Reason for the decision, including who made it.
    pub reason: String,
    /// Time of the decision.
    pub time: Timestamp,
}

/// A view store for several versions of a view, one of which serves: readers see its rows.
///
/// - The first version of a view that is ever opened serves immediately.
/// - Reads through the view's public names return the rows and the positions of the serving version.
/// - After `take_over` this version serves; the other version can still be applied to, and can take over again.
/// - `take_over` is one transaction, during which only the batch of `catch_up` changes positions of the view;
///   `catch_up` receives every stream in which this version is behind the serving version and returns the commits in
///   between, and it may return later ones as well.
/// - If this version is not behind in any stream, `catch_up` is not called.
/// - If `catch_up` fails, `take_over` returns its `Err`, and if its batch would be rejected, the result is
///   [`TakeOver::Rejected`] with the cause; in both cases nothing changes.
/// - A version that would still be behind in any stream does not take over: nothing changes, and the result is
///   [`TakeOver::Behind`].
/// - A version that has streams in quarantine in which it is behind the serving version does not take over: nothing
///   changes, and the result is [`TakeOver::Quarantined`] with the names of all such streams.
/// - `retire` removes the rows, positions, quarantines and skips of this version and of no other; retiring the serving
///   version is an error of kind `Invalid`.
/// - `retire` removes a version whose tables are missing.
/// - Equal rows have equal digests, in whatever order they were written, and different rows have different digests.
pub trait VersionedStore: ViewStore {
    /// Returns the number of the serving version.
    fn serving(&self) -> impl Future<Output = Result<u32, StorageError>> + Send;

    /// Makes this version the serving version.
    fn take_over(
        &self,
        catch_up: CatchUp<Self>,
    ) -> impl Future<Output = Result<TakeOver, StorageError>> + Send;

    /// Removes this version from the store.
    fn retire(&self) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Returns a digest of the rows of this version.
    fn digest(&self) -> impl Future<Output = Result<ViewDigest, StorageError>> + Send;
}

/// Function that reads the commits that a version lacks, during a take-over in which no position of the view changes.
pub type CatchUp<V> = Box<
    dyn FnOnce(
            Vec<PositionChange<<V as ViewStore>::Sequence>>,
        ) -> BoxFuture<'static, Result<BatchOf<V>, StorageError>>
        + Send,
>;

/// Digest of the rows of a view, independent of their order. Two versions with equal rows have equal digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewDigest {
    /// Number of rows.
    pub rows: u64,
    /// Hash of the rows of all tables, as text. Hashes of different kinds of stores cannot be compared.
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
        entry: &QuarantinedCommit<Self::Sequence>,
    ) -> impl Future<Output = Result<(), StorageError>> + Send {
        V::quarantine(self, entry)
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

    fn version_of_readers(&self) -> impl Future<Output = Result<Option<u32>, StorageError>> + Send {
        V::version_of_readers(self)
    }
}

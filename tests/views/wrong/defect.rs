//! The defects of a view store.

use eventsrc_core::view::{PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition, ViewDigest};
use eventsrc_core::{StorageError, StreamName};
use eventsrc_testkit::conformance::ViewRows;

use super::kept::{Answer, B, Kept, S, TakenOver};
use super::{Views, Which};

/// A defect of the store.
#[derive(Clone, Copy)]
pub(crate) enum Defect {
    /// No defect.
    None,
    /// It replaces the view.
    Which(fn(&mut Which)),
    /// It changes how batches are applied.
    Apply(fn(&mut Kept, &B) -> Answer),
    /// It changes the positions of streams.
    Places(fn(&Kept, &[StreamName]) -> Result<Vec<StreamPosition<S>>, StorageError>),
    /// It changes the list of positions.
    Positions(fn(&Kept, Option<&StreamName>, usize) -> Vec<(StreamName, S)>),
    /// It changes how streams are quarantined.
    Quarantine(fn(&mut Kept, &QuarantinedCommit<S>) -> Result<(), StorageError>),
    /// It changes the list of quarantines.
    Quarantined(fn(&Views, &Which) -> Vec<QuarantinedCommit<S>>),
    /// It changes how quarantines end.
    Release(fn(&mut Kept, &StreamName) -> bool),
    /// It changes how commits are skipped.
    Skip(fn(&mut Kept, &SkippedCommits<S>) -> bool),
    /// It changes the list of skips.
    Skipped(fn(&Views, &Which) -> Vec<SkippedCommits<S>>),
    /// It changes what readers see, given all views and the version that is read.
    Read(fn(&Views, &Which, &[StreamName]) -> (Vec<StreamPosition<S>>, ViewRows)),
    /// It acts when a view is opened.
    Open(fn(&mut Views, &Which)),
    /// It changes how a version is retired.
    Retire(fn(&mut Views, &Which) -> Result<(), StorageError>),
    /// It changes the digest of the rows.
    Digest(fn(&Kept) -> ViewDigest),
    /// It gives `catch_up` other streams.
    Behind(fn(&Kept, &Kept) -> Vec<PositionChange<S>>),
    /// It changes the take-over, given the streams that were behind and the batch that was brought.
    TakeOver(fn(&mut Views, &Which, &[PositionChange<S>], Result<B, StorageError>) -> TakenOver),
    /// It changes its answers during an outage.
    Interrupted(fn(&Kept, &[StreamName]) -> Outage),
    /// It changes its answers while the table is missing.
    WithoutTable(fn(&mut Kept, &B) -> Answer),
    /// It does not retire a version whose table is missing.
    RetiresOnlyWithTable,
    /// It applies one stream after the other, visible to readers.
    TornApply,
    /// It skips in steps, visible to readers.
    TornSkip,
    /// It reads positions first, and rows later.
    TornRead,
    /// It compares the positions, and applies later.
    CheckThenApply,
    /// It compares the position, and skips later.
    CheckThenSkip,
    /// It compares the position, and quarantines the stream later.
    CheckThenQuarantine,
    /// It has a lock for each handle.
    LockPerHandle,
    /// It reads all state, changes it, and writes it back.
    ReadThenWriteAll,
    /// A rejection reverts all changes since the batch began.
    RejectionTakesBack,
    /// A rejection keeps a connection; there are 100.
    RejectionsLeak,
    /// It rejects a batch that meets another one.
    RejectsWhenBusy,
    /// It fails with more than 16 concurrent calls.
    FewAtOnce,
    /// A handle reads what was stored when it was opened, and what it applied itself.
    StaleReads,
    /// A handle compares with the positions that it knows.
    StaleCompares,
    /// A read shows the state of the read before it.
    LateReads,
    /// Another task sees an applied batch only after the next one.
    HiddenFromOtherTasks,
    /// Changes of a handle are removed when it is dropped.
    LostWithTheHandle,
    /// A cancelled `apply` keeps the lock.
    DroppedApplyKeepsLock,
    /// A cancelled `positions_of` keeps the lock.
    DroppedPlacesKeepsLock,
    /// A handle keeps returning the version that served when it was opened.
    ServingIsRemembered,
    /// The version takes over before it catches up.
    ServesBeforeItCatchesUp,
    /// `catch_up` is called even if no stream is behind.
    CatchesUpWithNothing,
    /// Positions change while a version catches up.
    CatchesUpWithoutLock,
}

/// The answers of a store during an outage.
pub(crate) struct Outage {
    pub(crate) applied: Answer,
    pub(crate) places: Result<Vec<StreamPosition<S>>, StorageError>,
}

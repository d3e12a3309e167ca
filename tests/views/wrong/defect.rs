//! In which ways a store may be wrong.

use eventsrc_core::view::{PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition, ViewDigest};
use eventsrc_core::{StorageError, StreamName};
use eventsrc_testkit::conformance::ViewRows;

use super::kept::{Answer, B, Kept, S, TakenOver};
use super::{Views, Which};

/// In which way the store is wrong.
#[derive(Clone, Copy)]
pub(crate) enum Defect {
    /// In none.
    None,
    /// It takes one view for another.
    Which(fn(&mut Which)),
    /// It applies in its own way.
    Apply(fn(&mut Kept, &B) -> Answer),
    /// It has other ideas of where streams are.
    Places(fn(&Kept, &[StreamName]) -> Result<Vec<StreamPosition<S>>, StorageError>),
    /// It lists other positions.
    Positions(fn(&Kept, Option<&StreamName>, usize) -> Vec<(StreamName, S)>),
    /// It puts streams in quarantine in its own way.
    Quarantine(fn(&mut Kept, &QuarantinedCommit<S>) -> Result<(), StorageError>),
    /// It lists other quarantines.
    Quarantined(fn(&Views, &Which) -> Vec<QuarantinedCommit<S>>),
    /// It ends quarantines in its own way.
    Release(fn(&mut Kept, &StreamName) -> bool),
    /// It skips in its own way.
    Skip(fn(&mut Kept, &SkippedCommits<S>) -> bool),
    /// It lists other decisions.
    Skipped(fn(&Views, &Which) -> Vec<SkippedCommits<S>>),
    /// It gives readers something else, from all views and the version that is read.
    Read(fn(&Views, &Which, &[StreamName]) -> (Vec<StreamPosition<S>>, ViewRows)),
    /// It does something when a view is opened.
    Open(fn(&mut Views, &Which)),
    /// It removes a version in its own way.
    Retire(fn(&mut Views, &Which) -> Result<(), StorageError>),
    /// It has other ideas of which rows are equal.
    Digest(fn(&Kept) -> ViewDigest),
    /// It gives `catch_up` other streams.
    Behind(fn(&Kept, &Kept) -> Vec<PositionChange<S>>),
    /// It takes over in its own way, once it is known what lay behind and what was brought.
    TakeOver(fn(&mut Views, &Which, &[PositionChange<S>], Result<B, StorageError>) -> TakenOver),
    /// It answers in its own way while it is interrupted.
    Interrupted(fn(&Kept, &[StreamName]) -> Outage),
    /// It applies one stream after the other, in sight of readers.
    TornApply,
    /// It skips in steps, in sight of readers.
    TornSkip,
    /// It reads places first, and rows later.
    TornRead,
    /// It looks where the streams are, and applies later.
    CheckThenApply,
    /// It looks where the stream is, and skips later.
    CheckThenSkip,
    /// It looks where the stream is, and puts it in quarantine later.
    CheckThenQuarantine,
    /// It has a lock for each handle.
    LockPerHandle,
    /// It reads all, changes it, and writes it back.
    ReadThenWriteAll,
    /// A rejection takes back whatever was done since it began.
    RejectionTakesBack,
    /// A rejection keeps a connection; there are 100.
    RejectionsLeak,
    /// It rejects what it finds in the way.
    RejectsWhenBusy,
    /// It fails when more than 16 come at once.
    FewAtOnce,
    /// A handle reads what was there when it was opened, and what it applied itself.
    StaleReads,
    /// A handle compares with the positions that it knows.
    StaleCompares,
    /// A read shows what there was at the read before.
    LateReads,
    /// Another task sees what was applied only when more is.
    HiddenFromOtherTasks,
    /// What a handle did goes when it goes.
    LostWithTheHandle,
    /// A call of `apply` that is dropped keeps the lock.
    DroppedApplyKeepsLock,
    /// A call of `places` that is dropped keeps the lock.
    DroppedPlacesKeepsLock,
    /// A handle goes on telling which version served when it was opened.
    ServingIsRemembered,
    /// The version takes over before it catches up.
    ServesBeforeItCatchesUp,
    /// `catch_up` is called whatever lies behind.
    CatchesUpWithNothing,
    /// Positions move while a version catches up.
    CatchesUpWithoutLock,
}

/// What a store answers while it is interrupted.
pub(crate) struct Outage {
    pub(crate) applied: Answer,
    pub(crate) places: Result<Vec<StreamPosition<S>>, StorageError>,
}

//! What is wrong with a history.

/// The first thing in the history of a stream that no correct storage can have answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream {stream}: {what}")]
pub struct Violation {
    /// What kind of wrong it is.
    pub kind: ViolationKind,
    /// The stream, as `category/id`.
    pub stream: String,
    /// The calls and commits that contradict each other; `[3, 9]` is a call made at instant 3 and answered at 9.
    pub what: String,
}

/// The promise that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ViolationKind {
    /// One sequence holds two commits, or one commit is stored at two sequences.
    Duplicate,
    /// A sequence is missing between two others, or before the first.
    Hole,
    /// A part of a commit is stored, or was seen.
    HalfCommit,
    /// A commit that was acknowledged or seen is not there in the end, or another one is there.
    LostCommit,
    /// A commit is there that nobody put.
    Invented,
    /// A conflict with a commit that is not there.
    FalseConflict,
    /// A put met its own commit and was told that it is a conflict: a lost reply, not recognised.
    ConflictWithItself,
    /// A read missed what was there before it was called.
    StaleRead,
    /// Something was there before it was put, or was stored in another order than it is kept in.
    OutOfOrder,
    /// The stream cannot be read when all is done.
    Unreadable,
}

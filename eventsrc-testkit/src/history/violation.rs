//! Violations of a history.

/// The first contradiction in the history of a stream. No correct storage can give these answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream {stream}: {what}")]
pub struct Violation {
    /// The kind of the violation.
    pub kind: ViolationKind,
    /// The stream, as `category/id`.
    pub stream: String,
    /// The calls and commits that contradict each other. `[3, 9]` marks a call that started at instant 3 and was
    /// answered at 9.
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
    /// A part of a commit is stored, or was read.
    HalfCommit,
    /// A commit that was acknowledged or read is missing at the end, or another one is in its place.
    LostCommit,
    /// A commit is stored that no caller put.
    Invented,
    /// A commit names another previous commit than the one before it.
    BrokenChain,
    /// A conflict with a commit that is not stored.
    FalseConflict,
    /// A put of a stored commit is a conflict with itself: the storage did not recognise a repetition after a lost
    /// reply.
    ConflictWithItself,
    /// A read missed a commit that was stored before the read started.
    StaleRead,
    /// A commit was read before it was put, or commits were stored in another order than they are read.
    OutOfOrder,
    /// The stream cannot be read after all calls have ended.
    Unreadable,
}

//! Errors of storages, with a kind that tells the caller what to do next.

use std::error::Error;
use std::fmt;

use crate::commit::{CommitId, Head};
use crate::stream::{Sequence, StreamKey};

/// Failed call of a storage.
///
/// An error of a put means *unknown*, unless its kind says otherwise ([`ErrorKind::stores_nothing`]). A conflict is never
/// an error, but a value.
/// The text names the stream and the sequence, if they are known. The cause is the source of the error.
pub struct StorageError(Box<Parts>);

struct Parts {
    kind: ErrorKind,
    /// Description of the failure, such as "cannot store the commit".
    what: String,
    stream: Option<String>,
    sequence: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Kind of a [`StorageError`]: what the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Retry later: the storage is busy or unreachable.
    Unavailable,
    /// Fix the call: the same call would fail again.
    Invalid,
    /// Inspect the data: the stored data cannot be read.
    Corrupt,
    /// Deploy newer code: the stored event has a kind or a version that this process does not know, because a newer
    /// process wrote it.
    Unsupported,
    /// Look for a restored backup or a lost tail: the caller knows a history of the stream that the storage does not
    /// have. Nothing is stored. The source of the error is a [`Diverged`].
    Diverged,
    /// Slow down and retry later: too many calls wait. Nothing is stored.
    Overloaded,
    /// Fix the environment: the disk is full, the file is read-only or belongs to another program, or tables, columns or
    /// permissions are missing.
    Refused,
}

impl ErrorKind {
    /// True if a put that fails with this kind stored nothing. Otherwise the commit may or may not be stored.
    pub fn stores_nothing(self) -> bool {
        matches!(self, Self::Invalid | Self::Diverged | Self::Overloaded)
    }

    /// True if a stored event cannot be read by this process, while those before and after it can.
    pub fn is_unreadable(self) -> bool {
        matches!(self, Self::Corrupt | Self::Unsupported)
    }

    /// True if the same call may succeed later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::Overloaded)
    }
}

impl StorageError {
    /// Creates an error. `what` describes the failure, such as "cannot store the commit".
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Box::new(Parts { kind, what: what.into(), stream: None, sequence: None, source: None }))
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the stream that the error is about.
    #[must_use]
    pub fn on<K: StreamKey>(mut self, key: &K) -> Self {
        self.0.stream = Some(format!("{}/{}", key.category(), key.id()));
        self
    }

    /// Adds the sequence that the error is about.
    #[must_use]
    pub fn at<S: Sequence>(mut self, sequence: S) -> Self {
        self.0.sequence = Some(sequence.to_string());
        self
    }

    /// Returns the kind, which tells what to do next.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the stream that the error is about, as `category/id`.
    pub fn stream(&self) -> Option<&str> {
        self.0.stream.as_deref()
    }

    /// Returns the sequence that the error is about, as text.
    pub fn sequence(&self) -> Option<&str> {
        self.0.sequence.as_deref()
    }
}

/// Source of an error of kind [`ErrorKind::Diverged`]: the two ends of a stream that do not belong to one history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the caller knows {}, and the storage has {}", known.as_text(), stored.as_ref().map_or("no events".into(), End::as_text))]
pub struct Diverged {
    /// The event that the caller knows.
    pub known: End,
    /// The event that the storage has in its place, or its last one if it ends before; `None` if it has none.
    pub stored: Option<End>,
}

/// Sequence of an event, and the commit that ends there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Sequence, as text.
    pub sequence: String,
    /// Id of the commit, if it is known.
    pub commit_id: Option<CommitId>,
}

impl Diverged {
    /// Returns the error of a caller that knows the event `known` of the stream of `key`, where the storage has `stored`.
    pub fn error<K: StreamKey, S: Sequence>(
        key: &K,
        (sequence, commit_id): (S, Option<CommitId>),
        stored: Option<&Head<S>>,
    ) -> StorageError {
        let end = |sequence: S, commit_id| End { sequence: sequence.to_string(), commit_id };
        let stored = stored.map(|head| end(head.sequence, head.commit_id));
        let diverged = Self { known: end(sequence, commit_id), stored };
        StorageError::new(ErrorKind::Diverged, format!("the history differs: {diverged}"))
            .on(key)
            .at(sequence)
            .because(diverged)
    }
}

impl End {
    fn as_text(&self) -> String {
        match self.commit_id {
            Some(id) => format!("commit {id} at sequence {}", self.sequence),
            None => format!("sequence {}", self.sequence),
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if let Some(stream) = &self.0.stream {
            write!(f, ", stream {stream}")?;
        }
        if let Some(sequence) = &self.0.sequence {
            write!(f, ", sequence {sequence}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl Error for StorageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Returns the text of an error and its causes, on one line.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| Error::source(*cause));
    std::iter::once(error).chain(causes).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

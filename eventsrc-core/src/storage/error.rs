//! What went wrong with a storage, and what to do next.

use std::error::Error;
use std::fmt;

use crate::stream::{Sequence, StreamKey};

/// A storage could not do what it was asked.
///
/// From a put it means *unknown*: the commit may or may not be stored. It is never a conflict, which is a value.
/// The text names the stream and the sequence where there is one; the cause is the error's source.
pub struct StorageError(Box<Parts>);

struct Parts {
    kind: ErrorKind,
    /// What failed, as a clause: "cannot store the commit".
    what: String,
    stream: Option<String>,
    sequence: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Try again later: the storage is busy or out of reach.
    Unavailable,
    /// Fix the call: the same one fails again.
    Invalid,
    /// Look at the data: what is stored there cannot be read.
    Corrupt,
    /// Fix the set-up: the disk is full, the file is read-only or not ours, permissions are missing.
    Refused,
}

impl StorageError {
    /// An error of this kind; `what` is a clause such as "cannot store the commit".
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Box::new(Parts { kind, what: what.into(), stream: None, sequence: None, source: None }))
    }

    /// The same error, with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, with the stream it is about.
    #[must_use]
    pub fn on<K: StreamKey>(mut self, key: &K) -> Self {
        self.0.stream = Some(format!("{}/{}", key.category(), key.id()));
        self
    }

    /// The same error, with the sequence it is about.
    #[must_use]
    pub fn at<S: Sequence>(mut self, sequence: S) -> Self {
        self.0.sequence = Some(sequence.to_string());
        self
    }

    /// What to do next.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stream it is about, as `category/id`.
    pub fn stream(&self) -> Option<&str> {
        self.0.stream.as_deref()
    }

    /// The sequence it is about, as text.
    pub fn sequence(&self) -> Option<&str> {
        self.0.sequence.as_deref()
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

/// An error with its causes, in one line.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| Error::source(*cause));
    std::iter::once(error).chain(causes).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

//! The events of files and commits, and their folds.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use eventsrc_core::{Event, Fold, StreamKey, Timestamp};
use serde::{Deserialize, Serialize};

use super::path::FilePath;

/// A change of one file by one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileEvent {
    /// The file was added, or its content or mode was changed.
    ContentSet {
        /// The new content.
        content: Content,
        /// The commit that did it.
        by: Arc<Origin>,
    },
    /// The file was deleted.
    Deleted {
        /// The commit that did it.
        by: Arc<Origin>,
    },
}

impl FileEvent {
    /// The commit that did it.
    pub fn origin(&self) -> &Origin {
        let (Self::ContentSet { by, .. } | Self::Deleted { by }) = self;
        by
    }

    /// Returns the content after the event; `None` if the file was deleted.
    pub fn content(&self) -> Option<&Content> {
        match self {
            Self::ContentSet { content, .. } => Some(content),
            Self::Deleted { .. } => None,
        }
    }
}

/// Content of a file. `Display` prints mode, type and object as `git ls-tree` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Mode of git: a plain file, an executable, a symbolic link or a submodule.
    pub mode: u32,
    /// Id of the blob, or of the commit of a submodule.
    pub object: ObjectId,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUBMODULE: u32 = 0o160_000;
        let kind = if self.mode == SUBMODULE { "commit" } else { "blob" };
        write!(f, "{:06o} {kind} {}", self.mode, self.object)
    }
}

/// The commit that an event comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Number of the commit among the first-parent commits, from 1. Unlike commit times, it never decreases.
    pub ordinal: u64,
    /// Its id.
    pub commit: ObjectId,
    /// Author of the change, as `name <address>`.
    pub author: String,
    /// Author time of the change.
    pub time: Timestamp,
}

/// A commit was imported completely, with all its changes of files. Event n of the history is the n-th first-parent
/// commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitImported {
    /// Its id.
    pub commit: ObjectId,
    /// Commit time, which can be earlier than that of the commit before.
    pub time: Timestamp,
    /// First line of its message.
    pub summary: String,
    /// Number of files that it changed.
    pub changes: u64,
}

/// Key of the stream of imported commits. A database has one such stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct History;

impl StreamKey for History {
    fn category(&self) -> &str {
        "history"
    }

    fn id(&self) -> Cow<'_, str> {
        "first-parent".into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        (category == Self.category() && id == Self.id()).then_some(Self)
    }
}

/// Id of a git object, in hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectId(Box<str>);

impl ObjectId {
    /// Parses an id in full length; `None` if `text` is not one.
    pub fn new(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        // SHA-1 or SHA-256.
        (digits && matches!(text.len(), 40 | 64)).then(|| Self(text.into()))
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first ten digits, for display.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Folds a file into its content after commit number `upto`; no value if the file does not exist then.
#[derive(Debug, Clone, Copy)]
pub struct ContentAt {
    /// Number of the last commit that is applied.
    pub upto: u64,
}

impl Fold<FilePath, u64, FileEvent> for ContentAt {
    type Key = FilePath;
    type Value = Content;

    fn apply(&self, _: &FilePath, content: &mut Option<Content>, event: Event<'_, FilePath, u64, FileEvent>) {
        if event.payload.origin().ordinal <= self.upto {
            *content = event.payload.content().cloned();
        }
    }
}

/// Folds a file into its latest event, including a deletion.
#[derive(Debug, Clone, Copy)]
pub struct LatestChange;

impl Fold<FilePath, u64, FileEvent> for LatestChange {
    type Key = FilePath;
    type Value = FileEvent;

    fn apply(
        &self,
        _: &FilePath,
        latest: &mut Option<FileEvent>,
        event: Event<'_, FilePath, u64, FileEvent>,
    ) {
        *latest = Some(event.payload.clone());
    }
}

/// A point in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// Directly after this commit.
    Commit(ObjectId),
    /// After the last commit, in the order of the history, that was not made later than this time.
    Time(Timestamp),
}

/// Folds the history into the number of the last commit at a point. One stream is folded for many keys.
#[derive(Debug, Clone, Copy)]
pub struct OrdinalAt;

impl Fold<History, u64, CommitImported> for OrdinalAt {
    type Key = Point;
    type Value = u64;

    fn apply(
        &self,
        point: &Point,
        ordinal: &mut Option<u64>,
        event: Event<'_, History, u64, CommitImported>,
    ) {
        let reached = match point {
            Point::Commit(commit) => event.payload.commit == *commit,
            Point::Time(time) => event.payload.time <= *time,
        };
        if reached {
            *ordinal = Some(event.sequence());
        }
    }
}

/// Folds the history into the number of changes that all imported commits made.
#[derive(Debug, Clone, Copy)]
pub struct Changes;

impl Fold<History, u64, CommitImported> for Changes {
    type Key = History;
    type Value = u64;

    fn apply(&self, _: &History, changes: &mut Option<u64>, event: Event<'_, History, u64, CommitImported>) {
        *changes.get_or_insert_default() += event.payload.changes;
    }
}

//! What happens to files, and the folds of it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use eventsrc_core::{Event, Fold, StreamKey, Timestamp};
use serde::{Deserialize, Serialize};

use super::path::FilePath;

/// What a commit did to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileEvent {
    /// The file was given this content; before, it had another, or was not there.
    ContentSet {
        /// The content.
        content: Content,
        /// The commit that did it.
        by: Arc<Origin>,
    },
    /// The file was taken away.
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

    /// What the file holds afterwards.
    pub fn content(&self) -> Option<&Content> {
        match self {
            Self::ContentSet { content, .. } => Some(content),
            Self::Deleted { .. } => None,
        }
    }
}

/// What a file holds. As text: mode, type and object, as `git ls-tree` prints them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Plain, executable, a symbolic link or a submodule.
    pub mode: u32,
    /// The blob, or the commit of a submodule.
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
    /// Its number among the first-parent commits, from 1. Times of commits may run backwards; this does not.
    pub ordinal: u64,
    /// Its id.
    pub commit: ObjectId,
    /// Who made the change, as `name <address>`.
    pub author: String,
    /// When the author made it.
    pub time: Timestamp,
}

/// That a commit is imported, with everything it did to files. Event n of the history is the n-th first-parent commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitImported {
    /// Its id.
    pub commit: ObjectId,
    /// When it was made, which need not be later than the one before.
    pub time: Timestamp,
    /// The first line of its message.
    pub summary: String,
    /// How many files it changed.
    pub changes: u64,
}

/// The key of the stream of imported commits, of which a database has one.
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

/// The id of an object in git, in hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectId(Box<str>);

impl ObjectId {
    /// The id that `text` is, in full length; `None` if it is none.
    pub fn new(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        // SHA-1 or SHA-256.
        (digits && matches!(text.len(), 40 | 64)).then(|| Self(text.into()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first ten digits, for people.
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

/// What a file holds once commit number `upto` is made; none if it is not there then.
#[derive(Debug, Clone, Copy)]
pub struct ContentAt {
    /// The last commit that counts.
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

/// The latest event of a file itself, also where it is a deletion.
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
    /// Right after this commit.
    Commit(ObjectId),
    /// After the last commit, in the order of the history, that was not made later than this.
    Time(Timestamp),
}

/// The number of the last commit at a point: one stream, folded for many keys.
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

/// How many file changes all imported commits made.
#[derive(Debug, Clone, Copy)]
pub struct Changes;

impl Fold<History, u64, CommitImported> for Changes {
    type Key = History;
    type Value = u64;

    fn apply(&self, _: &History, changes: &mut Option<u64>, event: Event<'_, History, u64, CommitImported>) {
        *changes.get_or_insert_default() += event.payload.changes;
    }
}

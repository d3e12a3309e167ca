//! The columns of the tables, as values.

use std::error::Error;

use tokio_postgres::Row;
use uuid::Uuid;

/// A stored commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitRow {
    /// The number of its first event.
    pub(crate) number: i64,
    pub(crate) zone: u16,
    /// How many events it has.
    pub(crate) count: i32,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    pub(crate) commit_id: Uuid,
    /// Of the payloads.
    pub(crate) version: u32,
    pub(crate) payloads: Bytes,
    /// Where the payloads end; empty for one.
    pub(crate) lengths: Vec<u8>,
    /// JSON, where it says more than the commit id.
    pub(crate) metadata: Option<String>,
}

/// Why a row is not what was written.
pub(crate) type Unreadable = Box<dyn Error + Send + Sync>;

impl CommitRow {
    /// The number of its last event.
    pub(crate) fn last(&self) -> i64 {
        self.number.saturating_add(i64::from(self.count) - 1)
    }

    /// How much it takes up.
    pub(crate) fn size(&self) -> usize {
        let metadata = self.metadata.as_ref().map_or(0, String::len);
        self.payloads.as_ref().len() + self.lengths.len() + metadata
    }

    /// Reads the columns of a commit, which begin at `at`.
    pub(super) fn read(row: &Row, at: usize) -> Result<Self, Unreadable> {
        Ok(Self {
            number: row.try_get(at)?,
            zone: row.try_get::<_, i32>(at + 1)?.try_into()?,
            count: row.try_get(at + 2)?,
            time: row.try_get(at + 3)?,
            commit_id: row.try_get(at + 4)?,
            version: row.try_get::<_, i64>(at + 5)?.try_into()?,
            payloads: Bytes::read(row, at + 6)?.ok_or("there is no payload")?,
            lengths: row.try_get::<_, Option<_>>(at + 8)?.unwrap_or_default(),
            metadata: row.try_get(at + 9)?,
        })
    }
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadRow {
    /// The number of the last event.
    pub(crate) number: i64,
    pub(crate) zone: i32,
    pub(crate) time: i64,
}

impl HeadRow {
    /// Reads the columns of a head, which begin at `at`.
    pub(super) fn read(row: &Row, at: usize) -> Result<Self, tokio_postgres::Error> {
        Ok(Self { number: row.try_get(at)?, zone: row.try_get(at + 1)?, time: row.try_get(at + 2)? })
    }
}

/// Bytes that are kept as text where they are text, in two columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bytes {
    Text(String),
    Binary(Vec<u8>),
}

impl Bytes {
    /// `bytes`, which are text if `text` says so.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if the text is not UTF-8 or contains U+0000, which Postgres refuses.
    pub(crate) fn new(text: bool, bytes: Vec<u8>) -> Result<Self, Unreadable> {
        if !text {
            return Ok(Self::Binary(bytes));
        }
        let text = String::from_utf8(bytes)?;
        if text.contains('\0') {
            Err("it contains U+0000, which Postgres text cannot hold".into())
        } else {
            Ok(Self::Text(text))
        }
    }

    /// Whether they are text.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_binary(&self) -> Option<&[u8]> {
        if let Self::Binary(bytes) = self { Some(bytes) } else { None }
    }

    /// Reads the two columns at `at`.
    pub(super) fn read(row: &Row, at: usize) -> Result<Option<Self>, Unreadable> {
        Ok(match (row.try_get(at)?, row.try_get(at + 1)?) {
            (None, None) => None,
            (Some(text), None) => Some(Self::Text(text)),
            (None, Some(bytes)) => Some(Self::Binary(bytes)),
            (Some(_), Some(_)) => return Err("it is text and binary".into()),
        })
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

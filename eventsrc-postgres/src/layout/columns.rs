//! The columns of the tables, as values.

use std::error::Error;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

/// A stored commit, in texts `T` and bytes `B` of its own, or borrowed ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitRow<T = String, B = Vec<u8>> {
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
    pub(crate) payloads: Bytes<T, B>,
    /// Where the payloads end; `None` for one.
    pub(crate) lengths: Option<B>,
    /// JSON, where it says more than the commit id.
    pub(crate) metadata: Option<T>,
}

/// Why a row is not what was written.
pub(crate) type Unreadable = Box<dyn Error + Send + Sync>;

impl<T: AsRef<str>, B: AsRef<[u8]>> CommitRow<T, B> {
    /// The number of its last event.
    pub(crate) fn last(&self) -> i64 {
        self.number.saturating_add(i64::from(self.count) - 1)
    }

    /// How much it takes up.
    pub(crate) fn size(&self) -> usize {
        let metadata = self.metadata.as_ref().map_or(0, |text| text.as_ref().len());
        self.payloads.as_ref().len() + self.lengths().len() + metadata
    }

    /// Where the payloads end; empty for one.
    pub(crate) fn lengths(&self) -> &[u8] {
        self.lengths.as_ref().map_or(&[], AsRef::as_ref)
    }
}

impl<'a, T: FromSql<'a>, B: FromSql<'a>> CommitRow<T, B> {
    /// Reads the columns of a commit, which begin at `at`.
    pub(super) fn read(row: &'a Row, at: usize) -> Result<Self, Unreadable> {
        Ok(Self {
            number: row.try_get(at)?,
            zone: row.try_get::<_, i32>(at + 1)?.try_into()?,
            count: row.try_get(at + 2)?,
            time: row.try_get(at + 3)?,
            commit_id: row.try_get(at + 4)?,
            version: row.try_get::<_, i64>(at + 5)?.try_into()?,
            payloads: Bytes::read(row, at + 6)?.ok_or("there is no payload")?,
            lengths: row.try_get(at + 8)?,
            metadata: row.try_get(at + 9)?,
        })
    }
}

/// A row of a page: a commit, and in a page of many streams, which stream it is of.
pub(crate) struct PageRow(pub(super) Row);

impl PageRow {
    /// The commit.
    pub(crate) fn commit(&self) -> Result<CommitRow<&str, &[u8]>, Unreadable> {
        CommitRow::read(&self.0, 0)
    }

    /// The number of the first event.
    pub(crate) fn number(&self) -> Result<i64, tokio_postgres::Error> {
        self.0.try_get(0)
    }

    /// The bucket of the commit's stream, in a page of many.
    pub(super) fn bucket(&self) -> Result<i16, tokio_postgres::Error> {
        self.0.try_get(10)
    }

    /// The category and the id of the commit's stream, in a page of many.
    pub(crate) fn name(&self) -> Result<(&str, &str), tokio_postgres::Error> {
        Ok((self.0.try_get(11)?, self.0.try_get(12)?))
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
pub(crate) enum Bytes<T = String, B = Vec<u8>> {
    Text(T),
    Binary(B),
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

    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_binary(&self) -> Option<&[u8]> {
        if let Self::Binary(bytes) = self { Some(bytes) } else { None }
    }
}

impl<T, B> Bytes<T, B> {
    /// Whether they are text.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

impl<'a, T: FromSql<'a>, B: FromSql<'a>> Bytes<T, B> {
    /// Reads the two columns at `at`.
    pub(super) fn read(row: &'a Row, at: usize) -> Result<Option<Self>, Unreadable> {
        Ok(match (row.try_get(at)?, row.try_get(at + 1)?) {
            (None, None) => None,
            (Some(text), None) => Some(Self::Text(text)),
            (None, Some(bytes)) => Some(Self::Binary(bytes)),
            (Some(_), Some(_)) => return Err("it is text and binary".into()),
        })
    }
}

impl<T: AsRef<str>, B: AsRef<[u8]>> AsRef<[u8]> for Bytes<T, B> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_ref().as_bytes(),
            Self::Binary(bytes) => bytes.as_ref(),
        }
    }
}

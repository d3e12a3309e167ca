//! Rows of commits and heads.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::text_or_bytes::TextOrBytes;
use crate::failure::Unreadable;

/// Row of a commit, with owned or borrowed texts `T` and bytes `B`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitRow<T = String, B = Vec<u8>> {
    /// Number of the first event.
    pub(crate) number: i64,
    pub(crate) zone: u16,
    /// Number of events.
    pub(crate) count: i32,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    pub(crate) commit_id: Uuid,
    /// Version of the payloads.
    pub(crate) version: u32,
    pub(crate) payloads: TextOrBytes<T, B>,
    /// Encoded lengths of the payloads; `None` for one payload.
    pub(crate) lengths: Option<B>,
    /// JSON; `None` if the metadata has only the commit id.
    pub(crate) metadata: Option<T>,
}

impl<T: AsRef<str>, B: AsRef<[u8]>> CommitRow<T, B> {
    /// Number of the last event.
    pub(crate) fn last(&self) -> i64 {
        self.number.saturating_add(i64::from(self.count) - 1)
    }

    /// Size of payloads and metadata in bytes.
    pub(crate) fn size(&self) -> usize {
        let metadata = self.metadata.as_ref().map_or(0, |text| text.as_ref().len());
        self.payloads.as_ref().len() + self.lengths().len() + metadata
    }

    /// Encoded lengths of the payloads; empty for one payload.
    pub(crate) fn lengths(&self) -> &[u8] {
        self.lengths.as_ref().map_or(&[], AsRef::as_ref)
    }
}

impl<'a, T: FromSql<'a>, B: FromSql<'a>> CommitRow<T, B> {
    /// Reads the columns of a commit that start at `column`.
    pub(super) fn read(row: &'a Row, column: usize) -> Result<Self, Unreadable> {
        Ok(Self {
            number: row.try_get(column)?,
            zone: row.try_get::<_, i32>(column + 1)?.try_into()?,
            count: row.try_get(column + 2)?,
            time: row.try_get(column + 3)?,
            commit_id: row.try_get(column + 4)?,
            version: row.try_get::<_, i64>(column + 5)?.try_into()?,
            payloads: TextOrBytes::read(row, column + 6)?.ok_or("it has no payload")?,
            lengths: row.try_get(column + 8)?,
            metadata: row.try_get(column + 9)?,
        })
    }
}

/// Row of a page: a commit, and in a page of many streams also the stream of the commit.
pub(crate) struct PageRow(pub(super) Row);

impl PageRow {
    /// The commit.
    pub(crate) fn commit(&self) -> Result<CommitRow<&str, &[u8]>, Unreadable> {
        CommitRow::read(&self.0, 0)
    }

    /// Number of the first event.
    pub(crate) fn number(&self) -> Result<i64, tokio_postgres::Error> {
        self.0.try_get(0)
    }

    /// Bucket of the stream, in a page of many streams.
    pub(super) fn bucket(&self) -> Result<i16, tokio_postgres::Error> {
        self.0.try_get(10)
    }

    /// Category and id of the stream, in a page of many streams.
    pub(crate) fn name(&self) -> Result<(&str, &str), tokio_postgres::Error> {
        Ok((self.0.try_get(11)?, self.0.try_get(12)?))
    }
}

/// Columns of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadRow {
    /// Number of the last event.
    pub(crate) number: i64,
    pub(crate) zone: i32,
    /// Microseconds since 1970.
    pub(crate) time: i64,
}

impl HeadRow {
    /// Reads the columns of a head that start at `column`.
    pub(super) fn read(row: &Row, column: usize) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            number: row.try_get(column)?,
            zone: row.try_get(column + 1)?,
            time: row.try_get(column + 2)?,
        })
    }
}

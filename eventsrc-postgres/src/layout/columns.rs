//! Rows of commits and heads.

use std::borrow::Cow;

use eventsrc_core::backend::{EncodedCommit, EncodedHead};
use tokio_postgres::Row;
use uuid::Uuid;

use super::text_or_bytes::TextOrBytes;
use crate::failure::Unreadable;

/// Columns of a commit, in the order of [`read_commit`].
pub(super) const COMMIT: &str =
    "number, zone, count, time, commit_id, previous, version, payload_text, payload_bytes, lengths, metadata";

/// Number of columns in [`COMMIT`].
const COMMIT_COLUMNS: usize = 11;

/// Columns of the head after the commit `own`, in the order of [`HeadRow::read`].
pub(super) const HEAD_COLUMNS: &str =
    "own.number + (own.count - 1) AS number, own.zone, own.time, own.commit_id";

/// Reads the columns of a commit that start at `column`. Payloads, lengths and metadata are borrowed from the row.
pub(super) fn read_commit(row: &Row, column: usize) -> Result<EncodedCommit<'_>, Unreadable> {
    let payloads = TextOrBytes::read(row, column + 7)?.ok_or("it has no payload")?;
    let (text, payloads): (bool, &[u8]) = match payloads {
        TextOrBytes::Text(text) => (true, str::as_bytes(text)),
        TextOrBytes::Binary(bytes) => (false, bytes),
    };
    Ok(EncodedCommit {
        number: row.try_get::<_, i64>(column)?.try_into()?,
        zone: row.try_get::<_, i32>(column + 1)?.try_into()?,
        count: row.try_get::<_, i32>(column + 2)?.try_into()?,
        time: row.try_get(column + 3)?,
        commit_id: row.try_get(column + 4)?,
        previous: row.try_get(column + 5)?,
        version: row.try_get::<_, i64>(column + 6)?.try_into()?,
        text,
        payloads: payloads.into(),
        lengths: row.try_get::<_, Option<&[u8]>>(column + 9)?.unwrap_or_default().into(),
        metadata: row.try_get::<_, Option<&str>>(column + 10)?.map(Cow::from),
    })
}

/// Copies what `commit` borrows from its row.
pub(super) fn to_owned(commit: EncodedCommit<'_>) -> EncodedCommit<'static> {
    let owned = |bytes: Cow<'_, [u8]>| bytes.into_owned().into();
    EncodedCommit {
        payloads: owned(commit.payloads),
        lengths: owned(commit.lengths),
        metadata: commit.metadata.map(|text| text.into_owned().into()),
        ..commit
    }
}

/// Row of a page: a commit, and in a page of many streams also the stream of the commit.
pub(crate) struct PageRow(pub(super) Row);

impl PageRow {
    /// The commit.
    pub(crate) fn commit(&self) -> Result<EncodedCommit<'_>, Unreadable> {
        read_commit(&self.0, 0)
    }

    /// Number of the first event.
    pub(crate) fn number(&self) -> Result<i64, tokio_postgres::Error> {
        self.0.try_get(0)
    }

    /// Bucket of the stream, in a page of many streams.
    pub(super) fn bucket(&self) -> Result<i16, tokio_postgres::Error> {
        self.0.try_get(COMMIT_COLUMNS)
    }

    /// Category and id of the stream, in a page of many streams.
    pub(crate) fn name(&self) -> Result<(&str, &str), tokio_postgres::Error> {
        Ok((self.0.try_get(COMMIT_COLUMNS + 1)?, self.0.try_get(COMMIT_COLUMNS + 2)?))
    }
}

/// Columns of a head, as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadRow {
    /// Number of the last event.
    pub(crate) number: i64,
    pub(crate) zone: i32,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    /// Id of the commit that ends there.
    pub(crate) commit_id: Uuid,
}

impl HeadRow {
    /// Reads the columns of a head that start at `column`.
    pub(super) fn read(row: &Row, column: usize) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            number: row.try_get(column)?,
            zone: row.try_get(column + 1)?,
            time: row.try_get(column + 2)?,
            commit_id: row.try_get(column + 3)?,
        })
    }

    /// The head.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if number or zone are out of range.
    pub(crate) fn encoded(self) -> Result<EncodedHead, Unreadable> {
        let Self { number, zone, time, commit_id } = self;
        Ok(EncodedHead { number: number.try_into()?, zone: zone.try_into()?, time, commit_id })
    }
}

impl From<EncodedHead> for HeadRow {
    fn from(head: EncodedHead) -> Self {
        let EncodedHead { number, zone, time, commit_id } = head;
        Self { number: number.try_into().unwrap_or(i64::MAX), zone: zone.into(), time, commit_id }
    }
}

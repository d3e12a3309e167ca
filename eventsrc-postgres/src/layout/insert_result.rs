//! Answer of the database to an inserted commit.

use tokio_postgres::{Error, Row};

use super::columns::{CommitRow, HeadRow};
use super::stream_location::StreamLocation;

/// Answer of the database to an inserted commit.
#[derive(Debug)]
pub(crate) enum InsertResult {
    /// The commit is stored.
    Inserted,
    /// The commit is not stored.
    NotInserted {
        /// Head of the stream.
        head: HeadRow,
        /// Last commit of the stream that does not begin after the rejected one; `None` if there is none that can be
        /// read.
        existing: Option<CommitRow>,
    },
}

impl InsertResult {
    /// Reads the results for `streams`, in their order; `None` for a stream without a row.
    pub(super) fn read_all(rows: &[Row], streams: &[&StreamLocation]) -> Result<Vec<Option<Self>>, Error> {
        let mut results: Vec<_> = streams.iter().map(|_| None).collect();
        // Rows mostly arrive in the order of the streams, so the search for each starts after the last match.
        let mut next = 0;
        for row in rows {
            let parts = (row.try_get(0)?, row.try_get(1)?);
            let mut indexes = (next..streams.len()).chain(0..next);
            if let Some(index) = indexes.find(|index| streams[*index].parts() == parts) {
                results[index] = Some(Self::read(row)?);
                next = index + 1;
            }
        }
        Ok(results)
    }

    fn read(row: &Row) -> Result<Self, Error> {
        let Some(_) = row.try_get::<_, Option<i64>>(2)? else { return Ok(Self::Inserted) };
        let existing = row.try_get::<_, Option<i64>>(5)?.and_then(|_| CommitRow::read(row, 5).ok());
        Ok(Self::NotInserted { head: HeadRow::read(row, 2)?, existing })
    }
}

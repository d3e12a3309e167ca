//! Answer of the database to an inserted commit.

use std::sync::Arc;

use eventsrc_core::backend::EncodedCommit;
use tokio_postgres::{Error, Row};

use super::columns::{HeadRow, read_commit, to_owned};
use super::stream_location::StreamLocation;

/// Answer of the database to an inserted commit.
#[derive(Debug)]
pub(crate) enum InsertResult {
    /// The commit is stored.
    Inserted,
    /// The commit is not stored.
    NotInserted {
        /// Head of the stream; `None` if it has no events.
        head: Option<HeadRow>,
        /// Last commit of the stream that does not begin after the rejected one, if the stream reaches that far; `None` if
        /// there is none that can be read.
        existing: Option<Arc<EncodedCommit<'static>>>,
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
        if row.try_get(2)? {
            return Ok(Self::Inserted);
        }
        let head = match row.try_get::<_, Option<i64>>(3)? {
            None => None,
            Some(_) => Some(HeadRow::read(row, 3)?),
        };
        let existing = row.try_get::<_, Option<i64>>(7)?.and_then(|_| read_commit(row, 7).ok());
        Ok(Self::NotInserted { head, existing: existing.map(to_owned).map(Arc::new) })
    }
}

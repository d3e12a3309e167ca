//! Rows of leases and columns of checkpoints.

use eventsrc_core::Timestamp;
use eventsrc_core::lease::{Checkpoint, Lease, ShardPosition};
use tokio_postgres::Row;

use crate::failure::Unreadable;

/// Row of a lease, with the heartbeat of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::leases) struct LeaseRow {
    shard: String,
    parents: Vec<String>,
    owner: Option<String>,
    next_owner: Option<String>,
    counter: i64,
    heartbeat: i64,
    checkpoint: String,
    sequence_number: Option<String>,
    part: Option<i64>,
    time: Option<i64>,
}

impl LeaseRow {
    pub(super) fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            shard: row.try_get(0)?,
            parents: row.try_get(1)?,
            owner: row.try_get(2)?,
            next_owner: row.try_get(3)?,
            counter: row.try_get(4)?,
            heartbeat: row.try_get(5)?,
            checkpoint: row.try_get(6)?,
            sequence_number: row.try_get(7)?,
            part: row.try_get(8)?,
            time: row.try_get(9)?,
        })
    }

    /// Converts the row to a lease.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if a column does not have the format in which it was written.
    pub(in crate::leases) fn into_lease(self) -> Result<Lease, Unreadable> {
        let time = self.time.map(Timestamp::from_microsecond).transpose()?;
        let checkpoint = match (&*self.checkpoint, self.sequence_number, self.part, time) {
            ("trim horizon", None, None, None) => Checkpoint::TrimHorizon,
            ("latest", None, None, None) => Checkpoint::Latest,
            ("end", None, None, None) => Checkpoint::End,
            ("at", None, None, Some(time)) => Checkpoint::At(time),
            ("after", Some(number), Some(part), time) => Checkpoint::After(ShardPosition {
                sequence_number: number.into(),
                part: part.try_into()?,
                time,
            }),
            (other, ..) => return Err(format!("{other:?} is not a valid checkpoint").into()),
        };
        Ok(Lease {
            shard: self.shard,
            parents: self.parents,
            owner: self.owner,
            next_owner: self.next_owner,
            counter: self.counter.try_into()?,
            heartbeat: self.heartbeat.try_into()?,
            checkpoint,
        })
    }
}

/// Checkpoints by column; a missing checkpoint is NULL.
#[derive(Debug, Default)]
pub(in crate::leases) struct CheckpointRows<'a> {
    pub(super) kinds: Vec<Option<&'static str>>,
    pub(super) sequence_numbers: Vec<Option<&'a str>>,
    pub(super) parts: Vec<Option<i64>>,
    pub(super) times: Vec<Option<i64>>,
}

impl<'a> CheckpointRows<'a> {
    /// Converts checkpoints to columns.
    ///
    /// # Errors
    ///
    /// Fails if the number of a sub-record exceeds the largest that Postgres can store.
    pub(in crate::leases) fn new(
        checkpoints: impl IntoIterator<Item = Option<&'a Checkpoint>>,
    ) -> Result<Self, std::num::TryFromIntError> {
        let mut rows = Self::default();
        for checkpoint in checkpoints {
            let (kind, position, time) = match checkpoint {
                None => (None, None, None),
                Some(Checkpoint::TrimHorizon) => (Some("trim horizon"), None, None),
                Some(Checkpoint::Latest) => (Some("latest"), None, None),
                Some(Checkpoint::At(time)) => (Some("at"), None, Some(time)),
                Some(Checkpoint::After(position)) => (Some("after"), Some(position), position.time.as_ref()),
                Some(Checkpoint::End) => (Some("end"), None, None),
            };
            rows.kinds.push(kind);
            rows.sequence_numbers.push(position.map(|position| &*position.sequence_number));
            rows.parts.push(position.map(|position| position.part.try_into()).transpose()?);
            rows.times.push(time.map(|time| time.as_microsecond()));
        }
        Ok(rows)
    }
}

//! Statements on quarantines and skips.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::errors::{READ, unreadable};
use super::rows::{PositionRow, VersionKey};
use crate::connection::Connection;
use crate::connections::Connections;
use crate::failure::Failure;
use crate::view::transaction::Transaction;

/// Puts a stream in quarantine. The record of an earlier quarantine is overwritten.
const QUARANTINE: &str = "
    WITH stopped AS ({stop} RETURNING version, stream)
    INSERT INTO {schema}.view_quarantine (version, stream, number, zone, error, time)
    SELECT version, stream, $4::bigint, $5::integer, $6::text, $7::bigint FROM stopped
    ON CONFLICT (version, stream) DO UPDATE
    SET number = excluded.number, zone = excluded.zone, error = excluded.error, time = excluded.time";

/// Marks a stream without a position as quarantined.
const STOP_BEFORE_THE_FIRST: &str = "
    INSERT INTO {schema}.view_positions AS own (version, stream, stopped) VALUES ({version}, $3, true)
    ON CONFLICT (version, stream) DO UPDATE SET stopped = true
    WHERE own.number IS NULL AND own.stopped IS NULL";

/// Marks a stream at the expected position as quarantined.
const STOP: &str = "
    UPDATE {schema}.view_positions SET stopped = true
    WHERE version = {version} AND stream = $3 AND number = $8 AND zone = $9 AND stopped IS NULL";

const QUARANTINED: &str = "
    SELECT own.number, own.zone, poison.number, poison.zone, poison.time, stream, error
    FROM {schema}.view_quarantine AS poison JOIN {schema}.view_positions AS own USING (version, stream)
    WHERE version = {version} AND own.stopped ORDER BY stream";

const RELEASE: &str = "
    WITH freed AS (
        UPDATE {schema}.view_positions SET stopped = NULL
        WHERE version = {version} AND stream = $3 AND stopped RETURNING version, stream
    ), forgotten AS (DELETE FROM {schema}.view_quarantine AS poison USING freed
        WHERE poison.version = freed.version AND poison.stream = freed.stream)
    SELECT FROM freed";

/// Moves a position over commits, if it has the expected value. Returns the version and a boolean. A missing row is
/// inserted together with its expected position, and then the boolean is false unless that is NULL.
const PASS_OVER: &str = "
    INSERT INTO {schema}.view_positions AS own (version, stream, expected_number, expected_zone, number, zone)
    VALUES ({version}, $3, $4, $5, $6, $7)
    ON CONFLICT (version, stream) DO UPDATE SET number = excluded.number, zone = excluded.zone, stopped = NULL
    WHERE own.number IS NOT DISTINCT FROM excluded.expected_number
        AND own.zone IS NOT DISTINCT FROM excluded.expected_zone
    RETURNING version, expected_number IS NULL";

const FORGET: &str = "DELETE FROM {schema}.view_quarantine WHERE version = $1 AND stream = $2";

const RECORD: &str = "
    INSERT INTO {schema}.view_skips (version, stream, from_number, from_zone, number, zone, reason, time)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const SKIPPED: &str = "
    SELECT from_number, from_zone, number, zone, time, stream, reason FROM {schema}.view_skips
    WHERE version = {version} ORDER BY stream, number, zone";

/// Statements on quarantines and skips.
pub(in crate::view) struct Records {
    quarantine: String,
    quarantine_before_the_first: String,
    quarantined: String,
    release: String,
    pass_over: String,
    forget: String,
    record: String,
    skipped: String,
}

impl Records {
    pub(super) fn new(fill: impl Fn(&str) -> String) -> Self {
        Self {
            quarantine: fill(&QUARANTINE.replace("{stop}", STOP)),
            quarantine_before_the_first: fill(&QUARANTINE.replace("{stop}", STOP_BEFORE_THE_FIRST)),
            quarantined: fill(QUARANTINED),
            release: fill(RELEASE),
            pass_over: fill(PASS_OVER),
            forget: fill(FORGET),
            record: fill(RECORD),
            skipped: fill(SKIPPED),
        }
    }

    /// Puts a stream in quarantine, if it has the position of `entry` and is not in quarantine.
    pub(in crate::view) async fn quarantine(
        &self,
        connection: &Connection,
        key: VersionKey<'_>,
        entry: &QuarantineRow,
    ) -> Result<(), Error> {
        let QuarantineRow { stream, position, commit, error, time } = entry;
        let error = without_zeros(error);
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&key.view, &key.version, stream, &commit.number, &commit.zone, &error, time];
        let Some(position) = position else {
            let statement = connection.prepare_cached(&self.quarantine_before_the_first).await?;
            return connection.execute(&statement, &parameters).await.map(drop);
        };
        let statement = connection.prepare_cached(&self.quarantine).await?;
        let position: [&(dyn ToSql + Sync); 2] = [&position.number, &position.zone];
        connection.execute(&statement, &[&parameters[..], &position].concat()).await.map(drop)
    }

    /// Returns the streams in quarantine, by name.
    pub(in crate::view) async fn quarantined(
        &self,
        connections: &Connections,
        key: VersionKey<'_>,
    ) -> Result<Vec<QuarantineRow>, Failure> {
        let rows = connections.query(READ, &self.quarantined, &[&key.view, &key.version]).await?;
        rows.iter().map(QuarantineRow::read).collect::<Result<_, _>>().map_err(unreadable)
    }

    /// Ends the quarantine of a stream. Returns false if it was not in quarantine.
    pub(in crate::view) async fn release(
        &self,
        connection: &Connection,
        key: VersionKey<'_>,
        stream: &str,
    ) -> Result<bool, Error> {
        let statement = connection.prepare_cached(&self.release).await?;
        let released = connection.query(&statement, &[&key.view, &key.version, &stream]).await?;
        Ok(!released.is_empty())
    }

    /// Moves the position over commits and records the skip. Returns false if the stream is not at the position of `skip`;
    /// the caller must then roll back the transaction.
    pub(in crate::view) async fn skip(
        &self,
        transaction: &Transaction,
        key: VersionKey<'_>,
        skip: &SkipRow,
    ) -> Result<bool, Error> {
        let SkipRow { stream, from, to, reason, time } = skip;
        let (from_number, from_zone) = (from.map(|from| from.number), from.map(|from| from.zone));
        let statement = transaction.prepare_cached(&self.pass_over).await?;
        let updated = transaction
            .query_opt(
                &statement,
                &[&key.view, &key.version, stream, &from_number, &from_zone, &to.number, &to.zone],
            )
            .await?;
        let Some(updated) = updated else { return Ok(false) };
        let (version, was_as_expected): (i32, bool) = (updated.try_get(0)?, updated.try_get(1)?);
        if !was_as_expected {
            return Ok(false);
        }
        transaction.execute(&transaction.prepare_cached(&self.forget).await?, &[&version, stream]).await?;
        let reason = without_zeros(reason);
        let statement = transaction.prepare_cached(&self.record).await?;
        let parameters: [&(dyn ToSql + Sync); 8] =
            [&version, stream, &from_number, &from_zone, &to.number, &to.zone, &reason, time];
        transaction.execute(&statement, &parameters).await?;
        Ok(true)
    }

    /// Returns the skips, by stream and sequence.
    pub(in crate::view) async fn skipped(
        &self,
        connections: &Connections,
        key: VersionKey<'_>,
    ) -> Result<Vec<SkipRow>, Failure> {
        let rows = connections.query(READ, &self.skipped, &[&key.view, &key.version]).await?;
        rows.iter().map(SkipRow::read).collect::<Result<_, _>>().map_err(unreadable)
    }
}

/// Replaces U+0000, which Postgres text cannot hold, by `␀`.
fn without_zeros(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}

/// Row of a quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::view) struct QuarantineRow {
    pub(in crate::view) stream: String,
    pub(in crate::view) position: Option<PositionRow>,
    /// First sequence of the commit.
    pub(in crate::view) commit: PositionRow,
    pub(in crate::view) error: String,
    /// Microseconds since 1970.
    pub(in crate::view) time: i64,
}

impl QuarantineRow {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            position: PositionRow::read_optional(row, 0)?,
            commit: PositionRow::read(row, 2)?,
            time: row.try_get(4)?,
            stream: row.try_get(5)?,
            error: row.try_get(6)?,
        })
    }
}

/// Row of a skip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::view) struct SkipRow {
    pub(in crate::view) stream: String,
    pub(in crate::view) from: Option<PositionRow>,
    pub(in crate::view) to: PositionRow,
    pub(in crate::view) reason: String,
    /// Microseconds since 1970.
    pub(in crate::view) time: i64,
}

impl SkipRow {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            from: PositionRow::read_optional(row, 0)?,
            to: PositionRow::read(row, 2)?,
            time: row.try_get(4)?,
            stream: row.try_get(5)?,
            reason: row.try_get(6)?,
        })
    }
}

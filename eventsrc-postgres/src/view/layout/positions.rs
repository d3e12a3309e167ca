//! Statements that read the positions of streams.

use std::borrow::Cow;

use tokio_postgres::{Error, Row, Statement};

use super::errors::{READ, unreadable};
use super::rows::{PositionRow, StreamPositionRow, VersionKey};
use crate::connections::Connections;
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::view::transaction::Transaction;

const OF_STREAMS: &str =
    "SELECT number, zone, stopped FROM {schema}.view_places({version}, $3) ORDER BY place";

/// Positions in the serving version: a row for each stream, or one row if there are no streams.
const SERVING: &str = "
    SELECT number, zone, stopped, serving.version
    FROM {schema}.view_versions AS serving LEFT JOIN {schema}.view_places(serving.id, $2) ON true
    WHERE serving.view = $1 AND serving.serves ORDER BY place";

const AFTER: &str = "SELECT number, zone, stream FROM {schema}.view_positions_after({version}, $3, $4)";

/// Statements that read the positions of streams.
pub(in crate::view) struct Positions {
    of_streams: String,
    serving: String,
    after: String,
}

impl Positions {
    pub(super) fn new(fill: impl Fn(&str) -> String) -> Self {
        Self { of_streams: fill(OF_STREAMS), serving: fill(SERVING), after: fill(AFTER) }
    }

    /// Returns the positions of the streams with these keys in a version, in their order.
    pub(in crate::view) async fn of_streams(
        &self,
        connections: &Connections,
        key: VersionKey<'_>,
        streams: &[Cow<'_, str>],
    ) -> Result<Vec<StreamPositionRow>, Failure> {
        let parameters = [&key.view as _, &key.version as _, &streams as _];
        let rows = connections.query(READ, &self.of_streams, &parameters).await?;
        rows.iter().map(StreamPositionRow::read).collect::<Result<_, _>>().map_err(unreadable)
    }

    /// Returns the positions of at most `limit` streams of a version whose keys are after `after`, by key.
    pub(in crate::view) async fn after(
        &self,
        connections: &Connections,
        key: VersionKey<'_>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(String, PositionRow)>, Failure> {
        let parameters = [&key.view as _, &key.version as _, &after as _, &limit as _];
        let rows = connections.query(READ, &self.after, &parameters).await?;
        let read = |row: &Row| Ok((row.try_get(2)?, PositionRow::read(row, 0)?));
        rows.iter().map(read).collect::<Result<_, _>>().map_err(unreadable)
    }

    /// The statement of [`after`](Positions::after), with its parameters.
    pub(super) fn after_statement(&self) -> &str {
        &self.after
    }

    /// Prepares the statement of [`serving_positions`].
    pub(in crate::view) async fn prepare_serving(
        &self,
        transaction: &Transaction,
    ) -> Result<Statement, Error> {
        transaction.prepare_cached(&self.serving).await
    }
}

/// Returns the serving version and the positions of the streams with these keys in it; `None` if no version serves.
pub(in crate::view) async fn serving_positions(
    transaction: &Transaction,
    statement: &Statement,
    view: &str,
    streams: &[Cow<'_, str>],
) -> Result<Option<(i64, Vec<StreamPositionRow>)>, Error> {
    let rows = transaction.query(statement, &[&view, &streams]).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let positions = rows.iter().take(streams.len()).map(StreamPositionRow::read).collect::<Result<_, _>>()?;
    Ok(Some((first.try_get(3)?, positions)))
}

/// Statements that begin a transaction which reads one snapshot of the database, and in which the public names `tables`
/// refer to the same version until its end. [`misses_a_name`](super::errors::misses_a_name) recognises the error for a
/// name that does not exist.
pub(in crate::view) fn begin_reading(tables: &[Identifier]) -> String {
    let mut sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned();
    if !tables.is_empty() {
        // The locks come before the snapshot. Otherwise a name could be switched in between to a version that, in that
        // snapshot, has not caught up with the serving one.
        let names: Vec<_> = tables.iter().map(Identifier::to_string).collect();
        sql.push_str(&format!("; LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", ")));
    }
    sql
}

//! The tables of views: their versions, and of each version the positions, the quarantine and the decisions to skip. This
//! file and those below it alone know their names and the SQL.
//!
//! The rows of a version are the user's own. Those of the public table `users` lie in `users_v2` for version 2, and
//! `users` is an SQL view of what the serving version has.

mod records;
mod versions;

use tokio_postgres::{Error, Row, Statement};

pub(super) use records::{QuarantineRow, SkipRow};
pub(super) use versions::{
    BehindRow, VersionRow, be_patient, be_patient_with_readers, begin_digest, digest, drop_tables, kind_of,
    publish, rights, unpublish,
};

use super::transaction::Transaction;
use crate::connections::Connections;
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::migration::{Part, in_schema};

use records::Records;
use versions::Versions;

/// Views.
pub(crate) const PART: Part = Part { name: "views", migrations: &[VERSION_1], grants: GRANTS };

const VERSION_1: &str = r#"
    CREATE TABLE {schema}.view_versions (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        version bigint NOT NULL,
        serves boolean NOT NULL,            -- true for the one that readers see
        view text COLLATE "C" NOT NULL,
        tables text[] NOT NULL,             -- public names
        UNIQUE (view, version)
    );
    CREATE UNIQUE INDEX view_serving ON {schema}.view_versions (view) WHERE serves;
    CREATE TABLE {schema}.view_positions (
        number bigint,                      -- NULL before the first event
        expected_number bigint,             -- always NULL: what a statement that moves expects, for itself
        version integer NOT NULL,
        zone integer,
        expected_zone integer,
        stopped boolean,                    -- true in quarantine, else NULL
        stream text COLLATE "C" NOT NULL,   -- category/id
        PRIMARY KEY (version, stream)
    ) WITH (fillfactor = 80);
    CREATE TABLE {schema}.view_quarantine (
        number bigint NOT NULL,             -- of the commit that cannot be applied
        time bigint NOT NULL,               -- microseconds since 1970
        version integer NOT NULL,
        zone integer NOT NULL,
        stream text COLLATE "C" NOT NULL,
        error text NOT NULL,
        PRIMARY KEY (version, stream)
    );
    CREATE TABLE {schema}.view_skips (
        number bigint NOT NULL,             -- where it left the position
        from_number bigint,                 -- NULL before the first event
        time bigint NOT NULL,
        version integer NOT NULL,
        zone integer NOT NULL,
        from_zone integer,
        stream text COLLATE "C" NOT NULL,
        reason text NOT NULL,
        PRIMARY KEY (version, stream, number, zone)
    );
    -- Rows that refer to nothing: a transaction cannot be committed before it has removed its own.
    CREATE TABLE {schema}.view_nothing (number integer PRIMARY KEY);
    CREATE UNLOGGED TABLE {schema}.view_unfinished (
        number integer NOT NULL CONSTRAINT the_code_of_a_view_must_not_end_its_transaction
            REFERENCES {schema}.view_nothing DEFERRABLE INITIALLY DEFERRED
    );
    -- A plan that was made while the table was small is kept for a while, so it must be one for any size; to make one for
    -- each call takes longer than to read.
    CREATE FUNCTION {schema}.view_places(version integer, streams text[])
        RETURNS TABLE (number bigint, zone integer, stopped boolean, place bigint) LANGUAGE plpgsql STABLE
        SET plan_cache_mode = force_generic_plan
        SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
        AS $$ BEGIN
            RETURN QUERY SELECT own.number, own.zone, own.stopped IS NOT NULL, asked.place
            FROM unnest($2) WITH ORDINALITY AS asked (stream, place)
            LEFT JOIN {schema}.view_positions AS own ON own.version = $1 AND own.stream = asked.stream;
        END $$;
    CREATE FUNCTION {schema}.view_positions_after(version integer, after text, most bigint)
        RETURNS TABLE (number bigint, zone integer, stream text) LANGUAGE plpgsql STABLE
        SET plan_cache_mode = force_generic_plan
        SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
        AS $$ BEGIN
            RETURN QUERY SELECT own.number, own.zone, own.stream::text FROM {schema}.view_positions AS own
            WHERE own.version = $1 AND own.stream > $2 AND own.number IS NOT NULL ORDER BY own.stream LIMIT $3;
        END $$;
"#;

const GRANTS: &str = "
    REVOKE ALL ON {schema}.view_versions, {schema}.view_positions, {schema}.view_quarantine, {schema}.view_skips,
        {schema}.view_unfinished, {schema}.view_nothing FROM {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.view_versions, {schema}.view_positions,
        {schema}.view_quarantine, {schema}.view_skips, {schema}.view_unfinished TO {role};
    GRANT EXECUTE ON FUNCTION {schema}.view_places, {schema}.view_positions_after TO {role};
";

/// The constraint that an unfinished transaction does not meet.
pub(super) const UNFINISHED: &str = "the_code_of_a_view_must_not_end_its_transaction";

/// Keeps whatever comes without a transaction of the library's from writing. It has to be sent by itself, so that it
/// holds beyond a rollback.
pub(super) const FENCE: &str = "SET default_transaction_read_only = on";

/// Begins a transaction that writes, behind the fence.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Commits it, and takes the fence away. If it cannot be committed, the fence stays.
pub(super) const COMMIT: &str = "COMMIT; RESET default_transaction_read_only";

/// Ends whatever there is, and takes the fence away.
pub(super) const ROLLBACK: &str = "ROLLBACK; RESET default_transaction_read_only";

/// Takes part in what others do with the view as well. While one is alone with it, this fails at once, as
/// [`is_locked`] tells: a transaction that waited would keep its connection from the one that it waits for.
const ENTER: &str = "
    WITH unfinished AS (INSERT INTO {schema}.view_unfinished VALUES (0) RETURNING ctid::text AS mark)
    SELECT mark, 1 / pg_try_advisory_xact_lock_shared(hashtextextended($1, 0))::integer FROM unfinished";

/// Waits until nobody else is in, and keeps all others out.
const ENTER_ALONE: &str = "
    WITH unfinished AS (INSERT INTO {schema}.view_unfinished VALUES (0) RETURNING ctid::text AS mark)
    SELECT mark, pg_advisory_xact_lock(hashtextextended($1, 0)) FROM unfinished";

/// Waits until nobody is alone with the view.
const WAIT: &str = "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))";

/// Fails, as [`is_not_ours`] tells, unless this transaction is the one that entered.
const FINISH: &str = "
    WITH finished AS (DELETE FROM {schema}.view_unfinished WHERE ctid = $1::text::tid RETURNING 1)
    SELECT 1 / count(*) FROM finished";

/// The version `$2` of the view `$1`; NULL if there is none, which no row can have.
const VERSION: &str = "(SELECT id FROM {schema}.view_versions WHERE view = $1 AND version = $2)";

/// Moves positions; fails unless all of them are where they are expected and none is in quarantine, so that what was sent behind
/// it in the same transaction has no effect. [`position_differs`] and [`is_quarantined`] recognise the two errors.
///
/// A row that is there is only changed if it is as expected. A row that is not there is written as it stands, so it comes
/// back with what was expected of it, which has to be nothing. The order of the streams is that in which rows are locked.
const ADVANCE: &str = r#"
    WITH moved AS (
        INSERT INTO {schema}.view_positions AS own
            (version, stream, expected_number, expected_zone, number, zone)
        SELECT {version}, stream, expected_number, expected_zone, number, zone
        FROM unnest($3::text[], $4::bigint[], $5::integer[], $6::bigint[], $7::integer[])
            AS moves (stream, expected_number, expected_zone, number, zone)
        ORDER BY stream COLLATE "C"
        ON CONFLICT (version, stream) DO UPDATE SET number = excluded.number, zone = excluded.zone
        WHERE own.number IS NOT DISTINCT FROM excluded.expected_number
            AND own.zone IS NOT DISTINCT FROM excluded.expected_zone AND own.stopped IS NULL
        RETURNING expected_number
    )
    SELECT CASE
        WHEN count(*) FILTER (WHERE expected_number IS NULL) = cardinality($3) THEN 1
        WHEN EXISTS (
            SELECT FROM {schema}.view_positions AS own
            WHERE own.version = {version} AND own.stream = ANY ($3) AND own.stopped IS NOT NULL
        ) THEN sqrt(-1 - count(*))::integer
        ELSE 1 / (count(*) - count(*))::integer
    END FROM moved"#;

const PLACES: &str = "SELECT number, zone, stopped FROM {schema}.view_places({version}, $3) ORDER BY place";

/// A row for each stream, or one if there are no streams.
const SERVED_PLACES: &str = "
    SELECT number, zone, stopped, serving.version
    FROM {schema}.view_versions AS serving LEFT JOIN {schema}.view_places(serving.id, $2) ON true
    WHERE serving.view = $1 AND serving.serves ORDER BY place";

const POSITIONS: &str = "SELECT number, zone, stream FROM {schema}.view_positions_after({version}, $3, $4)";

/// The statements, for the tables of one schema.
pub(crate) struct ViewLayout {
    enter: String,
    enter_alone: String,
    finish: String,
    advance: String,
    places: String,
    served_places: String,
    positions: String,
    records: Records,
    versions: Versions,
}

/// Which version of which view.
#[derive(Debug, Clone, Copy)]
pub(super) struct VersionKey<'a> {
    pub(super) view: &'a str,
    pub(super) version: i64,
}

/// How to be in the transactions of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockMode {
    /// Beside others.
    Shared,
    /// Without any others.
    Exclusive,
}

/// Statements that are prepared, so that they are on their way as soon as they are called for.
pub(super) struct PreparedStatements {
    enter: Statement,
    advance: Statement,
    finish: Statement,
}

/// What marks a transaction as begun and not yet finished.
pub(super) struct TransactionMark(String);

impl ViewLayout {
    /// The statements for the tables in `schema`.
    pub(crate) fn new(schema: &Identifier) -> Self {
        let fill = |sql: &str| in_schema(&sql.replace("{version}", VERSION), schema);
        Self {
            enter: fill(ENTER),
            enter_alone: fill(ENTER_ALONE),
            finish: fill(FINISH),
            advance: fill(ADVANCE),
            places: fill(PLACES),
            served_places: fill(SERVED_PLACES),
            positions: fill(POSITIONS),
            records: Records::new(fill),
            versions: Versions::new(fill),
        }
    }

    /// Prepares what every transaction needs.
    pub(super) async fn prepare(
        &self,
        transaction: &Transaction,
        lock_mode: LockMode,
    ) -> Result<PreparedStatements, Error> {
        let enter = match lock_mode {
            LockMode::Shared => &self.enter,
            LockMode::Exclusive => &self.enter_alone,
        };
        let (enter, advance, finish) = futures::try_join!(
            transaction.prepare_cached(enter),
            transaction.prepare_cached(&self.advance),
            transaction.prepare_cached(&self.finish)
        )?;
        Ok(PreparedStatements { enter, advance, finish })
    }

    /// Prepares what a reader needs.
    pub(super) async fn prepare_places(&self, transaction: &Transaction) -> Result<Statement, Error> {
        transaction.prepare_cached(&self.served_places).await
    }

    /// Where the streams are in a version.
    pub(super) async fn positions_of(
        &self,
        connections: &Connections,
        at: VersionKey<'_>,
        streams: &[&str],
    ) -> Result<Vec<StreamPositionRow>, Failure> {
        let parameters = [&at.view as _, &at.version as _, &streams as _];
        let rows = connections.query(READ, &self.places, &parameters).await?;
        rows.iter().map(StreamPositionRow::read).collect::<Result<_, _>>().map_err(unreadable)
    }

    /// The positions of the streams of a version whose names come after `after`, at most `limit`, by name.
    pub(super) async fn positions(
        &self,
        connections: &Connections,
        at: VersionKey<'_>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(String, PositionRow)>, Failure> {
        let parameters = [&at.view as _, &at.version as _, &after as _, &limit as _];
        let rows = connections.query(READ, &self.positions, &parameters).await?;
        let read = |row: &Row| Ok((row.try_get(2)?, PositionRow::read(row, 0)?));
        rows.iter().map(read).collect::<Result<_, _>>().map_err(unreadable)
    }

    /// Quarantines and skips.
    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// Versions, and the public names.
    pub(super) fn versions(&self) -> &Versions {
        &self.versions
    }
}

impl PreparedStatements {
    /// Marks the transaction as unfinished, and says to others who share `name` that somebody is in.
    pub(super) async fn enter(
        &self,
        transaction: &Transaction,
        name: &str,
    ) -> Result<TransactionMark, Error> {
        Ok(TransactionMark(transaction.query_one(&self.enter, &[&name]).await?.try_get(0)?))
    }

    /// Moves positions of a version, if all are where they are expected.
    pub(super) async fn advance(
        &self,
        transaction: &Transaction,
        at: VersionKey<'_>,
        moves: &PositionChangeRows<'_>,
    ) -> Result<(), Error> {
        let PositionChangeRows { streams, from_numbers, from_zones, numbers, zones } = moves;
        transaction
            .query_one(
                &self.advance,
                &[&at.view, &at.version, streams, from_numbers, from_zones, numbers, zones],
            )
            .await
            .map(drop)
    }

    /// Removes the mark, if this is the transaction that it was set in.
    pub(super) async fn finish(
        &self,
        transaction: &Transaction,
        mark: &TransactionMark,
    ) -> Result<(), Error> {
        transaction.query_one(&self.finish, &[&mark.0]).await.map(drop)
    }
}

/// Waits until nobody is alone with what is called `name`.
pub(super) async fn wait(connections: &Connections, doing: &str, name: &str) -> Result<(), Failure> {
    connections.query(doing, WAIT, &[&name]).await.map(drop)
}

/// Where streams are in the version that serves, and which that is; `None` if none does.
pub(super) async fn served_places(
    transaction: &Transaction,
    statement: &Statement,
    view: &str,
    streams: &[&str],
) -> Result<Option<(i64, Vec<StreamPositionRow>)>, Error> {
    let rows = transaction.query(statement, &[&view, &streams]).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let places = rows.iter().take(streams.len()).map(StreamPositionRow::read).collect::<Result<_, _>>()?;
    Ok(Some((first.try_get(3)?, places)))
}

/// Begins a transaction that reads one state, in which the public names mean the same to the end. Names that are not there
/// are told by [`misses_a_name`].
pub(super) fn begin_reading(tables: &[Identifier]) -> String {
    let mut sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned();
    if !tables.is_empty() {
        // Before the state that is read is fixed: otherwise a name could come to mean a version that was not yet brought
        // up to the serving one in that state.
        let names: Vec<_> = tables.iter().map(Identifier::to_string).collect();
        sql.push_str(&format!("; LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", ")));
    }
    sql
}

/// Whether an error says that a name is not there.
pub(super) fn misses_a_name(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code() == "42P01")
}

/// True for the error of [`PreparedStatements::enter`] that says that another transaction holds the view's lock exclusively.
pub(super) fn is_locked(error: &Error) -> bool {
    divides_by_zero(error)
}

/// True for the error of [`PreparedStatements::advance`] that says that a stream is not at the expected position.
pub(super) fn position_differs(error: &Error) -> bool {
    divides_by_zero(error)
}

/// True for the error of [`PreparedStatements::advance`] that says that a stream is in quarantine: it takes the root of a negative number.
pub(super) fn is_quarantined(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code() == "2201F")
}

/// True if one of our own statements answered no by dividing by zero.
fn divides_by_zero(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code() == "22012")
}

/// Whether an error of [`PreparedStatements::finish`] says that the transaction is not the one that was begun.
pub(super) fn is_not_ours(error: &Error) -> bool {
    divides_by_zero(error) || error.code().is_some_and(|code| code.code() == BEHIND_THE_FENCE)
}

/// What Postgres says to those who write behind the fence.
pub(super) const BEHIND_THE_FENCE: &str = "25006";

/// Whether an error says that the version is not kept.
pub(super) fn lacks_the_version(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code() == "23502")
}

/// A position in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PositionRow {
    pub(super) number: i64,
    pub(super) zone: i32,
}

impl PositionRow {
    /// Reads a number and a zone from `column` on.
    fn read(row: &Row, column: usize) -> Result<Self, Error> {
        Ok(Self { number: row.try_get(column)?, zone: row.try_get(column + 1)? })
    }

    /// The same; `None` if there are none.
    fn read_if_any(row: &Row, column: usize) -> Result<Option<Self>, Error> {
        let number: Option<i64> = row.try_get(column)?;
        number.map(|_| Self::read(row, column)).transpose()
    }
}

/// Where a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct StreamPositionRow {
    pub(super) position: Option<PositionRow>,
    pub(super) stopped: bool,
}

impl StreamPositionRow {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self { position: PositionRow::read_if_any(row, 0)?, stopped: row.try_get(2)? })
    }
}

/// How streams move, a column at a time.
#[derive(Debug, Default)]
pub(super) struct PositionChangeRows<'a> {
    pub(super) streams: Vec<&'a str>,
    pub(super) from_numbers: Vec<Option<i64>>,
    pub(super) from_zones: Vec<Option<i32>>,
    pub(super) numbers: Vec<i64>,
    pub(super) zones: Vec<i32>,
}

/// What is done when reading fails.
const READ: &str = "cannot read the view";

fn unreadable(error: Error) -> Failure {
    Failure::new(READ, error)
}

//! Statements of the transactions that change a view: the advisory lock, the mark and the position changes.

use tokio_postgres::{Error, Statement};

use super::rows::{PositionChangeRows, VersionKey};
use crate::connections::Connections;
use crate::failure::Failure;
use crate::view::transaction::Transaction;

/// Makes all statements outside of the library's transactions read-only. It is sent on its own, so that it outlasts a
/// rollback.
pub(in crate::view) const READ_ONLY: &str = "SET default_transaction_read_only = on";

/// Begins a transaction that writes in spite of [`READ_ONLY`].
pub(in crate::view) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Commits the transaction, and ends [`READ_ONLY`]. If the commit fails, the session stays read-only.
pub(in crate::view) const COMMIT: &str = "COMMIT; RESET default_transaction_read_only";

/// Rolls back any transaction, and ends [`READ_ONLY`].
pub(in crate::view) const ROLLBACK: &str = "ROLLBACK; RESET default_transaction_read_only";

/// Takes the advisory lock `$1` in shared mode, and inserts the mark of the transaction.
///
/// If another transaction holds the lock exclusively, the statement fails at once, and
/// [`is_locked`](super::errors::is_locked) recognises the error. A transaction that waited would occupy a connection that
/// the holder of the lock may need.
const ENTER: &str = "
    WITH unfinished AS (INSERT INTO {schema}.view_unfinished VALUES (0) RETURNING ctid::text AS mark)
    SELECT mark, 1 / pg_try_advisory_xact_lock_shared(hashtextextended($1, 0))::integer FROM unfinished";

/// Waits for the advisory lock `$1` in exclusive mode, and inserts the mark of the transaction.
const ENTER_EXCLUSIVE: &str = "
    WITH unfinished AS (INSERT INTO {schema}.view_unfinished VALUES (0) RETURNING ctid::text AS mark)
    SELECT mark, pg_advisory_xact_lock(hashtextextended($1, 0)) FROM unfinished";

/// Waits until no transaction holds the advisory lock `$1` exclusively.
const WAIT: &str = "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))";

/// Deletes the mark. Fails unless this is the transaction that inserted it;
/// [`is_other_transaction`](super::errors::is_other_transaction) recognises the error.
const FINISH: &str = "
    WITH finished AS (DELETE FROM {schema}.view_unfinished WHERE ctid = $1::text::tid RETURNING 1)
    SELECT 1 / count(*) FROM finished";

/// Changes positions. Fails unless each has the expected value and no stream is in quarantine, so that statements that
/// were sent after it in the same transaction have no effect. [`position_differs`](super::errors::position_differs) and
/// [`is_quarantined`](super::errors::is_quarantined) recognise the two errors.
///
/// An existing row is changed only if it has the expected position. A missing row is inserted together with its expected
/// position, and the statement fails unless that is NULL. Rows are locked in the order of the streams.
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

/// Waits up to this long for other transactions on the view. Other views and readers are not blocked in the meantime.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s'";

/// Waits up to this long for readers of a public name. New readers of the name are blocked in the meantime.
const READER_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1s'";

/// Statements of the transactions that change a view.
pub(in crate::view) struct Transactions {
    enter: String,
    enter_exclusive: String,
    advance: String,
    finish: String,
}

/// Mode in which a transaction holds the advisory lock of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::view) enum LockMode {
    /// Concurrent with other transactions in shared mode.
    Shared,
    /// Without any other transaction on the view.
    Exclusive,
}

/// Prepared statements of one transaction. They are sent as soon as they are called.
pub(in crate::view) struct PreparedStatements {
    enter: Statement,
    advance: Statement,
    finish: Statement,
}

/// Row that marks a transaction as begun and not yet finished.
pub(in crate::view) struct TransactionMark(String);

impl Transactions {
    pub(super) fn new(fill: impl Fn(&str) -> String) -> Self {
        Self {
            enter: fill(ENTER),
            enter_exclusive: fill(ENTER_EXCLUSIVE),
            advance: fill(ADVANCE),
            finish: fill(FINISH),
        }
    }

    /// Prepares the statements of a transaction.
    pub(in crate::view) async fn prepare(
        &self,
        transaction: &Transaction,
        lock_mode: LockMode,
    ) -> Result<PreparedStatements, Error> {
        let enter = match lock_mode {
            LockMode::Shared => &self.enter,
            LockMode::Exclusive => &self.enter_exclusive,
        };
        let (enter, advance, finish) = futures::try_join!(
            transaction.prepare_cached(enter),
            transaction.prepare_cached(&self.advance),
            transaction.prepare_cached(&self.finish)
        )?;
        Ok(PreparedStatements { enter, advance, finish })
    }
}

impl PreparedStatements {
    /// Takes the advisory lock called `lock_name`, and marks the transaction as unfinished.
    pub(in crate::view) async fn enter(
        &self,
        transaction: &Transaction,
        lock_name: &str,
    ) -> Result<TransactionMark, Error> {
        Ok(TransactionMark(transaction.query_one(&self.enter, &[&lock_name]).await?.try_get(0)?))
    }

    /// Changes positions of a version, if each has the expected value.
    pub(in crate::view) async fn advance(
        &self,
        transaction: &Transaction,
        key: VersionKey<'_>,
        changes: &PositionChangeRows<'_>,
    ) -> Result<(), Error> {
        let PositionChangeRows { streams, from_numbers, from_zones, numbers, zones } = changes;
        transaction
            .query_one(
                &self.advance,
                &[&key.view, &key.version, streams, from_numbers, from_zones, numbers, zones],
            )
            .await
            .map(drop)
    }

    /// Deletes the mark, if this is the transaction that inserted it.
    pub(in crate::view) async fn finish(
        &self,
        transaction: &Transaction,
        mark: &TransactionMark,
    ) -> Result<(), Error> {
        transaction.query_one(&self.finish, &[&mark.0]).await.map(drop)
    }
}

/// Waits until no transaction holds the advisory lock called `lock_name` exclusively.
pub(in crate::view) async fn wait(
    connections: &Connections,
    context: &str,
    lock_name: &str,
) -> Result<(), Failure> {
    connections.query(context, WAIT, &[&lock_name]).await.map(drop)
}

/// Limits how long the transaction waits for other transactions on the view.
pub(in crate::view) async fn limit_lock_wait(transaction: &Transaction) -> Result<(), Error> {
    transaction.batch_execute(LOCK_TIMEOUT).await
}

/// Limits how long the transaction waits for readers of public names.
pub(in crate::view) async fn limit_reader_lock_wait(transaction: &Transaction) -> Result<(), Error> {
    transaction.batch_execute(READER_LOCK_TIMEOUT).await
}

//! Digest of the rows of a version.

use tokio_postgres::Error;

use crate::identifier::Identifier;
use crate::view::transaction::Transaction;

/// Begins the transaction that computes a digest. The settings of the session affect how values are converted to text, so
/// the statement fixes them.
const BEGIN_DIGEST: &str = "
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL statement_timeout = 0; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO';
    SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'";

/// Count of rows and sums of two hashes of each row. Sums do not depend on the order of the rows, and two hashes collide
/// less often than one.
const DIGEST: &str = "
    SELECT count(*), coalesce(sum(hashtextextended(text, 0)), 0)::text,
        coalesce(sum(hashtextextended(text, 1)), 0)::text
    FROM ({rows}) AS rows (text)";

const DIGEST_OF_TABLE: &str = "SELECT '{name} ' || (\"the row\".*)::text FROM {table} AS \"the row\"";

/// Begins the transaction that computes a digest.
pub(in crate::view) async fn begin_digest(transaction: &Transaction) -> Result<(), Error> {
    transaction.batch_execute(BEGIN_DIGEST).await
}

/// Computes the digest of the rows in `tables`, each with its public name.
pub(in crate::view) async fn digest(
    transaction: &Transaction,
    tables: impl Iterator<Item = (&Identifier, Identifier)>,
) -> Result<DigestRow, Error> {
    let row = |(name, table): (&Identifier, Identifier)| {
        DIGEST_OF_TABLE.replace("{name}", name.as_str()).replace("{table}", &table.to_string())
    };
    let mut rows: Vec<_> = tables.map(row).collect();
    if rows.is_empty() {
        rows.push("SELECT '' WHERE false".into());
    }
    let statement = DIGEST.replace("{rows}", &rows.join(" UNION ALL "));
    let row = transaction.query_one(&statement, &[]).await?;
    Ok(DigestRow { rows: row.try_get(0)?, sums: [row.try_get(1)?, row.try_get(2)?] })
}

/// Row of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::view) struct DigestRow {
    pub(in crate::view) rows: i64,
    /// Sums of two hashes of each row.
    pub(in crate::view) sums: [String; 2],
}

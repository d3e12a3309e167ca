//! Reading all rows of a version, in the transaction that [`begin_digest`](super::begin_digest) begins.

use std::pin::pin;

use futures::TryStreamExt;
use tokio_postgres::{Error, Row};

use super::rows::{PositionRow, VersionKey};
use super::statements::ViewLayout;
use crate::identifier::Identifier;
use crate::view::transaction::Transaction;

const ROWS: &str = "SELECT row_to_json(\"the row\".*)::text, {stream} FROM {table} AS \"the row\"";

/// Row of a table.
pub(in crate::view) struct ScannedRow<'a> {
    /// Columns and values, as JSON.
    pub(in crate::view) text: &'a str,
    /// Value of the column of the stream.
    pub(in crate::view) stream: Option<&'a str>,
}

/// Calls `visit` with each row of `table`. `stream` is the column of the stream, if there is one.
pub(in crate::view) async fn scan_rows(
    transaction: &Transaction,
    table: &Identifier,
    stream: Option<&str>,
    mut visit: impl FnMut(ScannedRow<'_>),
) -> Result<(), Error> {
    let stream = match stream {
        Some(column) => format!("\"the row\".\"{}\"::text", column.replace('"', "\"\"")),
        None => "NULL::text".to_owned(),
    };
    let statement = ROWS.replace("{table}", &table.to_string()).replace("{stream}", &stream);
    let mut rows = pin!(transaction.query_raw(&statement, [""; 0]).await?);
    while let Some(row) = rows.try_next().await? {
        visit(ScannedRow { text: row.try_get(0)?, stream: row.try_get(1)? });
    }
    Ok(())
}

/// Returns the positions of all streams of a version, by name, as `transaction` sees them.
pub(in crate::view) async fn positions_in(
    layout: &ViewLayout,
    transaction: &Transaction,
    key: VersionKey<'_>,
) -> Result<Vec<(String, PositionRow)>, Error> {
    let parameters = [&key.view as _, &key.version as _, &"" as _, &i64::MAX as _];
    let rows = transaction.query(layout.positions.after_statement(), &parameters).await?;
    let read = |row: &Row| Ok((row.try_get(2)?, PositionRow::read(row, 0)?));
    let found = rows.iter().map(read).collect::<Result<_, Error>>()?;
    layout.long_names.resolve_with(transaction, found, |(stream, _)| stream).await
}

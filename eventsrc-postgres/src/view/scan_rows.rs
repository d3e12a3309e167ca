//! Reading all rows of a view version.

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{Positions, RowVisitor, ScanRows, ViewRow};
use eventsrc_core::{Sequence, StorageError, StreamKey};

use super::contract::View;
use super::layout::{self, ScannedRow};
use super::open_transaction::OpenTransaction;
use super::rows;
use super::store::PostgresView;
use super::table_names::of_version;
use super::transaction::Transaction;

impl<K, S, E, V> ScanRows for PostgresView<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    async fn scan_rows<R: RowVisitor>(&self, mut visitor: R) -> Result<(R, Positions<S>), StorageError> {
        let inner = &*self.0;
        let key = inner.version_key();
        let transaction = Transaction::new(inner.postgres.connection().await?);
        let open = OpenTransaction::new(transaction.share());
        let scan = async {
            layout::begin_digest(&open).await?;
            let positions = layout::positions_in(&inner.layout, &open, key).await?;
            for table in &inner.tables {
                let name = table.as_str();
                let column = inner.view.stream_column(name);
                let visit = |row: ScannedRow<'_>| {
                    let stream = column.zip(row.stream).and_then(|(column, value)| column.stream(value));
                    visitor.visit(ViewRow { table: name, text: row.text, stream });
                };
                let rows = of_version(table, key.version);
                layout::scan_rows(&open, &rows, column.map(|column| column.column()), visit).await?;
            }
            Ok(positions)
        };
        let positions = transaction.answer_at_any_time(scan).await.map_err(inner.failure("read"))?;
        let positions = positions.into_iter().map(|(stream, row)| rows::position(&stream, row));
        Ok((visitor, positions.collect::<Result<_, _>>()?))
    }
}

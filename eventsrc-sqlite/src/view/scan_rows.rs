//! Reading all rows of a view version.

use std::fmt::Write as _;
use std::sync::Arc;

use eventsrc_core::commit::Payload;
use eventsrc_core::view::{Positions, RowVisitor, ScanRows, StreamColumn, ViewRow};
use eventsrc_core::{Sequence, StorageError, StreamKey};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::contract::View;
use super::inner::ViewInner;
use super::rows;
use super::store::SqliteView;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::layout::views as layout;

impl<K, S, E, V> ScanRows for SqliteView<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    async fn scan_rows<R: RowVisitor>(&self, mut visitor: R) -> Result<(R, Positions<S>), StorageError> {
        let inner = Arc::clone(&self.inner);
        let read = move |connection: &Guarded| {
            let _transaction = connection.read_transaction()?;
            let id = inner.id(connection)?;
            let failure = |error| Failure::new(&inner.cannot("read"), error);
            let positions = layout::positions(connection, id, "", i64::MAX).map_err(failure)?;
            for table in &inner.tables {
                inner.scan_table(connection, table, &mut visitor).map_err(failure)?;
            }
            Ok((visitor, positions))
        };
        let (visitor, positions) = self.database.read_view(read).await?;
        let positions = positions.into_iter().map(|(stream, row)| rows::named_position(&stream, row));
        Ok((visitor, positions.collect::<Result<_, _>>()?))
    }
}

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Passes each row of the public table `table` to `visitor`.
    fn scan_table(
        &self,
        connection: &Connection,
        table: &str,
        visitor: &mut impl RowVisitor,
    ) -> rusqlite::Result<()> {
        let columns = layout::columns(connection, table, self.version())?;
        let stream_column = self.view.stream_column(table);
        let index = |column: StreamColumn| columns.iter().position(|name| name == column.column());
        let stream_index = stream_column.and_then(index);
        let mut text = String::new();
        layout::visit_rows(connection, table, self.version(), |values| {
            text.clear();
            let mut stream = None;
            for (index, (column, value)) in columns.iter().zip(values).enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                text.push_str(column);
                text.push('=');
                let start = text.len();
                push(&mut text, value);
                if stream_index == Some(index) {
                    let value = value.as_str().unwrap_or(&text[start..]);
                    stream = stream_column.and_then(|column| column.stream(value));
                }
            }
            visitor.visit(ViewRow { table, text: &text, stream });
        })
    }
}

/// Appends a value as an SQL literal. Different values have different texts.
fn push(text: &mut String, value: ValueRef<'_>) {
    let hex = |text: &mut String, bytes: &[u8]| {
        text.push_str("x'");
        bytes.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes any text"));
        text.push('\'');
    };
    match value {
        ValueRef::Null => text.push_str("NULL"),
        ValueRef::Integer(number) => write!(text, "{number}").expect("a string takes any text"),
        ValueRef::Real(number) => write!(text, "{number:?}").expect("a string takes any text"),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(string) => {
                text.push('\'');
                text.push_str(&string.replace('\'', "''"));
                text.push('\'');
            }
            Err(_) => {
                text.push_str("text ");
                hex(text, bytes);
            }
        },
        ValueRef::Blob(bytes) => hex(text, bytes),
    }
}

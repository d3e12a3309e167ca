//! Columns that hold text where the bytes are text, and a blob otherwise.
//!
//! Text stays readable in the `sqlite3` shell.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Error, Result, Row, ToSql};

/// Bytes of a parameter, bound as text or as a blob.
pub(super) struct TextOrBlob<'a> {
    /// True for text.
    pub(super) text: bool,
    pub(super) bytes: &'a [u8],
}

impl ToSql for TextOrBlob<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let value = if self.text { ValueRef::Text(self.bytes) } else { ValueRef::Blob(self.bytes) };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

/// Reads a column: true for text, and the bytes. `None` for `NULL`.
pub(super) fn text_or_blob<'a>(row: &'a Row<'_>, column: usize) -> Result<Option<(bool, &'a [u8])>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Text(bytes) => Some((true, bytes)),
        ValueRef::Blob(bytes) => Some((false, bytes)),
        other => {
            let found = Value::try_from(other).map_or_else(|_| "NULL".into(), |v| format!("{v:?}"));
            return Err(Error::InvalidColumnType(column, found, other.data_type()));
        }
    })
}

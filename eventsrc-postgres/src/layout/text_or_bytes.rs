//! Encoded values in two columns: one for text, one for binary data.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::failure::Unreadable;

/// Encoded value. Text is stored in a text column, binary data in a bytea column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TextOrBytes<T = String, B = Vec<u8>> {
    Text(T),
    Binary(B),
}

impl TextOrBytes {
    /// Value of `bytes`, as text if `is_text` is true.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if the text is not UTF-8 or contains U+0000, which Postgres rejects.
    pub(crate) fn new(is_text: bool, bytes: Vec<u8>) -> Result<Self, Unreadable> {
        if !is_text {
            return Ok(Self::Binary(bytes));
        }
        check_text(&bytes)?;
        Ok(Self::Text(String::from_utf8(bytes)?))
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_binary(&self) -> Option<&[u8]> {
        if let Self::Binary(bytes) = self { Some(bytes) } else { None }
    }
}

/// Checks that Postgres can store `bytes` as text.
///
/// # Errors
///
/// [`Unreadable`] if the text is not UTF-8 or contains U+0000, which Postgres rejects.
pub(crate) fn check_text(bytes: &[u8]) -> Result<(), Unreadable> {
    if std::str::from_utf8(bytes)?.contains('\0') {
        return Err("it contains U+0000, which Postgres text cannot hold".into());
    }
    Ok(())
}

impl<T, B> TextOrBytes<T, B> {
    /// True for text.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

impl<'a, T: FromSql<'a>, B: FromSql<'a>> TextOrBytes<T, B> {
    /// Reads the two columns that start at `column`; `None` if both are NULL.
    pub(super) fn read(row: &'a Row, column: usize) -> Result<Option<Self>, Unreadable> {
        Ok(match (row.try_get(column)?, row.try_get(column + 1)?) {
            (None, None) => None,
            (Some(text), None) => Some(Self::Text(text)),
            (None, Some(bytes)) => Some(Self::Binary(bytes)),
            (Some(_), Some(_)) => return Err("it has both a text and a binary value".into()),
        })
    }
}

impl<T: AsRef<str>, B: AsRef<[u8]>> AsRef<[u8]> for TextOrBytes<T, B> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_ref().as_bytes(),
            Self::Binary(bytes) => bytes.as_ref(),
        }
    }
}

//! What can be read from the view.

use eventsrc_core::Timestamp;
use eventsrc_sqlite::rusqlite::types::{FromSqlError, Type};
use eventsrc_sqlite::rusqlite::{Connection, Error, Result, Row};

use crate::git_history::event::ObjectId;
use crate::git_history::path::FilePath;

/// How often a file was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// The file.
    pub path: FilePath,
    /// How many commits changed it; to take it away, and to bring it back, are changes.
    pub changes: u64,
    /// The last of them.
    pub last_commit: ObjectId,
    /// When its author made it.
    pub last_time: Timestamp,
    /// Whether it took the file away.
    pub deleted: bool,
}

/// What an author changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorRow {
    /// The author, as `name <address>`.
    pub author: String,
    /// How many changes the author made, each of one file.
    pub changes: u64,
    /// How many files the author changed at least once.
    pub files: u64,
    /// When the author made the first change.
    pub first: Timestamp,
    /// When the author made the last one.
    pub last: Timestamp,
}

/// The files that were changed most often, the first of them at most `top`; of equals, by what git calls them.
///
/// # Errors
///
/// What SQLite says.
pub fn churn(connection: &Connection, top: Option<u32>) -> Result<Vec<FileRow>> {
    connection
        .prepare_cached(
            "SELECT path, changes, last_commit, last_time, deleted FROM churn
             ORDER BY changes DESC, path LIMIT ?1",
        )?
        .query_map([limit(top)], |row| {
            Ok(FileRow {
                path: parsed(row, 0, FilePath::from_quoted)?,
                changes: number(row, 1)?,
                last_commit: parsed(row, 2, ObjectId::new)?,
                last_time: parsed(row, 3, time)?,
                deleted: row.get(4)?,
            })
        })?
        .collect()
}

/// The authors who made most changes, the first of them at most `top`; of equals, by name.
///
/// # Errors
///
/// What SQLite says.
pub fn authors(connection: &Connection, top: Option<u32>) -> Result<Vec<AuthorRow>> {
    connection
        .prepare_cached(
            "SELECT author, changes, files, first_time, last_time FROM authors
             ORDER BY changes DESC, author LIMIT ?1",
        )?
        .query_map([limit(top)], |row| {
            Ok(AuthorRow {
                author: row.get(0)?,
                changes: number(row, 1)?,
                files: number(row, 2)?,
                first: parsed(row, 3, time)?,
                last: parsed(row, 4, time)?,
            })
        })?
        .collect()
}

/// SQLite takes less than nothing for no limit.
fn limit(top: Option<u32>) -> i64 {
    top.map_or(-1, i64::from)
}

fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

fn parsed<T>(row: &Row<'_>, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
    let invalid = || Error::FromSqlConversionFailure(column, Type::Text, Box::new(FromSqlError::InvalidType));
    parse(row.get_ref(column)?.as_str()?).ok_or_else(invalid)
}

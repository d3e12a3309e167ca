//! The rows of the view, and the queries that read them.

use eventsrc_core::Timestamp;
use eventsrc_sqlite::rusqlite::types::{FromSqlError, Type};
use eventsrc_sqlite::rusqlite::{Connection, Error, Result, Row};

use crate::git_history::event::ObjectId;
use crate::git_history::path::FilePath;

/// Number of changes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// Path of the file.
    pub path: FilePath,
    /// Number of commits that changed the file. Deleting it and adding it again are changes.
    pub changes: u64,
    /// The last commit that changed it.
    pub last_commit: ObjectId,
    /// Author time of that commit.
    pub last_time: Timestamp,
    /// True if that commit deleted the file.
    pub deleted: bool,
}

/// Number of changes of one author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorRow {
    /// The author, as `name <address>`.
    pub author: String,
    /// Number of changes, each of one file in one commit.
    pub changes: u64,
    /// Number of files that the author changed at least once.
    pub files: u64,
    /// Author time of the first change.
    pub first: Timestamp,
    /// Author time of the last change.
    pub last: Timestamp,
}

/// Returns the files that were changed most often, at most `top`. Equal counts are ordered by path, as git prints it.
///
/// # Errors
///
/// The errors of SQLite, and rows that cannot be parsed.
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

/// Returns the authors with the most changes, at most `top`. Equal counts are ordered by name.
///
/// # Errors
///
/// The errors of SQLite, and rows that cannot be parsed.
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

/// Value of `LIMIT`. SQLite takes a negative number for no limit.
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

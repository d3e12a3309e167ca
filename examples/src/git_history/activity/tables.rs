//! The tables of the view, and the statements that change them.

use eventsrc_sqlite::rusqlite::{Connection, Result, params};

use super::changes::{AuthorChanges, Changes, FileChanges};

/// The public names of the tables.
pub(super) const NAMES: [&str; 3] = ["churn", "authors", "author_files"];

/// Creates the tables of a version.
pub(super) fn create(connection: &Connection, version: u32) -> Result<()> {
    connection.execute_batch(&format!(
        "CREATE TABLE churn_v{version} (
             path TEXT PRIMARY KEY,          -- as git prints it
             changes INTEGER NOT NULL,
             last_commit TEXT NOT NULL,
             last_time TEXT NOT NULL,
             deleted INTEGER NOT NULL        -- 1 if the last change deleted the file
         ) STRICT, WITHOUT ROWID;
         CREATE TABLE authors_v{version} (
             author TEXT PRIMARY KEY,        -- name <address>
             changes INTEGER NOT NULL,
             files INTEGER NOT NULL,
             first_ordinal INTEGER NOT NULL, -- numbers of commits, because times can run backwards
             first_time TEXT NOT NULL,
             last_ordinal INTEGER NOT NULL,
             last_time TEXT NOT NULL
         ) STRICT, WITHOUT ROWID;
         CREATE TABLE author_files_v{version} (
             author TEXT NOT NULL,
             path TEXT NOT NULL,
             changes INTEGER NOT NULL,
             PRIMARY KEY (author, path)
         ) STRICT, WITHOUT ROWID;"
    ))
}

/// Adds `changes` to the rows of a version.
pub(super) fn add(connection: &Connection, version: u32, changes: Changes<'_>) -> Result<()> {
    let mut add = connection.prepare_cached(&format!(
        "INSERT INTO churn_v{version} VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (path) DO UPDATE SET
             changes = changes + excluded.changes,
             last_commit = excluded.last_commit,
             last_time = excluded.last_time,
             deleted = excluded.deleted"
    ))?;
    for (path, FileChanges { count, last }) in changes.files {
        let by = last.origin();
        let (commit, time) = (by.commit.as_str(), by.time.to_string());
        add.execute(params![path.quoted(), count, commit, time, last.content().is_none()])?;
    }
    let mut insert = connection
        .prepare_cached(&format!("INSERT OR IGNORE INTO author_files_v{version} VALUES (?1, ?2, ?3)"))?;
    let mut increase = connection.prepare_cached(&format!(
        "UPDATE author_files_v{version} SET changes = changes + ?3 WHERE author = ?1 AND path = ?2"
    ))?;
    let mut add = connection.prepare_cached(&format!(
        "INSERT INTO authors_v{version} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (author) DO UPDATE SET
             changes = changes + excluded.changes,
             files = files + excluded.files,
             first_ordinal = min(first_ordinal, excluded.first_ordinal),
             first_time = iif(excluded.first_ordinal < first_ordinal, excluded.first_time, first_time),
             last_ordinal = max(last_ordinal, excluded.last_ordinal),
             last_time = iif(excluded.last_ordinal > last_ordinal, excluded.last_time, last_time)"
    ))?;
    for (author, AuthorChanges { files, first, last }) in changes.authors {
        let (mut count, mut new_files) = (0, 0);
        for (path, changes) in files {
            let row = params![author, path.quoted(), changes];
            match insert.execute(row)? {
                0 => drop(increase.execute(row)?),
                _ => new_files += 1,
            }
            count += changes;
        }
        let (from, to) = (first.ordinal.cast_signed(), last.ordinal.cast_signed());
        let (first, last) = (first.time.to_string(), last.time.to_string());
        add.execute(params![author, count, new_files, from, first, to, last])?;
    }
    Ok(())
}

//! Signs that the pages of a file belong together.

use rusqlite::{Connection, OptionalExtension, Result};

/// Number of pages of the file, and the size of a page in bytes.
pub(crate) fn pages(connection: &Connection) -> Result<(u64, u64)> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).map(u64::from);
    Ok((pragma("page_count")?, pragma("page_size")?))
}

/// Number of commits that are looked at.
const SAMPLES: i64 = 32;

/// True if the first commit of the file, the last one and some between them are found in the indices as well. A file next to
/// the log of another one consists of pages of both.
pub(crate) fn samples_fit(connection: &Connection) -> Result<bool> {
    let (first, last): (i64, i64) = connection.query_row(
        "SELECT coalesce(min(position), 0), coalesce(max(position), 0) FROM commits",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut sample = connection.prepare(
        "SELECT position IS (SELECT position FROM commits AS own INDEXED BY sqlite_autoindex_commits_1
                             WHERE own.stream = commits.stream AND own.number = commits.number)
         AND stream IS (SELECT stream FROM streams AS named INDEXED BY sqlite_autoindex_streams_1
                        WHERE (category, id) = (SELECT category, id FROM streams
                                                WHERE streams.stream = commits.stream))
         FROM commits WHERE position >= ?1 ORDER BY position LIMIT 1",
    )?;
    let step = last.saturating_sub(first) / (SAMPLES - 1);
    for position in (0..SAMPLES - 1).map(|number| first + number * step).chain([last]) {
        if sample.query_row([position], |row| row.get(0)).optional()? == Some(false) {
            return Ok(false);
        }
    }
    Ok(true)
}

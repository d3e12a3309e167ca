//! Put-if-absent, in a transaction that holds the file's write lock.

use eventsrc_core::StreamName;
use quick_cache::unsync::Cache;
use rusqlite::{Connection, Result};

use crate::layout::{self, CommitRow, HeadRow};

/// Outcome of putting a commit.
#[derive(Debug)]
pub(crate) enum Appended {
    /// This transaction stores the commit, if it commits. `after` is the head of the stream before the commit.
    Stored { after: Option<HeadRow> },
    /// The same commit was put before. This is its stored row.
    Repeated(CommitRow),
    /// Another commit holds the sequence. The stream ends at `head`.
    Conflict { existing: Option<CommitRow>, head: HeadRow },
    /// The commit would leave a hole after `head`.
    Hole { head: HeadRow },
}

/// Cache of the row ids of streams. No stream is ever removed, so only a rolled back transaction invalidates it.
pub(crate) type Streams = Cache<StreamName, i64>;

/// Appends `commit` to the stream `name`, if its sequence is free.
///
/// The write lock ensures that the state that this function reads does not change before the transaction ends.
pub(crate) fn append(
    connection: &Connection,
    streams: &mut Streams,
    name: &StreamName,
    commit: &CommitRow,
) -> Result<Appended> {
    let stream = stream_id(connection, streams, name)?;
    let after = layout::head(connection, stream)?;
    if let Some(head) = after {
        if commit.number <= head.number {
            let existing = layout::last_commit_up_to(connection, stream, commit.number)?
                .filter(|existing| commit.number <= existing.last());
            return Ok(match existing {
                Some(existing) if is_same(&existing, commit) => Appended::Repeated(existing),
                existing => Appended::Conflict { existing, head },
            });
        }
        if commit.number - 1 > head.number {
            return Ok(Appended::Hole { head });
        }
    }
    layout::append(connection, stream, commit)?;
    Ok(Appended::Stored { after })
}

/// Row id of a stream, which is created if it does not exist.
fn stream_id(connection: &Connection, streams: &mut Streams, name: &StreamName) -> Result<i64> {
    if let Some(stream) = streams.get(name) {
        return Ok(*stream);
    }
    let stream = match layout::stream(connection, name)? {
        Some(stream) => stream,
        None => layout::create_stream(connection, name)?,
    };
    streams.insert(name.clone(), stream);
    Ok(stream)
}

/// True if both have the same commit id at the same sequence, so that one repeats the put of the other.
fn is_same(a: &CommitRow, b: &CommitRow) -> bool {
    (a.number, a.zone, a.commit_id) == (b.number, b.zone, b.commit_id)
}

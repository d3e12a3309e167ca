//! Put-if-absent, inside a transaction that holds the file's write lock.

use eventsrc_core::StreamName;
use quick_cache::unsync::Cache;
use rusqlite::{Connection, Result};

use crate::layout::{self, CommitRow, HeadRow};

/// What putting a commit came to.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is stored by this transaction, if that one commits, right after the head that is named.
    Stored { after: Option<HeadRow> },
    /// It was stored before.
    Repeated(CommitRow),
    /// Another commit is in the way, and the stream ends at `head`.
    Conflict { existing: Option<CommitRow>, head: HeadRow },
    /// There would be a hole after `head`.
    Hole { head: HeadRow },
}

/// The streams of which the number in the file is remembered. Nothing removes a stream, so only a transaction that is
/// rolled back can make it wrong.
pub(crate) type Streams = Cache<StreamName, i64>;

/// Appends `commit` to the stream `name`, if nothing is there.
///
/// The write lock is what makes the answer true: whatever is read here cannot change before the transaction ends.
pub(crate) fn append(
    connection: &Connection,
    streams: &mut Streams,
    name: &StreamName,
    commit: &CommitRow,
) -> Result<Appended> {
    let stream = known_stream(connection, streams, name)?;
    let after = layout::head(connection, stream)?;
    if let Some(head) = after {
        if commit.number <= head.number {
            let existing = layout::commit_up_to(connection, stream, commit.number)?
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

fn known_stream(connection: &Connection, streams: &mut Streams, name: &StreamName) -> Result<i64> {
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

/// The same id at the same place: a put that meets itself.
fn is_same(a: &CommitRow, b: &CommitRow) -> bool {
    (a.number, a.zone, a.commit_id) == (b.number, b.zone, b.commit_id)
}

//! Put-if-absent, in a transaction that holds the file's write lock.

use eventsrc_core::backend::{EncodedCommit, EncodedHead};
use eventsrc_core::{StorageError, StreamName};
use rusqlite::{Connection, Result};

use crate::layout;
use crate::streams::Streams;

/// Commit to append.
pub(crate) struct NewCommit {
    pub(crate) name: StreamName,
    pub(crate) commit: EncodedCommit<'static>,
    /// Checks that the commit follows this head of its stream.
    pub(crate) check: Check,
}

/// Check of a commit against the head of its stream, which is before the commit.
pub(crate) type Check = Box<dyn Fn(Option<EncodedHead>) -> Result<(), StorageError> + Send>;

/// Outcome of putting a commit.
#[derive(Debug)]
pub(crate) enum Appended {
    /// This transaction stores the commit, if it commits. `after` is the head of the stream before the commit.
    Stored { after: Option<EncodedHead> },
    /// The same commit was put before and is stored.
    Repeated(EncodedCommit<'static>),
    /// Another commit holds the sequence. The stream ends at `head`.
    Conflict { existing: Option<EncodedCommit<'static>>, head: EncodedHead },
    /// The commit does not follow the end of its stream. Nothing was changed.
    Refused(StorageError),
}

/// Appends a commit to its stream, if it directly follows the end of the stream.
///
/// The write lock ensures that the state that this function reads does not change before the transaction ends.
pub(crate) fn append(connection: &Connection, streams: &mut Streams, new: &NewCommit) -> Result<Appended> {
    let NewCommit { name, commit, check } = new;
    let stream = streams.find(connection, name)?;
    let after = stream.map(|stream| layout::head(connection, stream)).transpose()?.flatten();
    if let Some((stream, head)) = stream.zip(after).filter(|(_, head)| commit.number <= head.number) {
        let existing = layout::last_commit_up_to(connection, stream, commit.number)?
            .filter(|existing| commit.number <= existing.last());
        return Ok(match existing {
            Some(existing) if existing.is(commit) => Appended::Repeated(existing),
            existing => Appended::Conflict { existing, head },
        });
    }
    if let Err(error) = check(after) {
        return Ok(Appended::Refused(error));
    }
    // A refused commit does not create its stream.
    let stream = stream.map_or_else(|| streams.create(connection, name), Ok)?;
    layout::append(connection, stream, commit)?;
    Ok(Appended::Stored { after })
}

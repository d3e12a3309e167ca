//! The check that the commit before a put is stored.

use eventsrc_core::backend::check_follows;
use eventsrc_core::{Commit, ErrorKind, Sequence, StorageError, StreamKey};

use crate::commits::unreadable;
use crate::dynamo::Dynamo;
use crate::item::Item;
use crate::{layout, reading};

/// Checks that the commit before `commit`, on the stream with this name, is stored. Returns `None` if it is, and the item of
/// the conflicting commit if another commit is known to hold the sequence.
///
/// The condition of a put cannot see another item, so the check is a request of its own, unless this handle has seen the
/// commit lately. No race can come between check and put: commits are never removed, so that one that was there stays there.
/// If another commit has taken the sequence meanwhile, the condition of the put fails.
///
/// # Errors
///
/// `Diverged` if the commit before it is missing or has another id. With every error, nothing is stored.
pub(crate) async fn check<K: StreamKey, S: Sequence, E>(
    dynamo: &Dynamo,
    stream: &str,
    commit: &Commit<K, S, E>,
) -> Result<Option<Item>, StorageError> {
    let (key, number) = (&commit.key, commit.first.number());
    let about = |error: StorageError| error.on(key).at(commit.first);
    if number == 1 || is_known(dynamo, stream, commit) {
        return Ok(None);
    }
    let Some(last) = reading::head_up_to(dynamo, stream, number - 1).await.map_err(about)? else {
        return check_follows(commit, None).map(|()| None);
    };
    dynamo.note_item(stream, &last);
    let first = layout::number(&last).unwrap_or_default();
    let head = layout::head(&last).map_err(|error| unreadable(key, first, error))?;
    if head.number >= number {
        return existing(dynamo, stream, first).await.map(Some).map_err(about);
    }
    match check_follows(commit, Some(&head.decode(key)?)) {
        Ok(()) => Ok(None),
        // A put at a sequence that another commit holds is a conflict, whatever its writer knows.
        Err(diverged) if head.number + 1 == number => {
            let existing = reading::commit(dynamo, stream, number).await.map_err(about)?;
            existing.map(Some).ok_or(diverged)
        }
        // The read would have found a commit between the two: the stream ends here.
        Err(diverged) => Err(diverged),
    }
}

/// True if no read is needed, because this handle has lately seen the commit before `commit`, or one that begins at the same
/// sequence, with which the put conflicts.
fn is_known<K, S: Sequence, E>(dynamo: &Dynamo, stream: &str, commit: &Commit<K, S, E>) -> bool {
    let number = commit.first.number();
    dynamo.seen_lately(stream).is_some_and(|seen| {
        let is_previous = commit.previous.is_none_or(|previous| previous.0 == seen.commit_id);
        seen.first == number || (seen.last == number - 1 && is_previous)
    })
}

/// Reads the commit that begins at `number`, which is known to exist.
pub(crate) async fn existing(dynamo: &Dynamo, stream: &str, number: u64) -> Result<Item, StorageError> {
    reading::commit(dynamo, stream, number).await?.ok_or_else(|| {
        let what = "the conflicting commit was removed from the table; no program may remove commits";
        StorageError::new(ErrorKind::Corrupt, what)
    })
}

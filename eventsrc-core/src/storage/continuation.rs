//! Reading on from a head that the reader remembers.

use async_stream::try_stream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::contract::{EventStorage, PageOf};
use super::error::{Diverged, StorageError};
use crate::commit::Head;

/// Reads the events after `head`, the end of a commit that the caller has read (`None`: all events).
///
/// It reads the last event of that commit again, in the same request, and fails with kind `Diverged` if the stream does
/// not have that commit there: the storage was restored from a backup, or lost its tail. A head without a commit id is not
/// compared.
pub(crate) fn events_after_head<'a, St: EventStorage>(
    storage: &'a St,
    key: &St::Key,
    head: Option<Head<St::Sequence>>,
) -> BoxStream<'a, Result<PageOf<St>, StorageError>> {
    let Some(head @ Head { sequence, commit_id: Some(_), .. }) = head else {
        return storage.events_after(key, head.map(|head| head.sequence));
    };
    let key = key.clone();
    try_stream! {
        let mut pages = storage.events(&key, Some(sequence));
        match pages.try_next().await {
            Ok(Some(page)) => {
                let found = page.first_event_head();
                if found.is_none_or(|found| found.sequence != sequence || found.commit_id != head.commit_id) {
                    Err(Diverged::error(&key, (sequence, head.commit_id), found.as_ref()))?;
                }
                let rest = page.without_first_event();
                if !rest.is_empty() {
                    yield rest;
                }
            }
            Ok(None) => {
                let stored = storage.latest(&key).await?;
                Err(Diverged::error(&key, (sequence, head.commit_id), stored.as_ref()))?;
            }
            // The remembered event cannot be read, which is no reason not to read those after it.
            Err(error) if error.kind().is_unreadable()
                && error.sequence() == Some(&*sequence.to_string()) =>
            {
                pages = storage.events_after(&key, Some(sequence));
            }
            Err(error) => Err(error)?,
        }
        while let Some(page) = pages.try_next().await? {
            yield page;
        }
    }
    .boxed()
}

//! A feed that polls some streams.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use futures::StreamExt;
use futures::stream::{self, Stream};

use super::contract::{Change, ChangeFeed, Delivery};
use super::reading::{ChangesOf, Reading, changes};
use crate::clock::Clock;
use crate::storage::{ErrorKind, EventStorage, StorageError};
use crate::stream::Sequence;
use crate::token::Token;

/// Polls some streams of a storage and delivers new commits, page by page. For a storage without a change feed.
///
/// The feed never ends, unless it has no streams. An unreadable event does not end it: a hint names the stream,
/// and the feed continues with the commits that are stored after that.
///
/// - **Repeated:** nothing.
/// - **Lost:** a delivery that is dropped.
/// - **Reordered:** nothing within a stream. The order of streams is arbitrary.
pub struct PollFeed<St: EventStorage>(Reading<St>);

/// Settings of a [`PollFeed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollSettings {
    /// Wait after a round that found new commits. Default: 20 ms.
    pub shortest_wait: Duration,
    /// Longest wait between two rounds: each round without new commits doubles the wait up to this. Default: 2 s.
    pub longest_wait: Duration,
    /// Number of streams read in parallel, at least 1. This many pages are held in memory. Default: 8.
    pub at_once: usize,
}

impl Default for PollSettings {
    fn default() -> Self {
        Self { shortest_wait: Duration::from_millis(20), longest_wait: Duration::from_secs(2), at_once: 8 }
    }
}

impl<St: EventStorage> PollFeed<St> {
    /// Creates a feed of `streams` in `storage`. Each begins after its sequence in `after`, or at its first event if
    /// `after` does not name it.
    pub fn new(
        storage: St,
        streams: impl IntoIterator<Item = St::Key>,
        after: &Token,
        settings: PollSettings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let cursor = |key| StreamCursor { after: after.sequence(&key), ends_commit: after.is_trusted(), key };
        let cursors = streams.into_iter().map(cursor).collect();
        Self(Reading::new(rounds(Arc::new(storage), cursors, settings, clock)))
    }
}

impl<St: EventStorage> ChangeFeed for PollFeed<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn next(&mut self) -> Result<Option<Delivery<St::Key, St::Sequence, St::Payload>>, StorageError> {
        self.0.next().await
    }
}

impl<St: EventStorage> fmt::Debug for PollFeed<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollFeed").finish_non_exhaustive()
    }
}

/// Base of the doubled wait if the previous wait was zero.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// A stream, and the sequence up to which it was delivered.
#[derive(Clone)]
struct StreamCursor<K, S> {
    key: K,
    after: Option<S>,
    /// True if `after` is known to be the end of a commit, and not a sequence inside one.
    ends_commit: bool,
}

/// Reads all streams, round after round, with waits in between.
fn rounds<St: EventStorage>(
    storage: Arc<St>,
    mut cursors: Vec<StreamCursor<St::Key, St::Sequence>>,
    settings: PollSettings,
    clock: Arc<dyn Clock>,
) -> impl Stream<Item = Result<ChangesOf<St>, StorageError>> + Send {
    stream! {
        let mut wait = settings.shortest_wait;
        while !cursors.is_empty() {
            let (mut found, mut unavailable) = (false, None);
            let reads = cursors.clone().into_iter().enumerate().map(|(index, cursor)| {
                read(Arc::clone(&storage), cursor).map(move |read| (index, read)).boxed()
            });
            let mut reads = stream::iter(reads).flatten_unordered(settings.at_once.max(1));
            while let Some((index, read)) = reads.next().await {
                match read {
                    Ok((changes, end)) => {
                        cursors[index].after = Some(end);
                        cursors[index].ends_commit = true;
                        found = true;
                        yield Ok(changes);
                    }
                    // Other streams may be readable. One such error is reported for each round.
                    Err(error) if error.kind() == ErrorKind::Unavailable => unavailable = Some(error),
                    Err(error) => yield Err(error),
                }
            }
            if let Some(error) = unavailable {
                yield Err(error);
            }
            wait = if found {
                settings.shortest_wait
            } else {
                wait.max(MIN_WAIT).saturating_mul(2).min(settings.longest_wait).max(settings.shortest_wait)
            };
            clock.sleep(wait).await;
        }
    }
}

/// Reads the changes of a stream after `cursor`, each page with the sequence that it ends at.
fn read<St: EventStorage>(
    storage: Arc<St>,
    cursor: StreamCursor<St::Key, St::Sequence>,
) -> impl Stream<Item = Result<(ChangesOf<St>, St::Sequence), StorageError>> + Send {
    stream! {
        let StreamCursor { key, mut after, ends_commit } = cursor;
        let mut pages = match after.map(Sequence::least_greater) {
            Some(None) => return,
            Some(Some(from)) if !ends_commit => storage.events(&key, Some(from)),
            _ => storage.events_after(&key, after),
        };
        let unreadable = loop {
            match pages.next().await {
                Some(Ok(page)) => {
                    if let Some(head) = page.head() {
                        after = Some(head.sequence);
                        yield Ok((changes(&page), head.sequence));
                    }
                }
                Some(Err(error)) if error.kind().is_unreadable() => break error,
                Some(Err(error)) => {
                    yield Err(error);
                    return;
                }
                None => return,
            }
        };
        match storage.latest(&key).await {
            Ok(Some(head)) if Some(head.sequence) > after => {
                yield Ok((vec![Change::Stream(key)], head.sequence));
            }
            Ok(_) => yield Err(unreadable),
            Err(error) => yield Err(error),
        }
    }
}

//! The feed of some streams that are asked for again and again.

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

/// Reads some streams again and again, each time what is new, page by page: for a storage that tells nobody.
///
/// It never ends, unless there are no streams. An event that cannot be read does not end it: its stream is named, and what is
/// stored after that is handed over again.
///
/// - **Repeated:** nothing.
/// - **Lost:** a delivery that is dropped.
/// - **Reordered:** nothing within a stream. Streams come in any order.
pub struct PollFeed<St: EventStorage>(Reading<St>);

/// How often a [`PollFeed`] asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollSettings {
    /// The wait after a round that found something.
    pub shortest_wait: Duration,
    /// The longest wait: each round that finds nothing doubles it up to here.
    pub longest_wait: Duration,
    /// How many streams are read side by side, at least 1; so many pages are held in memory.
    pub at_once: usize,
}

/// From 20 ms to 2 seconds, 8 streams at once.
impl Default for PollSettings {
    fn default() -> Self {
        Self { shortest_wait: Duration::from_millis(20), longest_wait: Duration::from_secs(2), at_once: 8 }
    }
}

impl<St: EventStorage> PollFeed<St> {
    /// What `storage` has of `streams` after the sequences that `after` names; all of a stream that it does not name.
    pub fn new(
        storage: St,
        streams: impl IntoIterator<Item = St::Key>,
        after: &Token,
        settings: PollSettings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let place = |key| StreamCursor { after: after.sequence(&key), ends_commit: after.is_trusted(), key };
        let places = streams.into_iter().map(place).collect();
        Self(Reading::new(rounds(Arc::new(storage), places, settings, clock)))
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

/// What a wait of nothing is doubled from.
const LEAST: Duration = Duration::from_millis(1);

/// A stream, and how far it was handed over.
#[derive(Clone)]
struct StreamCursor<K, S> {
    key: K,
    after: Option<S>,
    /// Whether that is known to be the end of a commit, and not a place inside one.
    ends_commit: bool,
}

fn rounds<St: EventStorage>(
    storage: Arc<St>,
    mut places: Vec<StreamCursor<St::Key, St::Sequence>>,
    settings: PollSettings,
    clock: Arc<dyn Clock>,
) -> impl Stream<Item = Result<ChangesOf<St>, StorageError>> + Send {
    stream! {
        let mut wait = settings.shortest_wait;
        while !places.is_empty() {
            let (mut news, mut out_of_reach) = (false, None);
            let reads = places.clone().into_iter().enumerate().map(|(index, place)| {
                read(Arc::clone(&storage), place).map(move |read| (index, read)).boxed()
            });
            let mut reads = stream::iter(reads).flatten_unordered(settings.at_once.max(1));
            while let Some((index, read)) = reads.next().await {
                match read {
                    Ok((changes, end)) => {
                        places[index].after = Some(end);
                        places[index].ends_commit = true;
                        news = true;
                        yield Ok(changes);
                    }
                    // The others may be in reach, and one such error a round is enough.
                    Err(error) if error.kind() == ErrorKind::Unavailable => out_of_reach = Some(error),
                    Err(error) => yield Err(error),
                }
            }
            if let Some(error) = out_of_reach {
                yield Err(error);
            }
            wait = if news {
                settings.shortest_wait
            } else {
                wait.max(LEAST).saturating_mul(2).min(settings.longest_wait).max(settings.shortest_wait)
            };
            clock.sleep(wait).await;
        }
    }
}

/// What the stream has after `place`, each time with its last sequence.
fn read<St: EventStorage>(
    storage: Arc<St>,
    place: StreamCursor<St::Key, St::Sequence>,
) -> impl Stream<Item = Result<(ChangesOf<St>, St::Sequence), StorageError>> + Send {
    stream! {
        let StreamCursor { key, mut after, ends_commit } = place;
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
                Some(Err(error)) if error.kind() == ErrorKind::Corrupt => break error,
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

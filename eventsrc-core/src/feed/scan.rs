//! A feed of everything that a storage holds.

use std::fmt;
use std::sync::Arc;

use async_stream::stream;
use futures::StreamExt;
use futures::stream::{self, Stream};

use super::contract::{Change, ChangeFeed, Delivery};
use super::reading::{ChangesOf, Reading, changes};
use crate::storage::{ScanStorage, Segment, StorageError};

/// Delivers all commits that a storage holds, page by page, and then ends. For a new view, or one that is far behind.
///
/// Everything that is stored before the first call of `next` is delivered. An unreadable event does not end the feed:
/// instead of further commits of its segment, the feed delivers hints that name all streams of the segment. Reading
/// these streams finds the event.
///
/// - **Repeated:** a segment that met an error of kind `Unavailable`; the next call of `next` reads it again from its
///   start.
/// - **Lost:** a delivery that is dropped, and everything after an error of any other kind, which ends the feed.
/// - **Reordered:** nothing within a stream. The order of streams is arbitrary.
pub struct ScanFeed<St: ScanStorage>(Reading<St>);

impl<St: ScanStorage> ScanFeed<St> {
    /// Creates a feed of all of `storage`, read in `segments` segments, `at_once` of them in parallel. Of both, 0
    /// counts as 1. At most `at_once` pages are held in memory.
    pub fn new(storage: St, segments: u32, at_once: usize) -> Self {
        let storage = Arc::new(storage);
        let read = move |segment| read(Arc::clone(&storage), segment).boxed();
        let segments: Vec<_> = Segment::split(segments).collect();
        Self(Reading::new(stream::iter(segments).map(read).flatten_unordered(at_once.max(1))))
    }
}

impl<St: ScanStorage> ChangeFeed for ScanFeed<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn next(&mut self) -> Result<Option<Delivery<St::Key, St::Sequence, St::Payload>>, StorageError> {
        self.0.next().await
    }
}

impl<St: ScanStorage> fmt::Debug for ScanFeed<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanFeed").finish_non_exhaustive()
    }
}

/// Reads the changes of one segment.
fn read<St: ScanStorage>(
    storage: Arc<St>,
    segment: Segment,
) -> impl Stream<Item = Result<ChangesOf<St>, StorageError>> + Send {
    stream! {
        let mut pages = storage.scan(segment);
        loop {
            match pages.next().await {
                Some(Ok(page)) if page.is_empty() => {}
                Some(Ok(page)) => yield Ok(changes(&page)),
                Some(Err(error)) if error.kind().is_unreadable() => break,
                Some(Err(error)) => {
                    yield Err(error);
                    pages = storage.scan(segment);
                }
                None => return,
            }
        }
        let mut heads = storage.heads(segment);
        loop {
            match heads.next().await {
                Some(Ok(heads)) if heads.is_empty() => {}
                Some(Ok(heads)) => yield Ok(heads.into_iter().map(|(key, _)| Change::Stream(key)).collect()),
                Some(Err(error)) => {
                    yield Err(error);
                    heads = storage.heads(segment);
                }
                None => return,
            }
        }
    }
}

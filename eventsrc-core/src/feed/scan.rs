//! The feed of all that a storage has.

use std::fmt;
use std::sync::Arc;

use async_stream::stream;
use futures::StreamExt;
use futures::stream::{self, Stream};

use super::contract::{Change, ChangeFeed, Delivery};
use super::reading::{ChangesOf, Reading, changes};
use crate::storage::{ErrorKind, ScanStorage, Segment, StorageError};

/// Hands over all that a storage has, page by page, and ends: for a view that begins, or that has missed too much.
///
/// All that is stored when it is first asked is handed over. An event that cannot be read does not end it: of that segment,
/// it names the streams from there on, and whoever reads them finds the one that has the event.
///
/// - **Repeated:** a segment that met an error of kind `Unavailable`; it begins anew when `next` is called again.
/// - **Lost:** a delivery that is dropped, and what lies beyond an error of another kind, which ends the feed.
/// - **Reordered:** nothing within a stream. Streams come in any order.
pub struct ScanFeed<St: ScanStorage>(Reading<St>);

impl<St: ScanStorage> ScanFeed<St> {
    /// All of `storage`, read in `segments` segments (0 counts as 1), of which `at_once` (0 counts as 1) are read side by side;
    /// so many pages are held in memory.
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

/// What a segment has.
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
                Some(Err(error)) if error.kind() == ErrorKind::Corrupt => break,
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

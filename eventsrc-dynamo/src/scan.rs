//! All streams of a table, for replay and for repair.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use async_stream::try_stream;
use eventsrc_core::codec::Codec;
use eventsrc_core::commit::Payload;
use eventsrc_core::storage::{HeadsOf, Page, PageOf, ScanStorage, Segment};
use eventsrc_core::{Commit, ErrorKind, Head, Sequence, StorageError, StreamKey, StreamName};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::chunk::Chunk;
use crate::commits;
use crate::item::Item;
use crate::layout::{self, HeadItem};
use crate::reading::{self, Items};
use crate::storage::DynamoStorage;

/// Where a scan of a segment may go on: after a commit. It is written `number:category/id`.
///
/// It belongs to the segment that it came from, of as many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanCursor {
    stream: StreamName,
    number: u64,
}

impl fmt::Display for ScanCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.stream)
    }
}

/// A text that is no [`ScanCursor`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place in a scan: one is written `number:category/id`")]
pub struct InvalidScanCursor(String);

impl FromStr for ScanCursor {
    type Err = InvalidScanCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':').and_then(|(number, stream)| {
            Some(Self { number: number.parse().ok()?, stream: stream.parse().ok()? })
        });
        parts.ok_or_else(|| InvalidScanCursor(text.to_owned()))
    }
}

impl<K, S, E, C> DynamoStorage<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    C: Codec<E>,
{
    /// The commits of all streams of `segment`, page by page, each with the place after it; going on after `after`, if that is
    /// given: an earlier scan of the same segment, which came so far, need not be repeated.
    pub fn scan_after(
        &self,
        segment: Segment,
        after: Option<ScanCursor>,
    ) -> BoxStream<'_, Result<(PageOf<Self>, Option<ScanCursor>), StorageError>> {
        try_stream! {
            let mut after = after.map(|ScanCursor { stream, number }| layout::key(stream.into(), number));
            loop {
                let Items { items, more } =
                    reading::segment_page(&self.dynamo, segment, false, after).await?;
                let mut items = items.into_iter();
                while items.len() > 0 {
                    let chunk = Chunk::take(&mut items, key_of, &*self.codec);
                    if let Some(last) = chunk.commits.last() {
                        let place = if items.len() > 0 {
                            Some(place_of(last)?)
                        } else {
                            more.as_ref().map(place).transpose()?
                        };
                        yield (Page::new(chunk.commits), place);
                    }
                    if let Some(failure) = chunk.failure {
                        Err(failure)?;
                    }
                }
                if more.is_none() {
                    return;
                }
                after = more;
            }
        }
        .boxed()
    }
}

impl<K, S, E, C> ScanStorage for DynamoStorage<K, S, E, C>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    C: Codec<E>,
{
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.scan_after(segment, None).map_ok(|(page, _)| page).boxed()
    }

    /// Reads the table without payloads, and of a stream that fills a page no more than its last commit. The service charges for
    /// whole items: many short streams cost as much as a scan.
    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        try_stream! {
            let mut after = None;
            // The stream that the last item is of, and the last stream that is done with.
            let (mut open, mut done) = (None::<Item>, None::<String>);
            let mut heads = HeadsOf::<Self>::new();
            loop {
                let Items { items, more } = reading::segment_page(&self.dynamo, segment, true, after).await?;
                let first = items.first().map(stream).transpose()?.map(str::to_owned);
                for item in items {
                    if heads.len() >= HEADS_PER_PAGE {
                        yield std::mem::take(&mut heads);
                    }
                    // It grew after its end was read.
                    if Some(stream(&item)?) == done.as_deref() {
                        continue;
                    }
                    if let Some(ended) = open.take_if(|open| layout::stream(open) != layout::stream(&item)) {
                        heads.extend(head(&ended)?);
                    }
                    open = Some(item);
                }
                after = more;
                let goes_on = open.as_ref().map(stream).transpose()?;
                if let Some(name) = goes_on.filter(|name| after.is_none() || Some(*name) == first.as_deref()) {
                    // Of a long stream only the end is read; and where the segment ends, so does the stream.
                    done = Some(name.to_owned());
                    let mut ended = open.take();
                    if let (Some(_), Some(name)) = (&after, &done) {
                        ended = reading::last(&self.dynamo, name).await?.or(ended);
                        after = ended.as_ref().map(layout::key_of);
                    }
                    if let Some(ended) = &ended {
                        heads.extend(head(ended)?);
                    }
                }
                if !heads.is_empty() {
                    yield std::mem::take(&mut heads);
                }
                if after.is_none() {
                    return;
                }
            }
        }
        .boxed()
    }
}

/// How many streams a page of heads has at most.
const HEADS_PER_PAGE: usize = 500;

/// The head of the stream whose last commit is `item`; `None` if it is another storage's.
fn head<K: StreamKey, S: Sequence>(item: &Item) -> Result<Option<(K, Head<S>)>, StorageError> {
    let Some(key) = key_of::<K>(stream(item)?) else { return Ok(None) };
    let number = layout::number(item).unwrap_or_default();
    let head = HeadItem::from_item(item).map_err(|why| commits::unreadable(&key, number, why))?;
    let head = commits::head(&key, &head)?;
    Ok(Some((key, head)))
}

fn stream(item: &Item) -> Result<&str, StorageError> {
    layout::stream(item).map_err(no_commit)
}

fn place(item: &Item) -> Result<ScanCursor, StorageError> {
    let number = layout::number(item).map_err(no_commit)?;
    let stream = stream(item)?.parse().map_err(no_commit)?;
    Ok(ScanCursor { stream, number })
}

fn place_of<K: StreamKey, S: Sequence, E>(commit: &Commit<K, S, E>) -> Result<ScanCursor, StorageError> {
    let stream = StreamName::of(&commit.key).map_err(no_commit)?;
    Ok(ScanCursor { stream, number: commit.first.number() })
}

fn no_commit(why: impl Into<Box<dyn Error + Send + Sync>>) -> StorageError {
    StorageError::new(ErrorKind::Corrupt, "the table holds an item that is no commit").because(why)
}

pub(crate) fn key_of<K: StreamKey>(stream: &str) -> Option<K> {
    let (category, id) = stream.split_once('/')?;
    K::from_parts(category, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_from_its_text() {
        let place = ScanCursor { stream: "user/a:b/c".parse().unwrap(), number: 7 };
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "7", "user/1", "x:user/1", "7:user"] {
            assert!(text.parse::<ScanCursor>().is_err(), "{text:?}");
        }
    }
}

//! Scans of all streams of a table, for rebuilds and sweeps.

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
use crate::layout;
use crate::reading::{self, ItemPage};
use crate::storage::DynamoStorage;

/// Position in the scan of a segment, after a commit. Its text form is `number:category/id`.
///
/// A cursor is only valid for the segment from which it came, with the same total number of segments.
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

/// Error of a text that is not a [`ScanCursor`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scan cursor: the form is `number:category/id`")]
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
    /// Scans the commits of all streams in `segment`. Each page has the cursor after it, or `None` if it is the last page.
    ///
    /// The scan begins after the cursor `after`, so that an interrupted scan of the same segment continues.
    pub fn scan_after(
        &self,
        segment: Segment,
        after: Option<ScanCursor>,
    ) -> BoxStream<'_, Result<(PageOf<Self>, Option<ScanCursor>), StorageError>> {
        try_stream! {
            let mut after = after.map(|ScanCursor { stream, number }| layout::key(stream.into(), number));
            loop {
                let ItemPage { items, more } =
                    reading::segment_page(&self.dynamo, segment, false, after).await?;
                let mut items = items.into_iter();
                while items.len() > 0 {
                    let chunk = Chunk::decode_next(&mut items, key_of, &*self.codec);
                    if let Some(last) = chunk.commits.last() {
                        let cursor = if items.len() > 0 {
                            Some(cursor_after(last)?)
                        } else {
                            more.as_ref().map(cursor_at).transpose()?
                        };
                        yield (Page::new(chunk.commits), cursor);
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

    /// Reads the table without payloads. If a stream fills a whole page, the scan continues at its last commit. The service
    /// charges for whole items, so that the heads of many short streams cost as much as a scan.
    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        try_stream! {
            let mut after = None;
            // The last item of the stream that may continue, and the name of the stream that a query read to its end.
            let (mut open, mut done) = (None::<Item>, None::<String>);
            let mut heads = HeadsOf::<Self>::new();
            loop {
                let ItemPage { items, more } = reading::segment_page(&self.dynamo, segment, true, after).await?;
                let first = items.first().map(stream).transpose()?.map(str::to_owned);
                for item in items {
                    if heads.len() >= HEADS_PER_PAGE {
                        yield std::mem::take(&mut heads);
                    }
                    // The stream grew after its head was read.
                    if Some(stream(&item)?) == done.as_deref() {
                        continue;
                    }
                    if let Some(ended) = open.take_if(|open| layout::stream(open) != layout::stream(&item)) {
                        heads.extend(head(&ended)?);
                    }
                    open = Some(item);
                }
                after = more;
                let open_name = open.as_ref().map(stream).transpose()?;
                if let Some(name) = open_name.filter(|name| after.is_none() || Some(*name) == first.as_deref()) {
                    // Either the stream fills the page, and a query reads its last commit; or the segment ends here.
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

/// Maximum number of streams in a page of heads.
const HEADS_PER_PAGE: usize = 500;

/// Decodes the head of the stream whose last commit is `item`. Returns `None` if the stream belongs to another storage.
fn head<K: StreamKey, S: Sequence>(item: &Item) -> Result<Option<(K, Head<S>)>, StorageError> {
    let Some(key) = key_of::<K>(stream(item)?) else { return Ok(None) };
    let number = layout::number(item).unwrap_or_default();
    let head = layout::head(item).map_err(|error| commits::unreadable(&key, number, error))?;
    let head = head.decode(&key)?;
    Ok(Some((key, head)))
}

fn stream(item: &Item) -> Result<&str, StorageError> {
    layout::stream(item).map_err(not_a_commit)
}

fn cursor_at(item: &Item) -> Result<ScanCursor, StorageError> {
    let number = layout::number(item).map_err(not_a_commit)?;
    let stream = stream(item)?.parse().map_err(not_a_commit)?;
    Ok(ScanCursor { stream, number })
}

fn cursor_after<K: StreamKey, S: Sequence, E>(commit: &Commit<K, S, E>) -> Result<ScanCursor, StorageError> {
    let stream = StreamName::of(&commit.key).map_err(not_a_commit)?;
    Ok(ScanCursor { stream, number: commit.first.number() })
}

fn not_a_commit(error: impl Into<Box<dyn Error + Send + Sync>>) -> StorageError {
    StorageError::new(ErrorKind::Corrupt, "the table has an item that is not a commit").because(error)
}

pub(crate) fn key_of<K: StreamKey>(stream: &str) -> Option<K> {
    let (category, id) = stream.split_once('/')?;
    K::from_parts(category, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_from_its_text() {
        let cursor = ScanCursor { stream: "user/a:b/c".parse().unwrap(), number: 7 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "7", "user/1", "x:user/1", "7:user"] {
            assert!(text.parse::<ScanCursor>().is_err(), "{text:?}");
        }
    }
}

//! Decoding of the items of one page.

use std::sync::Arc;
use std::vec;

use eventsrc_core::codec::Codec;
use eventsrc_core::{Commit, ErrorKind, Sequence, StorageError, StreamKey};

use crate::commits;
use crate::item::Item;
use crate::layout::{self, CommitItem};

/// Approximate size of the payloads in a chunk. The service returns up to 1 MB of items, and compressed items decode to far
/// more.
const BYTES_PER_CHUNK: usize = 1 << 20;

/// Some commits of a page, and the error of the commit after them, if it is unreadable.
pub(crate) struct Chunk<K, S, E> {
    pub(crate) commits: Vec<Arc<Commit<K, S, E>>>,
    pub(crate) failure: Option<StorageError>,
}

impl<K: StreamKey, S: Sequence, E> Chunk<K, S, E> {
    /// Decodes the next commits of a page, up to the first unreadable one. Commits for which `key` returns `None` belong to
    /// another storage and are skipped.
    pub(crate) fn decode_next<C: Codec<E>>(
        items: &mut vec::IntoIter<Item>,
        key: impl Fn(&str) -> Option<K>,
        codec: &C,
    ) -> Self {
        let mut chunk = Self { commits: Vec::with_capacity(items.len()), failure: None };
        let mut bytes = 0;
        while bytes < BYTES_PER_CHUNK
            && let Some(item) = items.next()
        {
            match commit(item, &key, codec) {
                Ok(Some((commit, size))) => {
                    chunk.commits.push(commit);
                    bytes += size;
                }
                Ok(None) => {}
                Err(error) => {
                    chunk.failure = Some(error);
                    break;
                }
            }
        }
        chunk
    }
}

/// A commit, and the size of its payloads in bytes.
pub(crate) type SizedCommit<K, S, E> = (Arc<Commit<K, S, E>>, usize);

/// Decodes the commit of `item`. Returns `None` if `key` returns `None` for its stream.
pub(crate) fn commit<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    item: Item,
    key: impl Fn(&str) -> Option<K>,
    codec: &C,
) -> Result<Option<SizedCommit<K, S, E>>, StorageError> {
    let stream_and_number =
        layout::stream(&item).and_then(|stream| Ok((key(stream), layout::number(&item)?)));
    let (key, number) = stream_and_number.map_err(|error| {
        StorageError::new(ErrorKind::Corrupt, "the table has an item that is not a commit").because(error)
    })?;
    let Some(key) = key else { return Ok(None) };
    let item = CommitItem::from_item(item).map_err(|error| commits::unreadable(&key, number, error))?;
    commits::decode(item, &key, codec).map(Some)
}

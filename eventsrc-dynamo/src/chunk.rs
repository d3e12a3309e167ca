//! What one page of items brings.

use std::sync::Arc;
use std::vec;

use eventsrc_core::codec::Codec;
use eventsrc_core::{Commit, ErrorKind, Sequence, StorageError, StreamKey};

use crate::commits;
use crate::item::Item;
use crate::layout::{self, CommitItem};

/// How many bytes of payloads a page has, about. Deflated items of a MB, which the service gives at once, may be far more.
const BYTES_PER_PAGE: usize = 1 << 20;

/// Some commits, and what ended them, if they were ended.
pub(crate) struct Chunk<K, S, E> {
    pub(crate) commits: Vec<Arc<Commit<K, S, E>>>,
    pub(crate) failure: Option<StorageError>,
}

impl<K: StreamKey, S: Sequence, E> Chunk<K, S, E> {
    /// Takes the commits of a page from `items`, or those before the first that cannot be read. Those of which `key` makes no key
    /// are another storage's, and passed over.
    pub(crate) fn take<C: Codec<E>>(
        items: &mut vec::IntoIter<Item>,
        key: impl Fn(&str) -> Option<K>,
        codec: &C,
    ) -> Self {
        let mut chunk = Self { commits: Vec::with_capacity(items.len()), failure: None };
        let mut bytes = 0;
        while bytes < BYTES_PER_PAGE
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

/// A commit, and the bytes of its payloads.
pub(crate) type Sized<K, S, E> = (Arc<Commit<K, S, E>>, usize);

/// The commit of `item`; `None` if `key` makes no key of its stream.
pub(crate) fn commit<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    item: Item,
    key: impl Fn(&str) -> Option<K>,
    codec: &C,
) -> Result<Option<Sized<K, S, E>>, StorageError> {
    let place = layout::stream(&item).and_then(|stream| Ok((key(stream), layout::number(&item)?)));
    let (key, number) = place.map_err(|why| {
        StorageError::new(ErrorKind::Corrupt, "the table holds an item that is no commit").because(why)
    })?;
    let Some(key) = key else { return Ok(None) };
    let item = CommitItem::from_item(item).map_err(|why| commits::unreadable(&key, number, why))?;
    commits::decode(item, &key, codec).map(Some)
}

//! What one page of items brings.

use std::sync::Arc;

use eventsrc_core::{Codec, Commit, ErrorKind, Sequence, StorageError, StreamKey};

use crate::commits;
use crate::layout::{self, CommitItem, Item};

/// Some commits, and what ended them, if they were ended.
pub(crate) struct Chunk<K, S, E> {
    pub(crate) commits: Vec<Arc<Commit<K, S, E>>>,
    pub(crate) failure: Option<StorageError>,
}

impl<K: StreamKey, S: Sequence, E> Chunk<K, S, E> {
    /// The commits of `items`, up to the first that cannot be read. Those of which `key` makes no key are another storage's, and
    /// passed over.
    pub(crate) fn new<C: Codec<E>>(items: Vec<Item>, key: impl Fn(&str) -> Option<K>, codec: &C) -> Self {
        let mut chunk = Self { commits: Vec::with_capacity(items.len()), failure: None };
        for item in items {
            match commit(item, &key, codec) {
                Ok(Some(commit)) => chunk.commits.push(commit),
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

fn commit<K: StreamKey, S: Sequence, E, C: Codec<E>>(
    item: Item,
    key: impl Fn(&str) -> Option<K>,
    codec: &C,
) -> Result<Option<Arc<Commit<K, S, E>>>, StorageError> {
    let place = layout::stream(&item).and_then(|stream| Ok((key(stream), layout::number(&item)?)));
    let (key, number) = place.map_err(|why| {
        StorageError::new(ErrorKind::Corrupt, "the table holds an item that is no commit").because(why)
    })?;
    let Some(key) = key else { return Ok(None) };
    let item = CommitItem::from_item(item).map_err(|why| commits::unreadable(&key, number, why))?;
    commits::decode(item, &key, codec).map(Some)
}

//! What one page of rows brings.

use std::sync::Arc;

use eventsrc_core::{Codec, Commit, Sequence, StorageError, StreamKey};

use crate::layout::{Place, PlacedRow};
use crate::rows;
use crate::settings::Settings;

/// Some commits, and where to read on.
pub(crate) struct Chunk<K, S, E> {
    pub(crate) commits: Vec<Arc<Commit<K, S, E>>>,
    /// The last event that was read; `None` at the end, and after a failure.
    pub(crate) next: Option<Place>,
    /// What ended the chunk, after `commits`.
    pub(crate) failure: Option<StorageError>,
}

impl<K: StreamKey, S: Sequence, E> Chunk<K, S, E> {
    /// The commits of `rows`, a page as `settings` bound it, up to the first that cannot be read. Those of which `key` makes
    /// no key are another storage's, and passed over.
    pub(crate) fn new<C: Codec<E>>(
        rows: Vec<PlacedRow>,
        key: impl Fn(&Place) -> Option<K>,
        codec: &C,
        settings: &Settings,
    ) -> Self {
        let mut chunk = Self { commits: Vec::with_capacity(rows.len()), next: None, failure: None };
        let mut is_full = rows.len() >= settings.commits_per_page.max(1);
        let mut bytes = 0;
        for PlacedRow { mut place, commit: row } in rows {
            if let Ok(row) = &row {
                place.number = row.last();
                bytes += row.size();
            }
            if let Some(key) = key(&place) {
                let row = row.map_err(|why| rows::unreadable(&key, place.number, why));
                match row.and_then(|row| rows::decode(&row, &key, codec)) {
                    Ok(commit) => chunk.commits.push(commit),
                    Err(error) => return Self { failure: Some(error), next: None, ..chunk },
                }
            }
            chunk.next = Some(place);
        }
        is_full |= bytes >= settings.bytes_per_page.max(1);
        Self { next: chunk.next.filter(|_| is_full), ..chunk }
    }
}

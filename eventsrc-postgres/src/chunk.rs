//! What one page of rows brings.

use std::sync::Arc;

use eventsrc_core::codec::Codec;
use eventsrc_core::{Commit, Sequence, StorageError, StreamKey};
use tokio_postgres::Error;

use crate::failure::Failure;
use crate::layout::{CommitRow, PageRow};
use crate::rows;
use crate::settings::Settings;

/// Some commits, and where to read on.
pub(crate) struct Chunk<K, S, E> {
    pub(crate) commits: Vec<Arc<Commit<K, S, E>>>,
    /// The number of the last event of the last row; `None` at the end, and after a failure.
    pub(crate) end: Option<i64>,
    /// What ended the chunk, after `commits`.
    pub(crate) failure: Option<StorageError>,
}

impl<K: StreamKey, S: Sequence, E> Chunk<K, S, E> {
    /// The commits of `rows`, a page as `settings` bound it, up to the first that cannot be read. Those of which `key` makes
    /// no key are another storage's, and passed over.
    pub(crate) fn new<C: Codec<E>>(
        rows: &[PageRow],
        key: impl Fn(&PageRow) -> Result<Option<K>, Error>,
        codec: &C,
        settings: &Settings,
    ) -> Self {
        let mut chunk = Self { commits: Vec::with_capacity(rows.len()), end: None, failure: None };
        let mut bytes = 0;
        for row in rows {
            let placed = row.number().and_then(|number| Ok((number, key(row)?)));
            let (number, key) = match placed {
                Ok(placed) => placed,
                Err(error) => return chunk.failed(Failure::new("cannot read", error).into()),
            };
            let commit = row.commit();
            if let Ok(commit) = &commit {
                bytes += commit.size();
            }
            chunk.end = Some(commit.as_ref().map_or(number, CommitRow::last));
            let Some(key) = key else { continue };
            let commit = commit.map_err(|why| rows::unreadable(&key, number, why));
            match commit.and_then(|commit| rows::decode(&commit, &key, codec)) {
                Ok(commit) => chunk.commits.push(commit),
                Err(error) => return chunk.failed(error),
            }
        }
        let is_full =
            rows.len() >= settings.commits_per_page.max(1) || bytes >= settings.bytes_per_page.max(1);
        Self { end: chunk.end.filter(|_| is_full), ..chunk }
    }

    fn failed(self, error: StorageError) -> Self {
        Self { end: None, failure: Some(error), ..self }
    }
}

//! Commits decoded from one page of rows.

use std::sync::Arc;

use eventsrc_core::backend::EncodedCommit;
use eventsrc_core::codec::Codec;
use eventsrc_core::{Commit, Sequence, StorageError, StreamKey};
use tokio_postgres::Error;

use crate::failure::Failure;
use crate::layout::PageRow;
use crate::rows;
use crate::settings::Settings;

/// Commits of a page, and the number after which the next page starts.
pub(crate) struct DecodedPage<K, S, E> {
    pub(crate) commits: Vec<Arc<Commit<K, S, E>>>,
    /// Number of the last event of the last row; `None` if this is the last page, or after a failure.
    pub(crate) end: Option<i64>,
    /// Error that ended the page after `commits`.
    pub(crate) failure: Option<StorageError>,
}

impl<K: StreamKey, S: Sequence, E> DecodedPage<K, S, E> {
    /// Decodes `rows`, a page within the limits of `settings`, up to the first commit that cannot be read. A row for
    /// which `key` returns `None` belongs to another storage and is skipped.
    pub(crate) fn new<C: Codec<E>>(
        rows: &[PageRow],
        key: impl Fn(&PageRow) -> Result<Option<K>, Error>,
        codec: &C,
        settings: &Settings,
    ) -> Self {
        let mut page = Self { commits: Vec::with_capacity(rows.len()), end: None, failure: None };
        let mut bytes = 0;
        for row in rows {
            let location = row.number().and_then(|number| Ok((number, key(row)?)));
            let (number, key) = match location {
                Ok(location) => location,
                Err(error) => return page.failed(Failure::new("cannot read", error).into()),
            };
            let commit = row.commit();
            if let Ok(commit) = &commit {
                bytes += commit.size();
            }
            let last = commit.as_ref().map_or(number.unsigned_abs(), EncodedCommit::last);
            page.end = Some(last.try_into().unwrap_or(i64::MAX));
            let Some(key) = key else { continue };
            let commit = commit.map_err(|reason| rows::unreadable(&key, number, reason));
            match commit.and_then(|commit| commit.decode(&key, codec)) {
                Ok(commit) => page.commits.push(commit),
                Err(error) => return page.failed(error),
            }
        }
        let is_full =
            rows.len() >= settings.commits_per_page.max(1) || bytes >= settings.bytes_per_page.max(1);
        Self { end: page.end.filter(|_| is_full), ..page }
    }

    fn failed(self, error: StorageError) -> Self {
        Self { end: None, failure: Some(error), ..self }
    }
}

//! What one turn of a reading thread brings: a page at most.

use std::ops::ControlFlow;
use std::sync::Arc;

use eventsrc_core::codec::Codec;
use eventsrc_core::{Commit, Sequence, StorageError, StreamKey};

use crate::database::Settings;
use crate::failure::Failure;
use crate::layout::CommitRow;
use crate::rows;

/// Some commits, and where to read on.
pub(crate) struct Chunk<K, S, E, C> {
    codec: Arc<C>,
    /// How many more commits fit.
    commits_left: usize,
    /// How many more bytes fit; the last commit may go beyond.
    bytes_left: usize,
    /// How many more rows of other storages are passed over, so that no read takes long.
    skips_left: usize,
    pub(crate) commits: Vec<Arc<Commit<K, S, E>>>,
    /// Where to read on; `None` at the end, and after a failure.
    pub(crate) next: Option<i64>,
    /// What ended the chunk, after `commits`.
    pub(crate) failure: Option<StorageError>,
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> Chunk<K, S, E, C> {
    /// A chunk of no commits yet.
    pub(crate) fn new(codec: Arc<C>, settings: &Settings) -> Self {
        let commits_left = settings.commits_per_page.max(1);
        Self {
            codec,
            commits_left,
            bytes_left: settings.bytes_per_page,
            skips_left: commits_left.saturating_mul(16),
            commits: Vec::new(),
            next: None,
            failure: None,
        }
    }

    /// Adds the commit of `row`, which begins at `number`; breaks off once the chunk is full or the commit cannot be read.
    pub(crate) fn add(&mut self, number: i64, row: rusqlite::Result<CommitRow>, key: &K) -> ControlFlow<()> {
        let row = row.map_err(|error| rows::unreadable(key, number, error));
        let size = row.as_ref().map_or(0, CommitRow::size);
        match row.and_then(|row| rows::decode(&row, key, &*self.codec)) {
            Ok(commit) => self.commits.push(commit),
            Err(error) => {
                self.failure = Some(error);
                return ControlFlow::Break(());
            }
        }
        self.commits_left -= 1;
        self.bytes_left = self.bytes_left.saturating_sub(size);
        if self.commits_left == 0 || self.bytes_left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Passes over a commit of another storage.
    pub(crate) fn skip(&mut self) -> ControlFlow<()> {
        self.skips_left -= 1;
        if self.skips_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Ends the chunk at `next`, after a visit that saw all there is, broke off or failed.
    pub(crate) fn finish(mut self, saw_all: rusqlite::Result<bool>, next: i64) -> Self {
        match saw_all {
            Ok(false) if self.failure.is_none() => self.next = Some(next),
            Ok(_) => {}
            Err(error) => self.failure = Some(Failure::new("cannot read", error).into()),
        }
        self
    }
}

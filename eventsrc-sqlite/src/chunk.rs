//! The commits of one read on a reader thread: at most a page.

use std::ops::ControlFlow;
use std::sync::Arc;

use eventsrc_core::backend::EncodedCommit;
use eventsrc_core::codec::Codec;
use eventsrc_core::{Commit, Sequence, StorageError, StreamKey};

use crate::failure::Failure;
use crate::rows;
use crate::settings::Settings;

/// Commits of one read, and the point at which the next read resumes.
pub(crate) struct Chunk<K, S, E, C> {
    codec: Arc<C>,
    /// Number of further commits that fit.
    commits_left: usize,
    /// Number of further bytes that fit. The last commit may exceed it.
    bytes_left: usize,
    /// Number of further commits of other storages that this read passes over. The limit bounds its duration.
    skips_left: usize,
    pub(crate) commits: Vec<Arc<Commit<K, S, E>>>,
    /// Point at which the next read resumes. `None` at the end and after a failure.
    pub(crate) next: Option<i64>,
    /// Error that ended the chunk, after `commits`.
    pub(crate) failure: Option<StorageError>,
}

impl<K: StreamKey, S: Sequence, E, C: Codec<E>> Chunk<K, S, E, C> {
    /// An empty chunk.
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

    /// Adds the commit of `row`, whose first number is `number`. Breaks if the chunk is full or the commit cannot be read.
    pub(crate) fn add(
        &mut self,
        number: i64,
        row: rusqlite::Result<EncodedCommit<'_>>,
        key: &K,
    ) -> ControlFlow<()> {
        let row = row.map_err(|error| rows::unreadable(key, number, error));
        let size = row.as_ref().map_or(0, EncodedCommit::size);
        match row.and_then(|row| row.decode(key, &*self.codec)) {
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

    /// Passes over a commit of another storage. Breaks if the read has passed over enough of them.
    pub(crate) fn skip(&mut self) -> ControlFlow<()> {
        self.skips_left -= 1;
        if self.skips_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Ends the chunk. `visited_all` is the result of the visit, and `next` the point at which an unfinished one resumes.
    pub(crate) fn finish(mut self, visited_all: rusqlite::Result<bool>, next: i64) -> Self {
        match visited_all {
            Ok(false) if self.failure.is_none() => self.next = Some(next),
            Ok(_) => {}
            Err(error) => self.failure = Some(Failure::new("cannot read", error).into()),
        }
        self
    }
}

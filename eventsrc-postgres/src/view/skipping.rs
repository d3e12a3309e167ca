//! Skipping commits: the position moves over them, and a record is written, in one transaction.

use eventsrc_core::commit::Payload;
use eventsrc_core::view::SkippedCommits;
use eventsrc_core::{Sequence, StorageError, StreamKey};

use super::contract::View;
use super::inner::ViewInner;
use super::layout::{self, LockMode, SkipRow};
use super::open_transaction::OpenTransaction;

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Skips the commits of `skip`, whose row is `row`. Returns false if the stream is not at the expected position, and
    /// `None` if another transaction holds the view's lock exclusively.
    pub(super) async fn attempt_to_skip(
        &self,
        open: OpenTransaction,
        skip: &SkippedCommits<S>,
        row: &SkipRow,
    ) -> Result<Option<bool>, StorageError> {
        let failure = |error| self.failure("write")(error).on(&skip.change.stream);
        let statements = self.prepare(&open, "write", LockMode::Shared).await?;
        let mark = match open.begin(&statements, &self.lock_name).await {
            Ok(mark) => mark,
            Err(error) if layout::is_locked(&error) => return Ok(None),
            Err(error) => return Err(failure(error)),
        };
        self.layout.long_names.record(&open, [skip.change.stream.as_str()]).await.map_err(failure)?;
        match self.layout.records.skip(&open, self.version_key(), row).await {
            Ok(true) => {}
            Ok(false) => return Ok(Some(false)),
            Err(error) if layout::misses_the_version(&error) => return Err(self.retired().because(error)),
            Err(error) => return Err(failure(error)),
        }
        let committed = open.commit(&statements, &mark).await;
        committed.map_err(|error| self.commit_failure("write", error).on(&skip.change.stream))?;
        Ok(Some(true))
    }
}

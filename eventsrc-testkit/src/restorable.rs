//! A storage in memory that goes back to an earlier state.

use std::sync::{Arc, PoisonError, RwLock};

use async_stream::try_stream;
use eventsrc_core::commit::Payload;
use eventsrc_core::storage::{CommitOf, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use eventsrc_core::{Commit, EventStorage, Head, MemoryStorage, Sequence, StorageError, StreamKey};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};

/// A storage in memory whose state can be saved and restored, like a database that is restored from a backup. It can also
/// lose the last commits of a stream.
///
/// Both break the promise that no stored event is ever removed. Use it to test that callers notice.
///
/// ```
/// use eventsrc_core::StreamName;
/// use eventsrc_testkit::Restorable;
///
/// let storage = Restorable::<StreamName, u64, String>::default();
/// let point = storage.save();
/// // Put commits, and then lose them:
/// storage.restore(&point);
/// ```
#[derive(Debug)]
pub struct Restorable<K, S, E> {
    /// Puts hold the read lock, so that none is lost by a restore that ran before it.
    memory: RwLock<Arc<MemoryStorage<K, S, E>>>,
}

/// State of a [`Restorable`].
#[derive(Debug, Clone)]
pub struct RestorePoint<K, S, E> {
    /// Commits of all streams. Those of one stream are in order.
    commits: Vec<Arc<Commit<K, S, E>>>,
}

impl<K: StreamKey, S: Sequence, E: Payload> Restorable<K, S, E> {
    /// Returns the current state.
    pub fn save(&self) -> RestorePoint<K, S, E> {
        RestorePoint { commits: commits_of(&self.memory()) }
    }

    /// Sets the state back to `point`. Reads that run continue in the state in which they started.
    pub fn restore(&self, point: &RestorePoint<K, S, E>) {
        let memory = MemoryStorage::default();
        for commit in &point.commits {
            let put = memory.put(Arc::clone(commit)).now_or_never().expect("memory never waits");
            assert!(matches!(put, Ok(Put::Stored)), "a saved commit is stored again: {put:?}");
        }
        *self.memory.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(memory);
    }

    /// Removes the last `commits` commits of the stream of `key`, or all if it has fewer. Returns the number of removed
    /// commits.
    pub fn erase(&self, key: &K, commits: usize) -> usize {
        let mut point = self.save();
        let all = point.commits.iter().filter(|commit| commit.key == *key).count();
        let mut kept = all.saturating_sub(commits);
        let removed = all - kept;
        point.commits.retain(|commit| {
            let is_kept = commit.key != *key || kept > 0;
            kept -= usize::from(is_kept && commit.key == *key);
            is_kept
        });
        self.restore(&point);
        removed
    }

    fn memory(&self) -> Arc<MemoryStorage<K, S, E>> {
        Arc::clone(&self.memory.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn commits_of<K: StreamKey, S: Sequence, E: Payload>(
    memory: &MemoryStorage<K, S, E>,
) -> Vec<Arc<Commit<K, S, E>>> {
    let pages: Vec<_> = memory
        .scan(Segment::ALL)
        .try_collect()
        .now_or_never()
        .expect("memory never waits")
        .expect("memory can be read");
    pages.iter().flat_map(|page| page.commits().iter().cloned()).collect()
}

impl<K, S, E> Default for Restorable<K, S, E> {
    fn default() -> Self {
        Self { memory: RwLock::default() }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<K: StreamKey, S: Sequence, E: Payload> EventStorage for Restorable<K, S, E> {
    type Key = K;
    type Sequence = S;
    type Payload = E;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        memory.put(commit).now_or_never().expect("memory never waits")
    }

    async fn recent(&self, key: &K, count: usize) -> Result<Vec<Head<S>>, StorageError> {
        self.memory().recent(key, count).await
    }

    async fn latest(&self, key: &K) -> Result<Option<Head<S>>, StorageError> {
        self.memory().latest(key).await
    }

    fn events(&self, key: &K, from: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let key = key.clone();
        owned(self.memory(), move |memory| memory.events(&key, from))
    }

    fn events_after(&self, key: &K, end: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let key = key.clone();
        owned(self.memory(), move |memory| memory.events_after(&key, end))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<K: StreamKey, S: Sequence, E: Payload> ScanStorage for Restorable<K, S, E> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        owned(self.memory(), move |memory| memory.scan(segment))
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        owned(self.memory(), move |memory| memory.heads(segment))
    }
}

/// Returns the pages of a read that keeps its storage.
fn owned<'s, M: Send + Sync + 's, P: Send + 's>(
    memory: Arc<M>,
    read: impl FnOnce(&M) -> BoxStream<'_, Result<P, StorageError>> + Send + 's,
) -> BoxStream<'s, Result<P, StorageError>> {
    try_stream! {
        let mut pages = read(&memory);
        while let Some(page) = pages.try_next().await? {
            yield page;
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use eventsrc_core::commit::vec1;
    use eventsrc_core::{CommitId, ErrorKind, Metadata, StreamName, Timestamp};
    use uuid::Uuid;

    use super::*;

    type Storage = Restorable<StreamName, u64, u32>;

    /// The commits 1 to `count` of a stream, each named by its number.
    fn commits(key: &str, count: u64) -> Vec<Arc<CommitOf<Storage>>> {
        let id = |number: u64| CommitId(Uuid::from_u128(u128::from(number)));
        let commit = |first| {
            let previous = (first > 1).then(|| id(first - 1));
            let (time, metadata) = (Timestamp::UNIX_EPOCH, Metadata::new(id(first)));
            Commit { key: key.parse().unwrap(), first, previous, time, metadata, payloads: vec1![7].into() }
        };
        (1..=count).map(|first| Arc::new(commit(first))).collect()
    }

    async fn stores(storage: &Storage, commits: &[Arc<CommitOf<Storage>>]) {
        for commit in commits {
            assert!(matches!(storage.put(Arc::clone(commit)).await, Ok(Put::Stored)));
        }
    }

    async fn end(storage: &Storage, key: &str) -> Option<u64> {
        storage.latest(&key.parse().unwrap()).await.unwrap().map(|head| head.sequence)
    }

    #[tokio::test]
    async fn a_restored_storage_has_its_earlier_state() {
        let (storage, one, other) = (Storage::default(), commits("user/1", 4), commits("user/2", 3));
        stores(&storage, &one[..2]).await;
        let point = storage.save();
        stores(&storage, &one[2..3]).await;
        stores(&storage, &other).await;
        let mut running = storage.events(&one[0].key, None);
        storage.restore(&point);
        assert_eq!((end(&storage, "user/1").await, end(&storage, "user/2").await), (Some(2), None));
        let error = storage.put(Arc::clone(&one[3])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Diverged);
        stores(&storage, &one[2..]).await;
        assert_eq!(running.try_next().await.unwrap().unwrap().commits().len(), 3, "as the read started");
    }

    #[tokio::test]
    async fn erase_removes_the_last_commits_of_one_stream() {
        let (storage, one, other) = (Storage::default(), commits("user/1", 4), commits("user/2", 3));
        stores(&storage, &one).await;
        stores(&storage, &other).await;
        assert_eq!(storage.erase(&one[0].key, 3), 3);
        assert_eq!((end(&storage, "user/1").await, end(&storage, "user/2").await), (Some(1), Some(3)));
        stores(&storage, &one[1..]).await;
        assert_eq!(storage.erase(&one[0].key, 9), 4);
        assert_eq!((end(&storage, "user/1").await, end(&storage, "user/2").await), (None, Some(3)));
    }
}

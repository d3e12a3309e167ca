//! Storages whose callers retry until they get an answer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_stream::try_stream;
use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::storage::{CommitOf, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use eventsrc_core::{Commit, CommitId, EventStorage, Head, Sequence, Snapshot, StorageError, StreamKey};
use eventsrc_testkit::conformance::{Backend, Capabilities, SnapshotBackend, SnapshotCapabilities};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};

/// A backend whose callers do not give up. Under faults it must then behave as without faults.
pub(super) struct PersistentBackend<B>(pub(super) B);

impl<B: Backend<Storage: ScanStorage>> Backend for PersistentBackend<B> {
    type Storage = Persistent<B::Storage>;
    type Location = (B::Location, Arc<Acknowledged>);

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn create(&self) -> Self::Location {
        (self.0.create().await, Arc::default())
    }

    async fn open(&self, (place, told): &Self::Location) -> Self::Storage {
        Persistent { storage: self.0.open(place).await, told: Arc::clone(told) }
    }
}

impl<B: SnapshotBackend> SnapshotBackend for PersistentBackend<B> {
    type Storage = PersistentSnapshots<B::Storage>;
    type Location = B::Location;

    fn capabilities(&self) -> SnapshotCapabilities {
        self.0.capabilities()
    }

    async fn create(&self) -> B::Location {
        self.0.create().await
    }

    async fn open(&self, place: &B::Location, name: &str) -> Self::Storage {
        PersistentSnapshots(self.0.open(place, name).await)
    }
}

/// The commits whose callers were told that they stored them, by stream.
#[derive(Default)]
pub(super) struct Acknowledged(Mutex<HashSet<(String, CommitId)>>);

impl Acknowledged {
    fn first<K: StreamKey, S, E>(&self, commit: &Commit<K, S, E>) -> bool {
        let stream = format!("{}/{}", commit.key.category(), commit.key.id());
        let told = (stream, commit.metadata.commit_id);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(told)
    }
}

/// An event storage that repeats each call for as long as the storage is unavailable.
pub(super) struct Persistent<St> {
    storage: St,
    told: Arc<Acknowledged>,
}

impl<St: ScanStorage> Persistent<St> {
    /// The pages of `read`. If it fails, they continue after the last event.
    fn resumed<'a>(
        &'a self,
        key: St::Key,
        read: impl Fn() -> BoxStream<'a, Result<PageOf<St>, StorageError>> + Send + 'a,
    ) -> BoxStream<'a, Result<PageOf<St>, StorageError>> {
        let mut pages = read();
        try_stream! {
            let mut last: Option<St::Sequence> = None;
            loop {
                match pages.try_next().await {
                    Ok(Some(page)) => {
                        last = page.events().last().map(|event| event.sequence()).or(last);
                        yield page;
                    }
                    Ok(None) => break,
                    Err(error) if error.kind().is_transient() => {
                        pages = match last.map(Sequence::least_greater) {
                            None => read(),
                            Some(None) => break,
                            Some(next) => self.storage.events(&key, next),
                        };
                    }
                    Err(error) => Err(error)?,
                }
            }
        }
        .boxed()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St: ScanStorage> EventStorage for Persistent<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    /// A put that finds its own commit after an error has stored it, unless another caller did.
    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let mut failed = false;
        loop {
            match self.storage.put(Arc::clone(&commit)).await {
                Err(error) if error.kind().is_transient() => failed = true,
                Ok(Put::Stored) if !self.told.first(&commit) => {
                    return Ok(Put::Repeated { last: commit.last() });
                }
                Ok(Put::Repeated { .. }) if failed && self.told.first(&commit) => return Ok(Put::Stored),
                other => return other,
            }
        }
    }

    async fn recent(&self, key: &Self::Key, count: usize) -> Result<Vec<Head<Self::Sequence>>, StorageError> {
        answered(|| self.storage.recent(key, count)).await
    }

    async fn latest(&self, key: &Self::Key) -> Result<Option<Head<Self::Sequence>>, StorageError> {
        answered(|| self.storage.latest(key)).await
    }

    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let of = key.clone();
        self.resumed(key.clone(), move || self.storage.events(&of, from))
    }

    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let of = key.clone();
        self.resumed(key.clone(), move || self.storage.events_after(&of, end))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St: ScanStorage> ScanStorage for Persistent<St> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        unbroken(move || self.storage.scan(segment))
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        unbroken(move || self.storage.heads(segment))
    }
}

/// A snapshot storage that repeats each call for as long as the storage is unavailable.
pub(super) struct PersistentSnapshots<Sn>(Sn);

impl<Sn: SnapshotStorage> SnapshotStorage for PersistentSnapshots<Sn> {
    type Key = Sn::Key;
    type Sequence = Sn::Sequence;
    type Value = Sn::Value;

    async fn get(
        &self,
        key: &Self::Key,
        version: u32,
        at: SnapshotAt<Self::Sequence>,
    ) -> Result<Option<Snapshot<Self::Sequence, Self::Value>>, StorageError> {
        answered(|| self.0.get(key, version, at)).await
    }

    async fn put(
        &self,
        key: &Self::Key,
        version: u32,
        snapshot: &Snapshot<Self::Sequence, Self::Value>,
        mode: SnapshotMode,
    ) -> Result<(), StorageError> {
        answered(|| self.0.put(key, version, snapshot, mode)).await
    }
}

async fn answered<T, F: Future<Output = Result<T, StorageError>>>(
    call: impl Fn() -> F,
) -> Result<T, StorageError> {
    loop {
        match call().await {
            Err(error) if error.kind().is_transient() => {}
            other => return other,
        }
    }
}

/// The items of one complete read, up to a permanent error.
fn unbroken<'a, P: Send + 'a>(
    read: impl Fn() -> BoxStream<'a, Result<P, StorageError>> + Send + 'a,
) -> BoxStream<'a, Result<P, StorageError>> {
    let whole = async move {
        loop {
            let pages: Vec<_> = read().collect().await;
            let out_of_reach = |page: &Result<P, StorageError>| {
                page.as_ref().is_err_and(|error| error.kind().is_transient())
            };
            if !pages.iter().any(out_of_reach) {
                return stream::iter(pages);
            }
        }
    };
    whole.flatten_stream().boxed()
}

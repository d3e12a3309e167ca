//! Storage adapter that moves streams from one storage to another while writers go on.

use std::collections::HashSet;
use std::sync::Arc;

use async_stream::try_stream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::contract::{CommitOf, EventStorage, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use super::error::{ErrorKind, StorageError};
use crate::commit::Head;
use crate::stream::StreamName;

/// Two storages of the same streams, while a service moves from the old one to the new one without a pause.
///
/// Deploy these storages one after the other. Begin a step only when every process has done the one before; during a
/// deployment, processes of two neighbouring steps run side by side.
///
/// | step | storage | a put is stored | reads |
/// |---|---|---|---|
/// | 0 | `old` | in the old storage | the old storage |
/// | 1 | [`Migration::copying(old, new)`](Migration::copying) | in the old storage, and then in the new one | the new storage, after it has what the old one has |
/// | | call [`copy`](Migration::copy) for all segments until it ends without a failure | | |
/// | 2 | [`Migration::switching(old, new)`](Migration::switching) | in the old storage, and then in the new one | the new storage |
/// | 3 | `new` | in the new storage | the new storage |
///
/// In steps 0 to 2 the old storage decides which commit gets a sequence, so writers of steps 0 and 1 never both succeed;
/// in steps 2 and 3 the new one has the last word. From step 1 on, nothing is acknowledged or read that the new storage
/// does not have. A put that fails between the two storages is unknown, as always, and putting the same commit again
/// settles it.
///
/// The first call for a stream copies what the new storage lacks of it. Call `copy` before step 1 as well, so that this is
/// little. In step 1, a read costs a request for the head to each storage in addition.
///
/// A view follows the storage of its step, or the change feed of the new store from step 1 on. The feed of the old store
/// shows commits that step 3 may give up.
///
/// A stream with an unreadable event cannot be copied, so its puts fail in step 1.
///
/// The old storage can be taken away after step 3. The way back from step 1 to step 0 is open at any time.
#[derive(Debug, Clone)]
pub struct Migration<Old, New> {
    old: Old,
    new: New,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Copying,
    Switching,
}

/// Result of [`Migration::copy`].
#[derive(Debug, Default)]
pub struct Copied {
    /// Number of streams of the old storage that were visited.
    pub streams: u64,
    /// Number of commits that were copied.
    pub commits: u64,
    /// Streams that could not be copied to their end, with the error of each. They need another call.
    pub failed: Vec<(StreamName, StorageError)>,
}

impl<Old, New> Migration<Old, New>
where
    Old: EventStorage,
    New: EventStorage<Key = Old::Key, Sequence = Old::Sequence, Payload = Old::Payload>,
{
    /// Creates the storage of step 1, which follows what processes of step 0 store in `old` alone.
    pub fn copying(old: Old, new: New) -> Self {
        Self { old, new, step: Step::Copying }
    }

    /// Creates the storage of step 2, which follows what processes of step 3 store in `new` alone.
    pub fn switching(old: Old, new: New) -> Self {
        Self { old, new, step: Step::Switching }
    }

    /// Makes the new storage have what the old one has of a stream.
    async fn catch_up(&self, key: &Old::Key) -> Result<(), StorageError> {
        if self.step == Step::Switching {
            return Ok(());
        }
        self.copy_stream(key).await.map(drop)
    }

    /// Copies the commits of a stream that the new storage lacks, up to where the old one ends at the start of the call.
    /// Returns their number.
    ///
    /// Writers that go on meanwhile cannot hold up the call. They store their commits in the new storage themselves.
    ///
    /// # Errors
    ///
    /// The errors of both storages; `Diverged` if they have different histories of the stream.
    async fn copy_stream(&self, key: &Old::Key) -> Result<u64, StorageError> {
        let (old, new) = futures::try_join!(self.old.latest(key), self.new.latest(key))?;
        let [old, new] = [old, new].map(|head| head.map(|head| head.sequence));
        let mut copied = 0;
        if old <= new {
            return Ok(copied);
        }
        let mut pages = self.old.events_after(key, new);
        while let Some(page) = pages.try_next().await? {
            for commit in page.commits() {
                if let Put::Conflict(_) = self.new.put(Arc::clone(commit)).await? {
                    let what = "the new storage has another commit at this sequence";
                    return Err(StorageError::new(ErrorKind::Diverged, what).on(key).at(commit.first));
                }
                copied += 1;
                if Some(commit.last()) >= old {
                    return Ok(copied);
                }
            }
        }
        Ok(copied)
    }

    /// Stores in the new storage a commit that the old one has.
    async fn follow(&self, commit: Arc<CommitOf<Old>>) -> Result<(), StorageError> {
        let key = &commit.key;
        match self.new.put(Arc::clone(&commit)).await {
            Ok(Put::Stored | Put::Repeated { .. }) => Ok(()),
            Ok(Put::Conflict(_)) => {
                let what = "the new storage has another commit at this sequence";
                Err(StorageError::new(ErrorKind::Diverged, what).on(key).at(commit.first))
            }
            Err(error) if error.kind() == ErrorKind::Diverged => self.copy_stream(key).await.map(drop),
            Err(error) => Err(error),
        }
    }

    async fn put_copying(&self, commit: Arc<CommitOf<Old>>) -> Result<PutOf<Old>, StorageError> {
        let put = self.old.put(Arc::clone(&commit)).await?;
        match put {
            Put::Stored => self.follow(commit).await.map_err(unknown)?,
            // The stored commit may differ from this one in all but its id, so it is copied.
            Put::Repeated { .. } => self.catch_up(&commit.key).await.map_err(unknown)?,
            Put::Conflict(_) => self.catch_up(&commit.key).await?,
        }
        Ok(put)
    }

    async fn put_switching(&self, commit: Arc<CommitOf<Old>>) -> Result<PutOf<Old>, StorageError> {
        match self.old.put(Arc::clone(&commit)).await {
            Ok(Put::Stored) => {}
            // The old storage may have a commit that its writer has not yet stored in the new one.
            Ok(Put::Repeated { .. }) => self.complete(&commit.key).await.map_err(unknown)?,
            Ok(Put::Conflict(_)) => self.complete(&commit.key).await?,
            // A process of the next step has gone on in the new storage alone.
            Err(error) if error.kind() == ErrorKind::Diverged => {}
            Err(error) => return Err(error),
        }
        match self.new.put(Arc::clone(&commit)).await {
            Err(error) if error.kind() == ErrorKind::Diverged => {
                self.complete(&commit.key).await.map_err(unknown)?;
                self.new.put(commit).await
            }
            put => put,
        }
    }

    /// Stores in the new storage what only the old one has, as far as the new one has no other commits there.
    async fn complete(&self, key: &Old::Key) -> Result<(), StorageError> {
        match self.copy_stream(key).await {
            Err(error) if error.kind() == ErrorKind::Diverged => Ok(()),
            result => result.map(drop),
        }
    }
}

impl<Old, New> Migration<Old, New>
where
    Old: ScanStorage,
    New: EventStorage<Key = Old::Key, Sequence = Old::Sequence, Payload = Old::Payload>,
{
    /// Copies the streams of `segment` to the new storage, from where they end there. It may be interrupted and called
    /// again, and run while writers and other copiers run. Costs one read of the new storage for each stream, and a read and
    /// a put for each missing commit.
    ///
    /// # Errors
    ///
    /// The error of reading the heads of the old storage. Failures of single streams are in the result.
    pub async fn copy(&self, segment: Segment) -> Result<Copied, StorageError> {
        let mut copied = Copied::default();
        let mut pages = self.old.heads(segment);
        while let Some(heads) = pages.try_next().await? {
            for (key, _) in heads {
                copied.streams += 1;
                match self.copy_stream(&key).await {
                    Ok(commits) => copied.commits += commits,
                    Err(error) => {
                        let name = StreamName::of(&key)
                            .map_err(|name| StorageError::new(ErrorKind::Invalid, name.to_string()))?;
                        copied.failed.push((name, error));
                    }
                }
            }
        }
        Ok(copied)
    }
}

/// Marks an error that came after the commit was stored in the old storage: the result of the put is unknown.
fn unknown(error: StorageError) -> StorageError {
    if error.kind().stores_nothing() {
        StorageError::new(ErrorKind::Corrupt, "the commit is stored in the old storage only").because(error)
    } else {
        error
    }
}

#[deny(clippy::missing_trait_methods)]
impl<Old, New> EventStorage for Migration<Old, New>
where
    Old: EventStorage,
    New: EventStorage<Key = Old::Key, Sequence = Old::Sequence, Payload = Old::Payload>,
{
    type Key = Old::Key;
    type Sequence = Old::Sequence;
    type Payload = Old::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        match self.step {
            Step::Copying => self.put_copying(commit).await,
            Step::Switching => self.put_switching(commit).await,
        }
    }

    async fn recent(&self, key: &Old::Key, count: usize) -> Result<Vec<Head<Old::Sequence>>, StorageError> {
        self.catch_up(key).await?;
        self.new.recent(key, count).await
    }

    async fn latest(&self, key: &Old::Key) -> Result<Option<Head<Old::Sequence>>, StorageError> {
        self.catch_up(key).await?;
        self.new.latest(key).await
    }

    fn events(
        &self,
        key: &Old::Key,
        from: Option<Old::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let key = key.clone();
        try_stream! {
            self.catch_up(&key).await?;
            let mut pages = self.new.events(&key, from);
            while let Some(page) = pages.try_next().await? {
                yield page;
            }
        }
        .boxed()
    }

    fn events_after(
        &self,
        key: &Old::Key,
        end: Option<Old::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let key = key.clone();
        try_stream! {
            self.catch_up(&key).await?;
            let mut pages = self.new.events_after(&key, end);
            while let Some(page) = pages.try_next().await? {
                yield page;
            }
        }
        .boxed()
    }
}

/// In step 1, a scan reads the old storage, and copies what it finds before it delivers it.
#[deny(clippy::missing_trait_methods)]
impl<Old, New> ScanStorage for Migration<Old, New>
where
    Old: ScanStorage,
    New: ScanStorage<Key = Old::Key, Sequence = Old::Sequence, Payload = Old::Payload>,
{
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        if self.step == Step::Switching {
            return self.new.scan(segment);
        }
        let pages = self.old.scan(segment);
        pages
            .and_then(async |page| {
                let keys: HashSet<_> = page.commits().iter().map(|commit| commit.key.clone()).collect();
                for key in &keys {
                    self.catch_up(key).await?;
                }
                Ok(page)
            })
            .boxed()
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        match self.step {
            Step::Copying => self.old.heads(segment),
            Step::Switching => self.new.heads(segment),
        }
    }
}

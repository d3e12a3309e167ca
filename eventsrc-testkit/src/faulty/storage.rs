//! An event storage that injects faults.

use std::sync::Arc;

use async_stream::try_stream;
use eventsrc_core::clock::Clock;
use eventsrc_core::storage::{CommitOf, HeadsOf, PageOf, PutOf, ScanStorage, Segment};
use eventsrc_core::{EventStorage, Head, StorageError};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::source::{FaultSource, Faults, Injected};

/// A storage that forwards calls and injects faults: failed calls, lost replies, reads that fail between pages, delays,
/// hangs, and streams that fail until they are healed.
///
/// The contract of [`EventStorage`] allows every one of these faults: an `Err` from a put means unknown, and a read may
/// end with an error. Code that is built on a storage must handle all of them.
///
/// ```
/// use std::sync::Arc;
///
/// use eventsrc_core::{MemoryStorage, StreamName};
/// use eventsrc_core::clock::SystemClock;
/// use eventsrc_testkit::{Faults, Faulty};
///
/// let memory = MemoryStorage::<StreamName, u64, String>::default();
/// let faulty = Faulty::new(memory, Faults::seeded(7), Arc::new(SystemClock));
/// assert_eq!(faulty.injected().total(), 0);
/// ```
#[derive(Debug)]
pub struct Faulty<St> {
    storage: St,
    source: Arc<FaultSource>,
}

impl<St> Faulty<St> {
    /// Wraps `storage` with these faults. Delays use `clock`.
    pub fn new(storage: St, faults: Faults, clock: Arc<dyn Clock>) -> Self {
        Self::with(storage, Arc::new(FaultSource::new(faults, clock)))
    }

    /// Wraps `storage` with faults from `source`, which several wrappers may share.
    pub fn with(storage: St, source: Arc<FaultSource>) -> Self {
        Self { storage, source }
    }

    /// Returns the numbers of faults injected so far.
    pub fn injected(&self) -> Injected {
        self.source.injected()
    }

    /// Returns the source of the faults, to hang and resume all calls, and to fail and heal streams.
    pub fn source(&self) -> &Arc<FaultSource> {
        &self.source
    }

    /// Returns the storage without faults.
    pub fn storage(&self) -> &St {
        &self.storage
    }

    /// Returns the pages, unless a fault is drawn at the start or between two pages, or `check` fails. `check` gets each
    /// page, and `None` at the start.
    fn faulty_pages<'a, P: Send + Sync + 'a>(
        &'a self,
        mut pages: BoxStream<'a, Result<P, StorageError>>,
        check: impl Fn(Option<&P>) -> Result<(), StorageError> + Send + 'a,
    ) -> BoxStream<'a, Result<P, StorageError>>
    where
        St: Sync,
    {
        try_stream! {
            self.source.delay().await;
            check(None)?;
            self.source.fail_before()?;
            while let Some(page) = pages.try_next().await? {
                check(Some(&page))?;
                yield page;
                self.source.wait_for_resume().await;
                self.source.break_off()?;
            }
        }
        .boxed()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St: EventStorage> EventStorage for Faulty<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let at_commit = |error: StorageError, commit: &CommitOf<Self>| error.on(&commit.key).at(commit.first);
        self.source.delay().await;
        self.source.fail_on(&commit.key).map_err(|error| error.at(commit.first))?;
        self.source.fail_before().map_err(|error| at_commit(error, &commit))?;
        let put = self.storage.put(Arc::clone(&commit)).await?;
        self.source.delay().await;
        self.source.lose_reply().map_err(|error| at_commit(error, &commit))?;
        Ok(put)
    }

    async fn recent(&self, key: &Self::Key, count: usize) -> Result<Vec<Head<Self::Sequence>>, StorageError> {
        self.source.delay().await;
        self.source.fail_on(key)?;
        self.source.fail_before().map_err(|error| error.on(key))?;
        self.storage.recent(key, count).await
    }

    async fn latest(&self, key: &Self::Key) -> Result<Option<Head<Self::Sequence>>, StorageError> {
        self.source.delay().await;
        self.source.fail_on(key)?;
        self.source.fail_before().map_err(|error| error.on(key))?;
        self.storage.latest(key).await
    }

    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let stream = key.clone();
        self.faulty_pages(self.storage.events(key, from), move |_| self.source.fail_on(&stream))
    }

    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let stream = key.clone();
        self.faulty_pages(self.storage.events_after(key, end), move |_| self.source.fail_on(&stream))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St: ScanStorage> ScanStorage for Faulty<St> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.faulty_pages(self.storage.scan(segment), |page| {
            let mut commits = page.into_iter().flat_map(|page| page.commits());
            commits.try_for_each(|commit| self.source.fail_on(&commit.key))
        })
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        self.faulty_pages(self.storage.heads(segment), |heads| {
            heads.into_iter().flatten().try_for_each(|(key, _)| self.source.fail_on(key))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use eventsrc_core::clock::{Randomness, SystemClock};
    use eventsrc_core::commit::vec1;
    use eventsrc_core::storage::Put;
    use eventsrc_core::{Commit, ErrorKind, MemoryStorage, Metadata, StreamName, Timestamp};
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    type Memory = MemoryStorage<StreamName, u64, u32>;

    fn commit(number: u64) -> Arc<Commit<StreamName, u64, u32>> {
        let metadata = Metadata::new(Randomness::seeded(number).commit_id(Timestamp::UNIX_EPOCH));
        let key = StreamName::new("sample", "a").unwrap();
        let time = Timestamp::UNIX_EPOCH;
        Arc::new(Commit { key, first: number, previous: None, time, metadata, payloads: vec1![7].into() })
    }

    /// Clock that records the waits, and does not wait.
    #[derive(Default)]
    struct Waits(Mutex<Vec<Duration>>);

    impl Clock for Waits {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            self.0.lock().unwrap().push(duration);
            Box::pin(std::future::ready(()))
        }
    }

    fn faulty(faults: Faults) -> Faulty<Memory> {
        Faulty::new(Memory::default(), faults, Arc::new(SystemClock))
    }

    #[tokio::test]
    async fn a_put_that_fails_before_its_effect_stores_nothing() {
        let storage = faulty(Faults { seed: 7, failed_before: 1.0, ..Faults::none() });
        let error = storage.put(commit(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.sequence()), (ErrorKind::Unavailable, Some("1")));
        assert!(error.to_string().contains("seed 7"), "{error}");
        assert_eq!(storage.storage().latest(&commit(1).key).await.unwrap(), None);
        assert_eq!(storage.injected(), Injected { failed_before: 1, ..Injected::default() });
    }

    #[tokio::test]
    async fn a_put_whose_reply_is_lost_is_stored() {
        let storage = faulty(Faults { reply_lost: 1.0, ..Faults::none() });
        storage.put(commit(1)).await.unwrap_err();
        assert_eq!(storage.storage().latest(&commit(1).key).await.unwrap(), Some(commit(1).head()));
        assert_eq!(storage.injected(), Injected { replies_lost: 1, ..Injected::default() });
    }

    #[tokio::test]
    async fn a_read_fails_after_a_page() {
        let storage = faulty(Faults { broken_off: 1.0, ..Faults::none() });
        for number in 1..=600 {
            assert!(matches!(storage.put(commit(number)).await, Ok(Put::Stored)));
        }
        let pages: Vec<_> = storage.events(&commit(1).key, None).map(|page| page.is_ok()).collect().await;
        assert_eq!(pages, [true, false]);
    }

    #[tokio::test]
    async fn delays_use_the_given_clock() {
        let clock = Arc::new(Waits::default());
        let limit = Duration::from_secs(3_600);
        let faults = Faults { delayed: 1.0, longest_delay: limit, ..Faults::none() };
        let storage = Faulty::new(Memory::default(), faults, Arc::clone(&clock) as Arc<dyn Clock>);
        assert!(matches!(storage.put(commit(1)).await, Ok(Put::Stored)));
        let waits = clock.0.lock().unwrap().clone();
        assert_eq!(waits.len(), 2, "one delay before the put, and one before its reply");
        assert!(waits.iter().all(|wait| *wait <= limit), "{waits:?}");
    }

    #[tokio::test]
    async fn a_put_that_hangs_never_answers() {
        let storage = faulty(Faults { hung: 1.0, ..Faults::none() });
        assert!(storage.put(commit(1)).now_or_never().is_none());
        assert_eq!(storage.storage().latest(&commit(1).key).await.unwrap(), None);
        assert_eq!(storage.injected(), Injected { hung: 1, ..Injected::default() });
    }

    #[tokio::test]
    async fn a_hang_of_a_given_duration_uses_the_given_clock() {
        let clock = Arc::new(Waits::default());
        let hang = Duration::from_secs(30);
        let faults = Faults { hung: 1.0, hang: Some(hang), ..Faults::none() };
        let storage = Faulty::new(Memory::default(), faults, Arc::clone(&clock) as Arc<dyn Clock>);
        assert!(matches!(storage.put(commit(1)).await, Ok(Put::Stored)));
        assert_eq!(*clock.0.lock().unwrap(), [hang; 2], "before the put, and before its reply");
    }

    #[tokio::test]
    async fn all_calls_hang_until_they_are_resumed() {
        let storage = faulty(Faults::none());
        for number in 1..=600 {
            assert!(matches!(storage.put(commit(number)).await, Ok(Put::Stored)));
        }
        let key = commit(1).key.clone();
        let mut pages = storage.events(&key, None);
        assert!(pages.next().await.is_some());
        storage.source().hang();
        assert!(pages.next().now_or_never().is_none(), "the next page hangs");
        let latest = storage.latest(&key);
        tokio::pin!(latest);
        assert!(latest.as_mut().now_or_never().is_none());
        storage.source().resume();
        assert_eq!(latest.await.unwrap(), Some(commit(600).head()));
        assert_eq!(pages.count().await, 2);
    }

    #[tokio::test]
    async fn a_failing_stream_fails_until_it_is_healed() {
        let storage = faulty(Faults::none());
        let key = commit(1).key.clone();
        storage.source().fail_stream(key.clone());
        let error = storage.put(commit(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.stream()), (ErrorKind::Unavailable, Some("sample/a")));
        assert!(storage.latest(&key).await.is_err() && storage.recent(&key, 3).await.is_err());
        assert!(storage.events(&key, None).next().await.unwrap().is_err());
        assert_eq!(storage.latest(&StreamName::new("sample", "b").unwrap()).await.unwrap(), None);
        assert!(storage.source().heal_stream(&key));
        assert!(matches!(storage.put(commit(1)).await, Ok(Put::Stored)), "the first put had no effect");
        storage.source().fail_stream(key);
        assert!(storage.scan(Segment::ALL).next().await.unwrap().is_err());
        assert!(storage.heads(Segment::ALL).next().await.unwrap().is_err());
        assert_eq!(storage.injected().persistent, 6);
    }

    #[tokio::test]
    async fn the_same_seed_causes_the_same_faults() {
        async fn failures(seed: u64) -> Vec<bool> {
            let storage = faulty(Faults { delayed: 0.0, ..Faults::seeded(seed) });
            let mut failures = Vec::new();
            for number in 1..=100 {
                let mut failed = storage.put(commit(number)).await.is_err();
                failures.push(failed);
                while failed {
                    failed = storage.put(commit(number)).await.is_err();
                }
            }
            failures
        }
        assert_eq!(failures(1).await, failures(1).await);
        assert_ne!(failures(1).await, failures(2).await);
    }
}

//! Storage adapter that combines two storages of different kinds of streams.

use std::borrow::Cow;
use std::sync::Arc;

use either::Either::{self, Left, Right};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::contract::{CommitOf, Conflict, EventStorage, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use super::error::{ErrorKind, StorageError};
use super::page::Page;
use crate::commit::{Commit, Head};
use crate::stream::{Sequence, StreamKey};

/// Two storages of different kinds of streams, used as one.
///
/// A [`Left`] key names a stream of the left storage, and a [`Right`] key a stream of the right one. One view can then
/// follow the users and the groups of a service. Nest `EitherStorage` for three or more kinds.
///
/// The name of a stream must determine its side. A put to the right storage under a name that is also a key of the left
/// type is an error of kind `Invalid`. A put with a payload of the other side is an error of kind `Invalid` too, which
/// names the sequence of the event. In both cases nothing is stored.
///
/// The adapter converts the types of each commit. It moves the payloads of a commit that it holds alone, and clones
/// those of a shared commit.
#[derive(Debug, Clone)]
pub struct EitherStorage<L, R> {
    left: L,
    right: R,
}

impl<L, R> EitherStorage<L, R>
where
    L: EventStorage,
    R: EventStorage<Sequence = L::Sequence>,
{
    /// Combines `left` and `right`.
    pub fn new(left: L, right: R) -> Self {
        Self { left, right }
    }
}

/// `from_parts` tries the left type first, so a name that both types accept is a left key.
impl<L: StreamKey, R: StreamKey> StreamKey for Either<L, R> {
    fn category(&self) -> &str {
        either::for_both!(self, key => key.category())
    }

    fn id(&self) -> Cow<'_, str> {
        either::for_both!(self, key => key.id())
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        L::from_parts(category, id).map(Left).or_else(|| R::from_parts(category, id).map(Right))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<L, R> EventStorage for EitherStorage<L, R>
where
    L: EventStorage<Payload: Clone>,
    R: EventStorage<Sequence = L::Sequence, Payload: Clone>,
{
    type Key = Either<L::Key, R::Key>;
    type Sequence = L::Sequence;
    type Payload = Either<L::Payload, R::Payload>;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        match commit.key.clone() {
            Left(key) => {
                let put = self.left.put(inward(commit, key, Either::left)?).await?;
                Ok(outward_put(put, Left, Left))
            }
            Right(key) => {
                if L::Key::from_parts(key.category(), &key.id()).is_some() {
                    let what = "a stream of this name belongs to the left storage";
                    return Err(StorageError::new(ErrorKind::Invalid, what).on(&key).at(commit.first));
                }
                let put = self.right.put(inward(commit, key, Either::right)?).await?;
                Ok(outward_put(put, Right, Right))
            }
        }
    }

    async fn recent(&self, key: &Self::Key, count: usize) -> Result<Vec<Head<Self::Sequence>>, StorageError> {
        match key {
            Left(key) => self.left.recent(key, count).await,
            Right(key) => self.right.recent(key, count).await,
        }
    }

    async fn latest(&self, key: &Self::Key) -> Result<Option<Head<Self::Sequence>>, StorageError> {
        match key {
            Left(key) => self.left.latest(key).await,
            Right(key) => self.right.latest(key).await,
        }
    }

    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        match key {
            Left(key) => outward_pages(self.left.events(key, from), Left, Left),
            Right(key) => outward_pages(self.right.events(key, from), Right, Right),
        }
    }

    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        match key {
            Left(key) => outward_pages(self.left.events_after(key, end), Left, Left),
            Right(key) => outward_pages(self.right.events_after(key, end), Right, Right),
        }
    }
}

/// Delivers the streams of the left storage before those of the right one.
#[deny(clippy::missing_trait_methods)]
impl<L, R> ScanStorage for EitherStorage<L, R>
where
    L: ScanStorage<Payload: Clone>,
    R: ScanStorage<Sequence = L::Sequence, Payload: Clone>,
{
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let left = outward_pages(self.left.scan(segment), Left, Left);
        left.chain(outward_pages(self.right.scan(segment), Right, Right)).boxed()
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        let left = outward_heads(self.left.heads(segment), Left);
        left.chain(outward_heads(self.right.heads(segment), Right)).boxed()
    }
}

/// Converts a commit to the types of the storage that stores it.
fn inward<K: StreamKey, S: Sequence, E, KE: Clone, EE: Clone>(
    commit: Arc<Commit<KE, S, EE>>,
    key: K,
    own: impl Fn(EE) -> Option<E>,
) -> Result<Arc<Commit<K, S, E>>, StorageError> {
    let Commit { first, previous, time, metadata, payloads, .. } = Arc::unwrap_or_clone(commit);
    let numbers = &mut (first.number()..);
    let payloads = payloads.try_mapped(|payload| {
        let number = numbers.next().unwrap_or(u64::MAX);
        own(payload).ok_or_else(|| {
            let at = S::from_parts(number, first.zone()).unwrap_or(first);
            let what = "the payload belongs to a stream of the other storage";
            StorageError::new(ErrorKind::Invalid, what).on(&key).at(at)
        })
    })?;
    Ok(Arc::new(Commit { key, first, previous, time, metadata, payloads }))
}

/// Converts a stored commit to the types that callers see.
fn outward<K: Clone, S: Sequence, E: Clone, K2, E2>(
    commit: Arc<Commit<K, S, E>>,
    key: fn(K) -> K2,
    payload: fn(E) -> E2,
) -> Arc<Commit<K2, S, E2>> {
    Arc::new(Arc::unwrap_or_clone(commit).mapped(key, payload))
}

fn outward_put<K: Clone, S: Sequence, E: Clone, K2, E2>(
    put: Put<K, S, E>,
    key: fn(K) -> K2,
    payload: fn(E) -> E2,
) -> Put<K2, S, E2> {
    match put {
        Put::Stored => Put::Stored,
        Put::Repeated { last } => Put::Repeated { last },
        Put::Conflict(Conflict { existing, head }) => {
            let existing = existing.map(|commit| outward(commit, key, payload));
            Put::Conflict(Conflict { existing, head })
        }
    }
}

fn outward_pages<'a, K, S, E, K2, E2>(
    pages: BoxStream<'a, Result<Page<K, S, E>, StorageError>>,
    key: fn(K) -> K2,
    payload: fn(E) -> E2,
) -> BoxStream<'a, Result<Page<K2, S, E2>, StorageError>>
where
    K: StreamKey,
    S: Sequence,
    E: Clone + Send + Sync + 'a,
    K2: Send + 'a,
    E2: Send + 'a,
{
    pages.map_ok(move |page| page.filter_map_commits(|commit| Some(outward(commit, key, payload)))).boxed()
}

fn outward_heads<'a, K: StreamKey, S: Sequence, K2: 'a>(
    heads: BoxStream<'a, Result<Vec<(K, Head<S>)>, StorageError>>,
    key: fn(K) -> K2,
) -> BoxStream<'a, Result<Vec<(K2, Head<S>)>, StorageError>> {
    heads.map_ok(move |heads| heads.into_iter().map(|(inner, head)| (key(inner), head)).collect()).boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use vec1::{Vec1, vec1};

    use super::*;
    use crate::clock::Randomness;
    use crate::commit::Metadata;
    use crate::storage::memory::MemoryStorage;

    /// Key of a stream of one category.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct Of<const CATEGORY: char>(u32);

    impl<const CATEGORY: char> StreamKey for Of<CATEGORY> {
        fn category(&self) -> &str {
            match CATEGORY {
                'a' => "a",
                'b' => "b",
                _ => "c",
            }
        }

        fn id(&self) -> Cow<'_, str> {
            self.0.to_string().into()
        }

        fn from_parts(category: &str, id: &str) -> Option<Self> {
            let key = Self(id.parse().ok()?);
            (key.category() == category).then_some(key)
        }
    }

    type Memory<K, E> = MemoryStorage<K, u64, E>;

    fn commit<K, E>(key: K, first: u64, payloads: Vec1<E>) -> Arc<Commit<K, u64, E>> {
        let time = jiff::Timestamp::UNIX_EPOCH;
        let metadata = Metadata::new(Randomness::seeded(first).commit_id(time));
        let payloads = payloads.into();
        Arc::new(Commit { key, first, previous: None, time, metadata, payloads })
    }

    #[tokio::test]
    async fn a_payload_of_the_other_side_is_rejected_and_nothing_is_stored() {
        let storage =
            EitherStorage::new(Memory::<Of<'a'>, u8>::default(), Memory::<Of<'b'>, bool>::default());
        let error =
            storage.put(commit(Left(Of(1)), 7, vec1![Left(1), Right(true), Left(2)])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!((error.stream(), error.sequence()), (Some("a/1"), Some("8")));
        let error = storage.put(commit(Right(Of(1)), 1, vec1![Left(1)])).await.unwrap_err();
        assert_eq!((error.stream(), error.sequence()), (Some("b/1"), Some("1")));
        for key in [Left(Of(1)), Right(Of(1))] {
            assert_eq!(storage.latest(&key).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_name_that_both_sides_accept_is_rejected_on_the_right() {
        let storage = EitherStorage::new(Memory::<Of<'a'>, u8>::default(), Memory::<Of<'a'>, u8>::default());
        let error = storage.put(commit(Right(Of(1)), 1, vec1![Right(1)])).await.unwrap_err();
        assert_eq!((error.kind(), error.stream()), (ErrorKind::Invalid, Some("a/1")));
        assert_eq!(storage.latest(&Right(Of(1))).await.unwrap(), None);
        assert!(matches!(storage.put(commit(Left(Of(1)), 1, vec1![Left(1)])).await, Ok(Put::Stored)));
    }

    #[tokio::test]
    async fn nested_storages_combine_three_kinds() {
        let bc = EitherStorage::new(Memory::<Of<'b'>, bool>::default(), Memory::<Of<'c'>, String>::default());
        let storage = EitherStorage::new(Memory::<Of<'a'>, u8>::default(), bc);
        let commits = [
            commit(Left(Of(1)), 1, vec1![Left(1)]),
            commit(Right(Left(Of(1))), 1, vec1![Right(Left(true))]),
            commit(Right(Right(Of(1))), 1, vec1![Right(Right("c".to_owned()))]),
        ];
        for commit in &commits {
            assert!(matches!(storage.put(Arc::clone(commit)).await, Ok(Put::Stored)));
            assert!(matches!(storage.put(Arc::clone(commit)).await, Ok(Put::Repeated { last: 1 })));
            let key = &commit.key;
            assert_eq!(Either::from_parts(key.category(), &key.id()).as_ref(), Some(key));
        }
        let pages: Vec<_> = storage.scan(Segment::ALL).try_collect().await.unwrap();
        let scanned: Vec<_> = pages.iter().flat_map(Page::commits).collect();
        assert_eq!(scanned, commits.iter().collect::<Vec<_>>());
        let heads: Vec<_> = storage.heads(Segment::ALL).try_collect().await.unwrap();
        assert_eq!(heads.concat(), commits.map(|commit| (commit.key.clone(), commit.head())));
    }

    #[tokio::test]
    async fn payloads_are_cloned_only_if_the_commit_is_shared() {
        static CLONES: AtomicUsize = AtomicUsize::new(0);
        #[derive(Debug)]
        struct Counting;
        impl Clone for Counting {
            fn clone(&self) -> Self {
                CLONES.fetch_add(1, Ordering::Relaxed);
                Self
            }
        }
        let storage =
            EitherStorage::new(Memory::<Of<'a'>, Counting>::default(), Memory::<Of<'b'>, u8>::default());
        assert!(matches!(storage.put(commit(Left(Of(1)), 1, vec1![Left(Counting)])).await, Ok(Put::Stored)));
        assert_eq!(CLONES.load(Ordering::Relaxed), 0, "the storage held the commit alone");
        let shared = commit(Left(Of(1)), 2, vec1![Left(Counting)]);
        assert!(matches!(storage.put(Arc::clone(&shared)).await, Ok(Put::Stored)));
        assert_eq!(CLONES.load(Ordering::Relaxed), 1, "the caller still held the commit");
        drop(storage.events(&Left(Of(1)), None).next().await);
        assert_eq!(CLONES.load(Ordering::Relaxed), 3, "the memory storage still held both");
    }
}

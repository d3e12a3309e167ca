//! Three storages of different types combined into one with sample keys and payloads, as the suites need it.

use std::borrow::Cow;
use std::sync::Arc;

use eventsrc_core::storage::Page;
use eventsrc_core::storage::{
    CommitOf, Conflict, Either, EitherStorage, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment,
};
use eventsrc_core::{Commit, EventStorage, Head, MemoryStorage, Sequence, StorageError, StreamKey};
use eventsrc_testkit::conformance::{Sample, SampleKey};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

type Memory<const SIDE: usize, S> = Arc<MemoryStorage<SideKey<SIDE>, S, Sample>>;
pub(super) type Memories<S> = (Memory<0, S>, Memory<1, S>, Memory<2, S>);
type Three<S> = EitherStorage<Memory<0, S>, EitherStorage<Memory<1, S>, Memory<2, S>>>;
type Key = Either<SideKey<0>, Either<SideKey<1>, SideKey<2>>>;
type Payload = Either<Sample, Either<Sample, Sample>>;

/// A key of one of three types. The type depends on the name, so that names of every shape occur in each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SideKey<const SIDE: usize>(SampleKey);

impl<const SIDE: usize> StreamKey for SideKey<SIDE> {
    fn category(&self) -> &str {
        &self.0.category
    }

    fn id(&self) -> Cow<'_, str> {
        (&self.0.id).into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        let side = category.bytes().chain(id.bytes()).map(usize::from).sum::<usize>() % 3;
        (side == SIDE).then(|| Self((category, id).into()))
    }
}

/// The three storages as one; see the module.
pub(super) struct OneKind<S: Sequence>(Three<S>);

impl<S: Sequence> OneKind<S> {
    pub(super) fn of((a, b, c): &Memories<S>) -> Self {
        Self(EitherStorage::new(Arc::clone(a), EitherStorage::new(Arc::clone(b), Arc::clone(c))))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Sequence> EventStorage for OneKind<S> {
    type Key = SampleKey;
    type Sequence = S;
    type Payload = Sample;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        Ok(match self.0.put(inward(&commit)).await? {
            Put::Stored => Put::Stored,
            Put::Repeated { last } => Put::Repeated { last },
            Put::Conflict(Conflict { existing, head }) => {
                Put::Conflict(Conflict { existing: existing.as_ref().map(outward), head })
            }
        })
    }

    async fn recent(&self, key: &SampleKey, count: usize) -> Result<Vec<Head<S>>, StorageError> {
        self.0.recent(&side(key), count).await
    }

    async fn latest(&self, key: &SampleKey) -> Result<Option<Head<S>>, StorageError> {
        self.0.latest(&side(key)).await
    }

    fn events(&self, key: &SampleKey, from: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.0.events(&side(key), from).map_ok(move |page| outward_page(&page, from)).boxed()
    }

    fn events_after(
        &self,
        key: &SampleKey,
        end: Option<S>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        // A page after the end of a commit begins with a whole commit.
        self.0.events_after(&side(key), end).map_ok(|page| outward_page(&page, None)).boxed()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Sequence> ScanStorage for OneKind<S> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let outward = |page: PageOf<Three<S>>| Page::new(page.commits().iter().map(outward).collect());
        self.0.scan(segment).map_ok(outward).boxed()
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        let outward = |heads: HeadsOf<Three<S>>| heads.into_iter().map(|(key, head)| (sample(key), head));
        self.0.heads(segment).map_ok(move |heads| outward(heads).collect()).boxed()
    }
}

fn outward_page<S: Sequence>(page: &PageOf<Three<S>>, from: Option<S>) -> PageOf<OneKind<S>> {
    Page::starting_at(Arc::new(page.commits().iter().map(outward).collect()), from)
}

fn side(key: &SampleKey) -> Key {
    Key::from_parts(&key.category, &key.id).expect("every name is of one of the three")
}

fn sample(key: Key) -> SampleKey {
    key.either(|of| of.0, |key| key.either(|of| of.0, |of| of.0))
}

fn inward<S: Sequence>(commit: &Commit<SampleKey, S, Sample>) -> Arc<Commit<Key, S, Payload>> {
    let key = side(&commit.key);
    let payload = |payload: Sample| match &key {
        Either::Left(_) => Either::Left(payload),
        Either::Right(Either::Left(_)) => Either::Right(Either::Left(payload)),
        Either::Right(Either::Right(_)) => Either::Right(Either::Right(payload)),
    };
    let payloads = commit.payloads.clone().mapped(payload);
    Arc::new(Commit {
        key,
        first: commit.first,
        previous: commit.previous,
        time: commit.time,
        metadata: commit.metadata.clone(),
        payloads,
    })
}

fn outward<S: Sequence>(commit: &Arc<Commit<Key, S, Payload>>) -> Arc<Commit<SampleKey, S, Sample>> {
    let payloads =
        commit.payloads.clone().mapped(|payload| payload.map_right(Either::into_inner).into_inner());
    Arc::new(Commit {
        key: sample(commit.key.clone()),
        first: commit.first,
        previous: commit.previous,
        time: commit.time,
        metadata: commit.metadata.clone(),
        payloads,
    })
}

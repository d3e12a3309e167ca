//! The feed of all commits of a storage.

use std::collections::BTreeSet;
use std::sync::Arc;

use eventsrc_core::clock::SystemClock;
use eventsrc_core::feed::{Change, ChangeFeed, ScanFeed};
use eventsrc_core::storage::{Either, EitherStorage, MapSequence, Merged, Put, ScanStorage};
use eventsrc_core::stream::{Zone, ZonedSequence};
use eventsrc_core::{ErrorKind, EventStorage, MemoryStorage, Sequence, StreamKey, StreamName};
use eventsrc_sqlite::{Database, SqliteStorage};
use eventsrc_testkit::conformance::{Sample, Unreadable};
use eventsrc_testkit::{Faults, Faulty};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::reader::{Reader, stored};
use super::{Memory, Samples, commit, fill, name, next, sqlite, store};

#[tokio::test]
async fn a_scan_delivers_every_commit_once_and_ends() {
    async fn on<St: Samples>(storage: St) {
        fill(&storage, 30).await;
        let stored = stored(&storage).await;
        for (segments, at_once) in [(0, 0), (1, 8), (4, 2), (200, 7)] {
            let mut reader = Reader::new(storage.clone());
            let mut feed = ScanFeed::new(storage.clone(), segments, at_once);
            while let Some(delivery) = feed.next().await.unwrap() {
                reader.take(delivery).await;
            }
            assert!(feed.next().await.unwrap().is_none(), "it stays at its end");
            assert_eq!((reader.commits, reader.streams, reader.anything), (90, 0, 0));
            assert_eq!(reader.held, stored, "{segments} segments, {at_once} at once");
        }
    }
    on(Memory::default()).await;
    let (_folder, storage) = sqlite(4).await;
    on(storage).await;
}

#[tokio::test]
async fn an_empty_storage_ends_at_once() {
    assert!(ScanFeed::new(Memory::default(), 4, 4).next().await.unwrap().is_none());
}

#[tokio::test]
async fn each_page_is_a_delivery() {
    let (_folder, storage) = sqlite(4).await;
    let put = fill(&storage, 6).await;
    let mut feed = ScanFeed::new(storage, 1, 1);
    for page in put.chunks(4) {
        assert_eq!(super::commits(next(&mut feed).await), page);
    }
    assert!(feed.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_cancelled_scan_resumes_at_the_same_page() {
    async fn on<St: Samples>(storage: St) {
        fill(&storage, 30).await;
        for seed in 1..=10 {
            println!("seed {seed}");
            let mut reader = Reader::new(storage.clone());
            let feed = ScanFeed::new(storage.clone(), 3, 2);
            reader.follow(feed, &mut StdRng::seed_from_u64(seed)).await;
            assert_eq!((reader.commits, reader.streams), (90, 0), "seed {seed}");
            assert_eq!(reader.held, stored(&storage).await, "seed {seed}");
        }
    }
    on(Memory::default()).await;
    let (_folder, storage) = sqlite(4).await;
    on(storage).await;
}

#[tokio::test]
async fn a_scan_with_random_failures_delivers_every_commit() {
    let (_folder, storage) = sqlite(4).await;
    fill(&storage, 20).await;
    let mut errors = 0;
    for seed in 1..=5 {
        println!("seed {seed}");
        let faulty = Faulty::new(storage.clone(), Faults::seeded(seed), Arc::new(SystemClock));
        let mut reader = Reader::new(storage.clone());
        reader.follow(ScanFeed::new(faulty, 4, 2), &mut StdRng::seed_from_u64(seed)).await;
        assert_eq!((reader.streams, reader.anything), (0, 0), "seed {seed}");
        assert_eq!(reader.held, stored(&storage).await, "seed {seed}");
        errors += reader.errors;
    }
    assert!(errors > 10, "there were {errors} faults");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stops_its_own_stream_only() {
    let (_folder, storage) = sqlite(4).await;
    fill(&storage, 10).await;
    let readable = stored(&storage).await;
    let mut broken = (*commit(&name("5"), 7, 3)).clone();
    broken.payloads[1] = Sample::Unreadable(Unreadable);
    store(&storage, &broken.into()).await;
    let after = [commit(&name("6"), 7, 1), commit(&name("a stream that was made later"), 1, 1)];
    for commit in &after {
        store(&storage, commit).await;
    }
    for segments in [1, 3] {
        let mut reader = Reader::new(storage.clone());
        reader.follow(ScanFeed::new(storage.clone(), segments, 2), &mut StdRng::seed_from_u64(1)).await;
        assert_eq!(reader.unreadable, BTreeSet::from([name("5")]));
        let mut expected = readable.clone();
        for commit in &after {
            expected.entry(commit.key.clone()).or_default().insert(commit.first, commit.clone());
        }
        assert_eq!(reader.held, expected);
    }
}

/// The first storage has events 1 and 2 in one commit, and the second has events 1 to 4 in one. Events 1 and 2 of the
/// second are not those of the merged storage.
#[tokio::test]
async fn a_partly_visible_commit_is_not_delivered() {
    let (first, second) = (Memory::default(), Memory::default());
    let (whole, cut) = (commit(&name("a"), 1, 2), commit(&name("a"), 1, 4));
    store(&first, &whole).await;
    store(&second, &cut).await;
    let mut feed = ScanFeed::new(Merged::new(first, second), 1, 1);
    let mut changes = next(&mut feed).await;
    changes.extend(next(&mut feed).await);
    match changes.as_slice() {
        [Change::Commit(commit), Change::Stream(key)] => assert_eq!((key, commit), (&cut.key, &whole)),
        other => panic!("{other:?}"),
    }
    assert!(feed.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_permanent_error_ends_the_scan() {
    let memory = Arc::new(MemoryStorage::<StreamName, ZonedSequence, Sample>::default());
    let elsewhere = (*commit(&name("a"), 1, 1)).clone();
    let put = eventsrc_core::Commit {
        first: ZonedSequence::first(Zone(7)),
        previous: None,
        key: elsewhere.key,
        time: elsewhere.time,
        metadata: elsewhere.metadata,
        payloads: elsewhere.payloads,
    };
    assert!(matches!(memory.put(put.into()).await, Ok(Put::Stored)));
    let here = |zoned: ZonedSequence| (zoned.zone() == Zone(1)).then(|| zoned.number());
    let storage = MapSequence::new(memory, |number| ZonedSequence::from_parts(number, Zone(1)), here);
    let mut feed = ScanFeed::new(storage, 1, 1);
    let error = feed.next().await.unwrap_err();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::Invalid, Some("sample/a")));
    assert!(feed.next().await.unwrap().is_none());
}

/// Two categories in one file, with a payload type each.
#[tokio::test]
async fn combined_storages_are_scanned_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("fed.db")).await.unwrap();
    let users: SqliteStorage<NumberedKey<'u'>, u64, String> = SqliteStorage::new(&database);
    let groups: SqliteStorage<NumberedKey<'g'>, u64, u32> = SqliteStorage::new(&database);
    let storage = EitherStorage::new(users.clone(), groups.clone());
    for id in 0..20 {
        let user = typed(Either::Left(NumberedKey(id)), Either::Left(format!("user {id}")));
        let group = typed(Either::Right(NumberedKey(id)), Either::Right(id));
        assert!(matches!(storage.put(user).await, Ok(Put::Stored)));
        assert!(matches!(storage.put(group).await, Ok(Put::Stored)));
    }
    let all = payloads(ScanFeed::new(storage, 3, 2)).await;
    let expected: BTreeSet<_> =
        (0..20).flat_map(|id| [Either::Left(format!("user {id}")), Either::Right(id)]).collect();
    assert_eq!(all.len(), 40);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(payloads(ScanFeed::new(users, 3, 2)).await.len(), 20);
    assert_eq!(payloads(ScanFeed::new(groups, 3, 2)).await.len(), 20);
}

/// All payloads that a feed delivers.
async fn payloads<St: ScanStorage<Payload: Clone>>(mut feed: ScanFeed<St>) -> Vec<St::Payload> {
    let mut payloads = Vec::new();
    while let Some(delivery) = feed.next().await.unwrap() {
        for commit in super::commits(delivery.changes) {
            payloads.extend(commit.payloads.iter().cloned());
        }
    }
    payloads
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct NumberedKey<const CATEGORY: char>(u32);

impl<const CATEGORY: char> StreamKey for NumberedKey<CATEGORY> {
    fn category(&self) -> &str {
        if CATEGORY == 'u' { "user" } else { "group" }
    }

    fn id(&self) -> std::borrow::Cow<'_, str> {
        self.0.to_string().into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        let key = Self(id.parse().ok()?);
        (key.category() == category).then_some(key)
    }
}

fn typed<K, E>(key: K, payload: E) -> Arc<eventsrc_core::Commit<K, u64, E>> {
    let like = (*commit(&name("like"), 1, 1)).clone();
    let payloads = eventsrc_core::commit::vec1![payload].into();
    Arc::new(eventsrc_core::Commit {
        key,
        first: 1,
        previous: None,
        time: like.time,
        metadata: like.metadata,
        payloads,
    })
}

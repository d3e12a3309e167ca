//! Reading in pages, and several kinds of streams in one schema.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use eventsrc_core::codec::Postcard;
use eventsrc_core::commit::vec1;
use eventsrc_core::storage::Page;
use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::stream::{Zone, ZonedSequence};
use eventsrc_core::{Commit, CommitId, ErrorKind, EventStorage, Metadata, Sequence, StreamKey, Timestamp};
use eventsrc_postgres::{Postgres, PostgresStorage, Settings};
use futures::TryStreamExt;

use super::{Storage, assert_says, commit, commits, database, name, open, open_with, store};

fn texts<K, S: Sequence>(page: &Page<K, S, String>) -> Vec<String> {
    page.events().map(|event| event.payload.clone()).collect()
}

fn pages_of(commits_per_page: usize) -> Settings {
    Settings { commits_per_page, ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_bounded_by_commits_and_by_bytes() {
    let settings = Settings { bytes_per_page: 10_000, ..pages_of(4) };
    let storage = open_with(&database().await, settings).await;
    let (small, large) = ("s".repeat(10), "l".repeat(6_000));
    for first in 1..=10 {
        store(&storage, &commit("user/1", first, &[&small])).await;
        store(&storage, &commit("user/2", first, &[&large])).await;
        store(&storage, &commit("user/3", first, &[&large.repeat(2)])).await;
    }
    let pages = async |stream: &str| -> Vec<usize> {
        let pages: Vec<_> = storage.events(&name(stream), None).try_collect().await.unwrap();
        pages.iter().map(|page| page.commits().len()).collect()
    };
    assert_eq!(pages("user/1").await, [4, 4, 2]);
    assert_eq!(pages("user/2").await, [2, 2, 2, 2, 2]);
    assert_eq!(pages("user/3").await, [1; 10]);
    let scanned: Vec<_> = storage.scan(Segment::ALL).try_collect().await.unwrap();
    assert_eq!(scanned.iter().map(|page| page.commits().len()).sum::<usize>(), 30);
    for page in &scanned {
        let large = page.events().filter(|event| event.payload.len() > 1_000).count();
        assert!(page.commits().len() <= 4 && large <= 2, "{large} large ones in a page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_begin_inside_a_commit_on_any_page() {
    let storage = open_with(&database().await, pages_of(2)).await;
    let all: Vec<String> = (1..=15).map(|number| format!("event {number}")).collect();
    for (index, payloads) in all.chunks(3).enumerate() {
        let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
        store(&storage, &commit("user/1", 3 * index as u64 + 1, &payloads)).await;
    }
    for from in 1..=18 {
        let pages: Vec<_> = storage.events(&name("user/1"), Some(from)).try_collect().await.unwrap();
        let read: Vec<String> = pages.iter().flat_map(texts).collect();
        assert_eq!(read, all[(from as usize - 1).min(all.len())..], "from {from}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_any_size_can_be_followed() {
    let storage = open(&database().await).await;
    let mut next = 1;
    for size in [1, 2, 3, 4, 5, 6, 7, 40, 1, 1] {
        let draft = commit("user/1", next, &vec!["event"; size]);
        let hole = commit("user/1", next + 1, &["event"]);
        let error = storage.put(hole).await.unwrap_err();
        assert_says(&error, ErrorKind::Diverged, &["the history differs"]);
        store(&storage, &draft).await;
        for inside in next..next + size as u64 {
            let put = storage.put(commit("user/1", inside, &["other"])).await.unwrap();
            let Put::Conflict(conflict) = put else { panic!("{inside} is taken: {put:?}") };
            assert_eq!(conflict.existing, Some(Arc::clone(&draft)), "at {inside}");
            assert_eq!(conflict.head, Some(draft.head()), "at {inside}");
        }
        next += size as u64;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_reader_blocks_no_writer_and_sees_complete_commits() {
    let storage = open_with(&database().await, pages_of(1)).await;
    store(&storage, &commit("user/1", 1, &["a", "b"])).await;
    let key = name("user/1");
    let mut pages = storage.events(&key, Some(2));
    assert_eq!(texts(&pages.try_next().await.unwrap().unwrap()), ["b"]);
    store(&storage, &commit("user/1", 3, &["c", "d"])).await;
    assert_eq!(texts(&pages.try_next().await.unwrap().unwrap()), ["c", "d"]);
    assert!(pages.try_next().await.unwrap().is_none());
}

/// The key of a group, which has a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Group(u32);

impl StreamKey for Group {
    fn category(&self) -> &str {
        "group"
    }

    fn id(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        (category == "group").then(|| id.parse().ok().map(Self))?
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn storages_of_several_types_share_a_schema() {
    let postgres = Postgres::connect_with(&database().await, pages_of(2)).await.unwrap();
    let users: Storage = PostgresStorage::new(&postgres);
    let groups: PostgresStorage<Group, ZonedSequence, (u32, bool), Postcard> =
        PostgresStorage::with_codec(&postgres, Postcard);
    for id in 0..30 {
        store(&users, &commit(&format!("user/{id}"), 1, &["a"])).await;
    }
    let first = ZonedSequence::first(Zone(3));
    let commit_id = commit("group/7", 1, &["for its id"]).metadata.commit_id;
    let draft = Arc::new(Commit {
        key: Group(7),
        first,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata { actor: Some("Ada".into()), ..Metadata::new(commit_id) },
        payloads: vec1![(1, true), (2, false)].into(),
    });
    assert!(matches!(groups.put(Arc::clone(&draft)).await.unwrap(), Put::Stored));
    let scanned: Vec<_> = groups.scan(Segment::ALL).try_collect().await.unwrap();
    assert_eq!(scanned.iter().flat_map(|page| page.commits().to_vec()).collect::<Vec<_>>(), [draft]);
    let heads: Vec<_> = groups.heads(Segment::ALL).try_collect().await.unwrap();
    let head = groups.latest(&Group(7)).await.unwrap().unwrap();
    assert_eq!(heads, [vec![(Group(7), head)]]);
    assert_eq!((head.sequence.number(), head.sequence.zone()), (2, Zone(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_partition_streams_and_their_heads() {
    let storage = open_with(&database().await, pages_of(7)).await;
    for first in 1..=3 {
        for id in 0..20 {
            store(&storage, &commit(&format!("user/{id}"), first, &["a"])).await;
        }
    }
    let mut seen = BTreeSet::new();
    for segment in Segment::split(3) {
        let pages: Vec<_> = storage.scan(segment).try_collect().await.unwrap();
        let found: Vec<_> = pages.iter().flat_map(|page| page.commits().to_vec()).collect();
        let streams: BTreeSet<_> = found.iter().map(|commit| commit.key.clone()).collect();
        assert!(!streams.is_empty() && streams.is_disjoint(&seen), "segment {segment:?}");
        assert_eq!(found.len(), 3 * streams.len());
        let heads: Vec<_> = storage.heads(segment).try_collect().await.unwrap();
        assert!(heads.iter().all(|page| page.len() <= 7), "{heads:?}");
        let heads: Vec<_> = heads.concat();
        assert!(heads.iter().all(|(_, head)| head.sequence == 3), "{heads:?}");
        assert_eq!(heads.into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>(), streams);
        seen.extend(streams);
    }
    assert_eq!(seen.len(), 20);
}

/// A key whose parsed form differs from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Forgetful;

impl StreamKey for Forgetful {
    fn category(&self) -> &str {
        "forgetful"
    }

    fn id(&self) -> Cow<'_, str> {
        "1".into()
    }

    fn from_parts(_: &str, _: &str) -> Option<Self> {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_scan_would_not_find_is_not_stored() {
    let postgres = Postgres::connect(&database().await).await.unwrap();
    let storage: PostgresStorage<Forgetful, u64, String> = PostgresStorage::new(&postgres);
    let CommitId(id) = commit("a/1", 1, &["for its id"]).metadata.commit_id;
    let draft = Commit {
        key: Forgetful,
        first: 1,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new(CommitId(id)),
        payloads: vec1!["a".to_owned()].into(),
    };
    let error = storage.put(draft.into()).await.unwrap_err();
    assert_says(&error, ErrorKind::Invalid, &["forgetful/1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_another_codec_is_an_error() {
    let postgres = Postgres::connect(&database().await).await.unwrap();
    let storage: Storage = PostgresStorage::new(&postgres);
    store(&storage, &commit("user/1", 1, &["a"])).await;
    let other: PostgresStorage<_, u64, String, _> = PostgresStorage::with_codec(&postgres, Postcard);
    let error = other.events(&name("user/1"), None).try_next().await.unwrap_err();
    assert_says(&error, ErrorKind::Corrupt, &["it is text", "user/1", "sequence 1"]);
    assert_eq!(commits(&storage, "user/1").await.len(), 1);
}

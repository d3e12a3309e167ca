//! Group commit: puts that wait together share one transaction, and nothing else.

use std::pin::pin;
use std::sync::Arc;

use eventsrc_core::clock::Randomness;
use eventsrc_core::codec::{Codec, CodecError};
use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, StreamName};
use eventsrc_postgres::{Postgres, PostgresStorage, Settings};
use futures::future::{join_all, poll_immediate};
use tokio_postgres::Client;

use super::{
    Draft, PutResult, Storage, assert_says, client, commit, commits, database, name, open, store,
    transactions, until_waiting,
};

/// Locks out all writers from another session until it ends its transaction, so that puts queue up.
async fn hold(other: &Client) {
    other.batch_execute("BEGIN; LOCK TABLE eventsrc.commits IN SHARE MODE").await.unwrap();
}

async fn release(other: &Client) {
    other.batch_execute("COMMIT").await.unwrap();
}

/// One group at a time, so that the contents of the next one are certain.
fn one_group() -> Settings {
    Settings { groups_in_flight: 1, ..Settings::default() }
}

/// Puts the drafts while nothing can be stored: the first alone, so that the others wait together.
async fn put_together(storage: &Storage, other: &Client, drafts: &[Draft]) -> Vec<PutResult> {
    hold(other).await;
    let mut puts = Vec::new();
    for draft in drafts {
        let mut put = Box::pin(storage.put(Arc::clone(draft)));
        assert!(poll_immediate(&mut put).await.is_none(), "nothing can be stored yet");
        if puts.is_empty() {
            until_waiting(other, 1).await;
        }
        puts.push(put);
    }
    release(other).await;
    join_all(puts).await
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_that_wait_together_share_one_transaction() {
    let url = database().await;
    let postgres = Postgres::connect_with(&url, one_group()).await.unwrap();
    let other = client(&url).await;
    let drafts: Vec<_> = (0..64).map(|id| commit(&format!("user/{id}"), 1, &["here"])).collect();
    for put in put_together(&PostgresStorage::new(&postgres), &other, &drafts).await {
        assert!(matches!(put.unwrap(), Put::Stored));
    }
    assert_eq!((postgres.disk_commits(), transactions(&other).await), (2, 2), "the first, and the others");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_busy_writers_share_transactions() {
    let url = database().await;
    let postgres = Postgres::connect(&url).await.unwrap();
    let storage: Storage = PostgresStorage::new(&postgres);
    let writer = |id: u64| {
        let storage = storage.clone();
        tokio::spawn(async move {
            for first in 1..=25 {
                store(&storage, &commit(&format!("user/{id}"), first, &["here"])).await;
            }
        })
    };
    for done in join_all((0..64).map(writer)).await {
        done.unwrap();
    }
    let transactions = transactions(&client(&url).await).await;
    assert_eq!(postgres.disk_commits(), transactions);
    assert!(transactions <= 64 * 25 / 10, "{transactions} transactions for {} commits", 64 * 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_ends_where_the_settings_say() {
    let url = database().await;
    let settings = Settings { commits_per_group: 10, bytes_per_group: 1000, ..one_group() };
    let postgres = Postgres::connect_with(&url, settings).await.unwrap();
    let other = client(&url).await;
    let (small, large) = ("s".repeat(10), "l".repeat(400));
    let drafts = |text: &str, first| -> Vec<_> {
        (0..21).map(|id| commit(&format!("user/{id}"), first, &[text])).collect()
    };
    let storage = PostgresStorage::new(&postgres);
    for (text, first, groups) in [(small, 1, 1 + 2), (large, 2, 1 + 10)] {
        let before = postgres.disk_commits();
        for put in put_together(&storage, &other, &drafts(&text, first)).await {
            assert!(matches!(put.unwrap(), Put::Stored));
        }
        assert_eq!(postgres.disk_commits() - before, groups, "{text}");
    }
    assert_eq!(postgres.disk_commits(), transactions(&other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_one_stream_that_wait_together_go_in_one_after_the_other() {
    let url = database().await;
    let postgres = Postgres::connect(&url).await.unwrap();
    let other = client(&url).await;
    let storage = PostgresStorage::new(&postgres);
    store(&storage, &commit("user/1", 1, &["here"])).await;
    let drafts =
        [commit("user/2", 1, &["here"]), commit("user/1", 2, &["a", "b"]), commit("user/1", 4, &["c"])];
    for put in put_together(&storage, &other, &drafts).await {
        assert!(matches!(put.unwrap(), Put::Stored));
    }
    assert_eq!(commits(&storage, "user/1").await[1..], drafts[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_put_does_not_fail_the_others_of_its_group() {
    let url = database().await;
    let postgres = Postgres::connect_with(&url, one_group()).await.unwrap();
    let other = client(&url).await;
    other
        .batch_execute("ALTER TABLE eventsrc.commits ADD CHECK (payload_text NOT LIKE '%forbidden%')")
        .await
        .unwrap();
    let random = Randomness::from_system();
    // An index cannot hold such a long name, and compression does not shorten it.
    let long: String =
        (0..200).map(|_| random.commit_id(eventsrc_core::Timestamp::UNIX_EPOCH).to_string()).collect();
    let mut drafts: Vec<_> = (0..20).map(|id| commit(&format!("user/{id}"), 1, &["here"])).collect();
    drafts[7] = commit("user/7", 1, &["forbidden"]);
    drafts[13] = commit(&format!("user/{long}"), 1, &["here"]);
    let storage = PostgresStorage::new(&postgres);
    let puts = put_together(&storage, &other, &drafts).await;
    for (draft, put) in drafts.iter().zip(puts) {
        let stream = draft.key.as_str();
        match put {
            Ok(put) => assert!(matches!(put, Put::Stored), "{stream}: {put:?}"),
            Err(error) if stream == "user/7" => {
                assert_says(&error, ErrorKind::Invalid, &["constraint", stream, "sequence 1"]);
            }
            Err(error) => {
                assert!(stream.contains(&long), "{stream}: {error:?}");
                assert_says(
                    &error,
                    ErrorKind::Invalid,
                    &["larger than Postgres allows", stream, "sequence 1"],
                );
                assert!(std::error::Error::source(&error).is_some(), "{error:?}");
            }
        }
    }
    let stored: i64 = other.query_one("SELECT count(*) FROM eventsrc.commits", &[]).await.unwrap().get(0);
    assert_eq!(stored, 18);
}

/// A codec that keeps text unchanged, including control characters.
struct Plain;

impl Codec<String> for Plain {
    fn version(&self) -> u32 {
        1
    }

    fn is_text(&self) -> bool {
        true
    }

    fn encode(&self, value: &String, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        bytes.extend(value.bytes());
        Ok(())
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<String, CodecError> {
        String::from_utf8(bytes.to_vec())
            .map_err(|error| CodecError::Malformed { version, source: error.into() })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_that_postgres_cannot_store_is_invalid() {
    let url = database().await;
    let postgres = Postgres::connect(&url).await.unwrap();
    let plain: PostgresStorage<StreamName, u64, String, _> = PostgresStorage::with_codec(&postgres, Plain);
    let error = plain.put(commit("user/1", 1, &["a", "b\0c"])).await.unwrap_err();
    assert_says(&error, ErrorKind::Invalid, &["user/1", "sequence 1"]);
    assert!(format!("{error:?}").contains("U+0000"), "{error:?}");
    assert_eq!(plain.latest(&name("user/1")).await.unwrap(), None);
    // JSON escapes the character.
    let json: Storage = PostgresStorage::new(&postgres);
    let draft = commit("user/1", 1, &["b\0c"]);
    store(&json, &draft).await;
    assert_eq!(commits(&json, "user/1").await, [draft]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_put_is_stored_completely_or_not_at_all() {
    let url = database().await;
    let (storage, other) = (open(&url).await, client(&url).await);
    let draft = commit("user/1", 1, &["a", "b"]);
    hold(&other).await;
    {
        let put = pin!(storage.put(Arc::clone(&draft)));
        assert!(poll_immediate(put).await.is_none(), "nothing can be stored yet");
    }
    release(&other).await;
    // It is stored if it was sent before its caller gave up.
    let again = storage.put(Arc::clone(&draft)).await.unwrap();
    assert!(matches!(again, Put::Stored | Put::Repeated { last: 2 }), "{again:?}");
    assert_eq!(commits(&storage, "user/1").await, [draft]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_changes_nothing_costs_no_sync() {
    let url = database().await;
    let postgres = Postgres::connect(&url).await.unwrap();
    let storage: Storage = PostgresStorage::new(&postgres);
    let draft = commit("user/1", 1, &["a"]);
    store(&storage, &draft).await;
    let other = client(&url).await;
    assert!(matches!(storage.put(draft).await.unwrap(), Put::Repeated { last: 1 }));
    let conflict = storage.put(commit("user/1", 1, &["b"])).await.unwrap();
    assert!(matches!(conflict, Put::Conflict(_)));
    let hole = storage.put(commit("user/1", 3, &["b"])).await.unwrap_err();
    assert_says(&hole, ErrorKind::Diverged, &["sequence 1", "user/1", "sequence 2"]);
    assert_eq!((postgres.disk_commits(), transactions(&other).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_race_for_one_stream_store_each_sequence_once() {
    let url = database().await;
    let handles = join_all((0..3).map(|_| open(&url))).await;
    let writers = (0..12).map(|writer| {
        let storage = handles[writer % handles.len()].clone();
        tokio::spawn(async move {
            let mut won = 0;
            for first in 1..=40 {
                match storage.put(commit("user/1", first, &["a"])).await.unwrap() {
                    Put::Stored => won += 1,
                    Put::Repeated { .. } => panic!("no commit was put twice"),
                    Put::Conflict(conflict) => {
                        assert_eq!(conflict.existing.map(|existing| existing.first), Some(first));
                        assert!(conflict.head.is_some_and(|head| head.sequence >= first));
                    }
                }
            }
            won
        })
    });
    let won: u64 = join_all(writers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(won, 40);
    for storage in &handles {
        assert_eq!(commits(storage, "user/1").await.len(), 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_whose_groups_share_streams_do_not_deadlock() {
    let url = database().await;
    let handles = join_all((0..3).map(|_| open(&url))).await;
    let writers = (0..96).map(|writer: usize| {
        let storage = handles[writer % handles.len()].clone();
        tokio::spawn(async move {
            for round in 1..=15_u64 {
                // Each handle writes to the streams in another order.
                let stream = format!("user/{}", (writer / 3 * (2 * (writer % 3) + 1)) % 32);
                let put = storage.put(commit(&stream, round, &["a"])).await.unwrap();
                assert!(matches!(put, Put::Stored | Put::Conflict(_)), "{put:?}");
            }
        })
    });
    for done in join_all(writers).await {
        done.unwrap();
    }
}

/// Stores a commit without the library, in a transaction that stays open.
async fn begin_to_store(other: &Client, draft: &Draft, bucket: i16) {
    other.batch_execute("BEGIN").await.unwrap();
    let sql = "INSERT INTO eventsrc.commits (bucket, category, id, number, zone, count, time, commit_id, version, payload_text)
               VALUES ($1, $2, $3, $4, 0, 1, 0, $5, 1, '[\"theirs\"]')";
    let parts = (draft.key.category(), draft.key.id(), draft.first as i64);
    other.execute(sql, &[&bucket, &parts.0, &parts.1, &parts.2, &draft.metadata.commit_id.0]).await.unwrap();
}

/// The bucket of `user/1`.
const BUCKET: i16 = 232;

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_an_uncommitted_row_is_reported_after_its_commit() {
    let url = database().await;
    let (storage, other, watcher) = (open(&url).await, client(&url).await, client(&url).await);
    store(&storage, &commit("user/1", 1, &["ours"])).await;

    begin_to_store(&other, &commit("user/1", 2, &["theirs"]), BUCKET).await;
    let put = tokio::spawn({
        let storage = storage.clone();
        async move { storage.put(commit("user/1", 2, &["ours"])).await }
    });
    until_waiting(&watcher, 1).await;
    other.batch_execute("COMMIT").await.unwrap();
    let Put::Conflict(conflict) = put.await.unwrap().unwrap() else { panic!("2 is taken") };
    assert_eq!(conflict.existing.map(|existing| existing.payloads[0].clone()), Some("theirs".into()));
    assert_eq!(conflict.head.map(|head| head.sequence), Some(2));

    // The same commit, as of an attempt whose reply was lost while the server still executed it.
    let draft = commit("user/1", 3, &["theirs"]);
    begin_to_store(&other, &draft, BUCKET).await;
    let put = tokio::spawn({
        let storage = storage.clone();
        async move { storage.put(draft).await }
    });
    until_waiting(&watcher, 1).await;
    other.batch_execute("COMMIT").await.unwrap();
    assert!(matches!(put.await.unwrap().unwrap(), Put::Repeated { last: 3 }));

    begin_to_store(&other, &commit("user/1", 4, &["theirs"]), BUCKET).await;
    let put = tokio::spawn({
        let storage = storage.clone();
        async move { storage.put(commit("user/1", 4, &["ours"])).await }
    });
    until_waiting(&watcher, 1).await;
    other.batch_execute("ROLLBACK").await.unwrap();
    assert!(matches!(put.await.unwrap().unwrap(), Put::Stored), "no commit was in conflict");
}

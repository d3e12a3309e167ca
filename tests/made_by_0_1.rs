//! What version 0.1 stored and sent is read by this version, and goes on: a real SQLite file, a dump of a real Postgres
//! database, tokens and a record. The program that made them saved four events of `user/1` in three commits, the last one
//! after a snapshot of the first three events.

use std::fmt::Debug;

use eventsrc_core::feed::Change;
use eventsrc_core::query::SnapshotPolicy;
use eventsrc_core::snapshot::{SnapshotAt, SnapshotStorage};
use eventsrc_core::token::{TokenCodec, TokenKey};
use eventsrc_core::{
    Consistency, Context, Event, EventStorage, Fold, Operation, Query, QueryApi, SaveApi, StreamName, fold_fn,
};
use eventsrc_kinesis::Envelope;
use eventsrc_kinesis::record::{Decoded, Decoder, Record};
use eventsrc_postgres::{Postgres, PostgresSnapshots, PostgresStorage};
use eventsrc_sqlite::{Database, SqliteSnapshots, SqliteStorage};
use futures::TryStreamExt;

use crate::postgres::{client, database};

fn user() -> StreamName {
    "user/1".parse().unwrap()
}

/// Counts the events.
fn count() -> impl Fold<StreamName, u64, String, Key = StreamName, Value = u64> {
    fold_fn(|_: &StreamName, count: &mut Option<u64>, _: Event<'_, StreamName, u64, String>| {
        *count = Some(count.unwrap_or(0) + 1);
    })
}

async fn is_read_and_goes_on<St, Sn>(storage: St, snapshots: Sn, ids: [&str; 3])
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = String> + Clone,
    Sn: SnapshotStorage<Key = StreamName, Sequence = u64, Value = u64> + Debug,
{
    let pages: Vec<_> = storage.events(&user(), None).try_collect().await.unwrap();
    let commits: Vec<_> = pages.iter().flat_map(|page| page.commits().to_vec()).collect();
    assert_eq!(commits.iter().map(|commit| commit.metadata.commit_id.to_string()).collect::<Vec<_>>(), ids);
    assert!(commits.iter().all(|commit| commit.previous.is_none()), "version 0.1 stored no links");
    assert_eq!(commits[1].metadata.actor.as_deref(), Some("admin"));
    let payloads: Vec<_> = commits.iter().flat_map(|commit| commit.payloads.iter().cloned()).collect();
    assert_eq!(payloads, ["Ada", "Ada Lovelace", "Countess", "after the snapshot"]);
    assert_eq!(storage.latest(&user()).await.unwrap(), Some(commits[2].head()));

    for which in [SnapshotAt::Earliest, SnapshotAt::Latest] {
        let stored = snapshots.get(&user(), 1, which).await.unwrap().unwrap();
        let head = stored.head.unwrap();
        assert_eq!((stored.value, head.sequence, head.commit_id), (Some(3), 3, None));
    }
    let query = QueryApi::new(storage.clone(), count()).with_snapshots(snapshots, SnapshotPolicy::Never);
    assert_eq!(query.get(&user(), Consistency::LatestEvent).await.unwrap(), Some(4));

    let saves = SaveApi::new(storage.clone());
    let token = codec().decode(TOKEN).unwrap();
    assert_eq!(token.sequence(&user()), Some(3_u64));
    let context = Context { token, ..Context::default() };
    let saved = saves.save_with(&user(), &context, Operation::insert("goes on".to_owned())).await;
    assert_eq!(saved.unwrap().saved().unwrap().sequence, 5);
    let next = storage.events(&user(), Some(5)).try_next().await.unwrap().unwrap();
    assert_eq!(
        next.commits()[0].previous,
        Some(commits[2].metadata.commit_id),
        "it is linked to an old commit"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_sqlite_is_read_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    std::fs::write(&path, include_bytes!("made_by_0_1/events.db")).unwrap();
    for _ in 0..2 {
        let database = Database::open(&path).await.unwrap();
        let storage = SqliteStorage::<StreamName, u64, String>::new(&database);
        assert!(storage.latest(&user()).await.unwrap().is_some());
    }
    let database = Database::open(&path).await.unwrap();
    let ids = [
        "01a22fcc-ded3-7ee9-86e8-cd469905b6ad",
        "01a22fcc-deda-704f-92ab-8aa0a7db6b2f",
        "01a22fcc-deed-792d-bd3b-803682b56d8e",
    ];
    let snapshots = SqliteSnapshots::new(&database, "count");
    is_read_and_goes_on(SqliteStorage::new(&database), snapshots, ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_postgres_is_read_and_goes_on() {
    let url = database().await;
    client(&url).await.batch_execute(include_str!("made_by_0_1/tables.sql")).await.unwrap();
    let postgres = Postgres::connect(&url).await.unwrap();
    let ids = [
        "01a22fcd-16ac-7ee9-86e8-cd469905b6ad",
        "01a22fcd-16bc-704f-92ab-8aa0a7db6b2f",
        "01a22fcd-16d3-792d-bd3b-803682b56d8e",
    ];
    let snapshots = PostgresSnapshots::new(&postgres, "count");
    is_read_and_goes_on(PostgresStorage::new(&postgres), snapshots, ids).await;
}

/// Signed by version 0.1: `user/1` at sequence 3.
const TOKEN: &str = "1.AQZ1c2VyLzEDAA.k1.CWQiixgQbX5hjamp2P5rVVNB83MYVZiVcCRY8SyWE34";

fn codec() -> TokenCodec {
    TokenCodec::signed(TokenKey::new("k1", *b"0123456789abcdef").unwrap(), [])
}

#[test]
fn tokens_are_read() {
    let signed = codec().decode(TOKEN).unwrap();
    assert!(signed.is_trusted());
    assert_eq!((signed.sequence(&user()), signed.commit_id(&user())), (Some(3_u64), None));
    assert_eq!(TokenCodec::unsigned().decode("1.AQZ1c2VyLzEDAA").unwrap(), signed);
}

#[test]
fn records_are_read() {
    let data = r#"{"eventsrc":1,"change":"commit","stream":"user/1","number":2,"time":"2026-12-01T04:11:25.274254Z","metadata":{"commit_id":"01a22fcc-deda-704f-92ab-8aa0a7db6b2f","correlation_id":"request 9","actor":"admin"},"events":["Ada Lovelace","Countess"]}"#;
    let mut decoded = Decoded::default();
    let record = Record { partition_key: "user/1".into(), data: data.into() };
    Envelope::<StreamName, u64, String>::new().decode(record, 0, &mut decoded);
    let [Change::Commit(commit)] = &decoded.changes[..] else { panic!("{:?}", decoded.changes) };
    assert_eq!((commit.first, commit.previous, commit.payloads.len()), (2, None, 2));
    assert_eq!(commit.metadata.correlation_id.as_deref(), Some("request 9"));
}

//! The check before a put: its result, and its cost.

use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::storage::{Conflict, Diverged, Put};
use eventsrc_core::{Commit, CommitId, ErrorKind, EventStorage, StorageError};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::{Dynamo, Settings};
use eventsrc_tests::dynamo::{client, tables_with};
use futures::TryStreamExt;

use super::Storage;
use super::costs::{Cost, metered};
use super::faulty::{Draft, PutResult, commits, name, store};

/// Requests, read units and write units of a put without a check.
const UNCHECKED: Cost = (1, 0.0, 1.0);
/// Those of a put that reads the commit before it.
const CHECKED: Cost = (2, 1.0, 1.0);
/// Those of a put that finds in its check that it must not be sent.
const NOT_SENT: Cost = (1, 1.0, 0.0);
/// Those of a put that is not sent, and reads the commit that holds its sequence.
const CONFLICT_READ: Cost = (2, 2.0, 0.0);

/// A client of new tables. Each handle of it knows nothing at first.
async fn new_tables() -> Client {
    let client = client("strict").await;
    Dynamo::new(client.clone(), "events").create_tables().await.unwrap();
    client
}

/// A handle that has seen nothing.
fn cold(client: &Client) -> Dynamo {
    Dynamo::new(client.clone(), "events")
}

fn commit(first: u64, previous: Option<CommitId>, payloads: &[&str]) -> Draft {
    let draft = super::faulty::commit("user/1", first, payloads);
    Arc::new(Commit { previous, ..Arc::unwrap_or_clone(draft) })
}

fn id(commit: &Draft) -> Option<CommitId> {
    Some(commit.metadata.commit_id)
}

/// Commits of three events, one and one, each after the one before it.
fn three_commits() -> [Draft; 3] {
    let one = commit(1, None, &["a", "b", "c"]);
    let four = commit(4, id(&one), &["d"]);
    let five = commit(5, id(&four), &["e"]);
    [one, four, five]
}

/// Stores `commits` by a handle of its own.
async fn store_all(client: &Client, commits: &[Draft]) {
    let storage = Storage::new(&cold(client));
    for commit in commits {
        store(&storage, commit).await;
    }
}

async fn put(dynamo: &Dynamo, commit: &Draft) -> (PutResult, Cost) {
    let storage = Storage::new(dynamo);
    metered(dynamo, storage.put(Arc::clone(commit))).await
}

/// Fails unless the put stores `commit` at this cost.
async fn assert_stores(dynamo: &Dynamo, commit: &Draft, expected: Cost) {
    let (put, spent) = put(dynamo, commit).await;
    assert!(matches!(put, Ok(Put::Stored)), "{put:?}");
    assert_eq!(spent, expected);
}

/// Fails unless the put is a conflict with `existing`, at this cost.
async fn assert_conflicts(dynamo: &Dynamo, commit: &Draft, existing: &Draft, expected: Cost) {
    let (put, spent) = put(dynamo, commit).await;
    let Ok(Put::Conflict(Conflict { existing: Some(found), .. })) = &put else { panic!("{put:?}") };
    assert_eq!((found, spent), (existing, expected));
}

/// The error of a put that must be refused at this cost.
async fn refused(dynamo: &Dynamo, commit: &Draft, expected: Cost) -> StorageError {
    let (put, spent) = put(dynamo, commit).await;
    let error = put.unwrap_err();
    assert_eq!((error.kind(), spent), (ErrorKind::Diverged, expected), "{error:?}");
    assert_eq!((error.stream(), error.sequence()), (Some("user/1"), Some(&*(commit.first - 1).to_string())));
    error
}

/// The two ends in the source of an error of kind `Diverged`: sequence and commit id.
fn ends(error: &StorageError) -> [Option<(u64, Option<CommitId>)>; 2] {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Diverged>());
    let Diverged { known, stored } = source.expect("the source of a `Diverged` error").clone();
    [Some(known), stored].map(|end| end.map(|end| (end.sequence.parse().unwrap(), end.commit_id)))
}

#[tokio::test]
async fn a_put_after_a_commit_that_the_handle_stored_is_one_request() {
    let dynamo = cold(&new_tables().await);
    let [one, four, five] = three_commits();
    assert_stores(&dynamo, &one, UNCHECKED).await;
    assert_stores(&dynamo, &four, UNCHECKED).await;
    assert_stores(&dynamo.clone(), &five, UNCHECKED).await;
    let (again, spent) = put(&dynamo, &five).await;
    assert!(matches!(again, Ok(Put::Repeated { last: 5 })), "{again:?}");
    assert_eq!(spent, UNCHECKED);
    assert_eq!(commits(&Storage::new(&dynamo), "user/1").await, [one, four, five]);
}

#[tokio::test]
async fn a_put_of_a_handle_that_has_seen_nothing_reads_the_commit_before_it_once() {
    let client = new_tables().await;
    let [one, four, five] = three_commits();
    store_all(&client, &[one]).await;
    let dynamo = cold(&client);
    assert_stores(&dynamo, &four, CHECKED).await;
    assert_stores(&dynamo, &five, UNCHECKED).await;
}

#[tokio::test]
async fn a_put_after_a_read_of_the_last_commit_is_one_request() {
    let client = new_tables().await;
    let [one, four, five] = three_commits();
    store_all(&client, std::slice::from_ref(&one)).await;

    let reader = cold(&client);
    let pages: Vec<_> = Storage::new(&reader).events(&one.key, None).try_collect().await.unwrap();
    assert_eq!(pages.iter().flat_map(|page| page.commits().to_vec()).collect::<Vec<_>>(), [one]);
    assert_stores(&reader, &four, UNCHECKED).await;

    let reader = cold(&client);
    assert_eq!(Storage::new(&reader).latest(&four.key).await.unwrap(), Some(four.head()));
    assert_stores(&reader, &five, UNCHECKED).await;
}

/// The handle knows commits that others stored by the conflicts with them.
#[tokio::test]
async fn a_put_after_a_conflict_is_one_request() {
    let client = new_tables().await;
    let [one, four, five] = three_commits();
    let dynamo = cold(&client);
    assert_stores(&dynamo, &one, UNCHECKED).await;
    store_all(&client, std::slice::from_ref(&four)).await;
    assert_conflicts(&dynamo, &commit(4, id(&one), &["x"]), &four, UNCHECKED).await;
    assert_stores(&dynamo, &five, UNCHECKED).await;
}

#[tokio::test]
async fn a_put_that_names_no_previous_commit_is_stored_after_any() {
    let client = new_tables().await;
    let [one, ..] = three_commits();
    store_all(&client, std::slice::from_ref(&one)).await;
    let dynamo = cold(&client);
    assert_stores(&dynamo, &commit(4, None, &["d"]), CHECKED).await;
    assert_stores(&dynamo, &commit(5, None, &["e"]), UNCHECKED).await;
}

#[tokio::test]
async fn a_put_beyond_the_end_is_refused_and_stores_nothing() {
    let client = new_tables().await;
    let dynamo = cold(&client);
    let error = refused(&dynamo, &commit(2, None, &["x"]), NOT_SENT).await;
    assert_eq!(ends(&error), [Some((1, None)), None], "the stream has no events");

    let [one, four, five] = three_commits();
    let stored = [one, four, five];
    store_all(&client, &stored).await;
    let end = (5, id(&stored[2]));
    for dynamo in [cold(&client), dynamo] {
        Storage::new(&dynamo).latest(&stored[0].key).await.unwrap();
        let error = refused(&dynamo, &commit(9, end.1, &["x"]), NOT_SENT).await;
        assert_eq!(ends(&error), [Some((8, end.1)), Some(end)]);
        let error = refused(&dynamo, &commit(7, None, &["x"]), NOT_SENT).await;
        assert_eq!(ends(&error), [Some((6, None)), Some(end)]);
    }
    assert_eq!(commits(&Storage::new(&cold(&client)), "user/1").await, stored);
}

#[tokio::test]
async fn a_put_after_another_commit_than_the_last_one_is_refused_and_stores_nothing() {
    let client = new_tables().await;
    let [one, four, _] = three_commits();
    let stored = [one, four];
    store_all(&client, &stored).await;
    let warm = cold(&client);
    Storage::new(&warm).latest(&stored[0].key).await.unwrap();
    for dynamo in [warm, cold(&client)] {
        let error = refused(&dynamo, &commit(5, id(&stored[0]), &["x"]), CONFLICT_READ).await;
        assert_eq!(ends(&error), [Some((4, id(&stored[0]))), Some((4, id(&stored[1])))]);
    }
    assert_eq!(commits(&Storage::new(&cold(&client)), "user/1").await, stored);
}

#[tokio::test]
async fn a_put_at_a_stored_sequence_is_a_conflict_whatever_its_previous_commit() {
    let client = new_tables().await;
    let [one, four, _] = three_commits();
    let stored = [one, four];
    store_all(&client, &stored).await;
    assert_conflicts(&cold(&client), &commit(4, id(&stored[1]), &["x"]), &stored[1], CONFLICT_READ).await;
    let warm = cold(&client);
    Storage::new(&warm).latest(&stored[0].key).await.unwrap();
    assert_conflicts(&warm, &commit(4, id(&stored[1]), &["x"]), &stored[1], UNCHECKED).await;
    assert_eq!(commits(&Storage::new(&cold(&client)), "user/1").await, stored);
}

#[tokio::test]
async fn a_put_inside_a_stored_commit_is_a_conflict() {
    let client = new_tables().await;
    let [one, four, _] = three_commits();
    let stored = [one, four];
    store_all(&client, &stored).await;
    for first in [2, 3] {
        let inside = commit(first, None, &["x"]);
        assert_conflicts(&cold(&client), &inside, &stored[0], CONFLICT_READ).await;
    }
    assert_eq!(commits(&Storage::new(&cold(&client)), "user/1").await, stored);
}

#[tokio::test]
async fn each_put_of_a_handle_without_trust_reads_the_commit_before_it() {
    let client = new_tables().await;
    let settings = Settings { trust_seen_for: Duration::ZERO, ..Settings::default() };
    let dynamo = Dynamo::with(client, "events", settings);
    let [one, four, five] = three_commits();
    assert_stores(&dynamo, &one, UNCHECKED).await;
    assert_stores(&dynamo, &four, CHECKED).await;
    Storage::new(&dynamo).latest(&one.key).await.unwrap();
    assert_stores(&dynamo, &five, CHECKED).await;
}

/// The check of a put is strongly consistent: an eventually consistent read costs half a unit.
#[tokio::test]
async fn the_check_of_a_put_is_strongly_consistent_with_any_setting() {
    let client = new_tables().await;
    let [one, four, _] = three_commits();
    store_all(&client, std::slice::from_ref(&one)).await;
    let settings = Settings { consistent_reads: false, ..Settings::default() };
    let dynamo = Dynamo::with(client, "events", settings);
    assert_stores(&dynamo, &four, CHECKED).await;
    let storage = Storage::new(&dynamo);
    assert_eq!(metered(&dynamo, storage.latest(&one.key)).await.1, (1, 0.5, 0.0));
}

#[tokio::test]
async fn recent_returns_the_last_heads_newest_first_in_one_request() {
    let client = new_tables().await;
    let stored = three_commits();
    store_all(&client, &stored).await;
    let dynamo = cold(&client);
    let storage = Storage::new(&dynamo);
    let [one, four, five] = stored.each_ref().map(|commit| commit.head());
    let key = name("user/1");
    for count in 0..5 {
        let (recent, spent) = metered(&dynamo, storage.recent(&key, count)).await;
        assert_eq!(recent.unwrap(), [five, four, one][..count.min(3)]);
        assert_eq!(spent.0, u64::from(count > 0));
    }
    assert_eq!(storage.recent(&name("user/2"), 3).await.unwrap(), []);
}

#[tokio::test]
async fn recent_of_several_megabytes_is_read_in_pages() {
    let settings = Settings { compress_from: None, ..Settings::default() };
    let dynamo = tables_with("strict", settings).await;
    let storage = Storage::new(&dynamo);
    let text = "x".repeat(300_000);
    let mut previous = None;
    for number in 1..=10 {
        let commit = commit(number, previous, &[&text]);
        store(&storage, &commit).await;
        previous = id(&commit);
    }
    let key = name("user/1");
    let (recent, spent) = metered(&dynamo, storage.recent(&key, 9)).await;
    let sequences: Vec<_> = recent.unwrap().iter().map(|head| head.sequence).collect();
    assert_eq!(sequences, (2..=10).rev().collect::<Vec<u64>>());
    assert!(spent.0 > 1, "{spent:?}");
}

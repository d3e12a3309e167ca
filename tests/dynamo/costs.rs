//! Costs of calls: requests and capacity units, exactly. Those of the check before a put are in `strict_puts.rs`.

use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::query::SnapshotPolicy;
use eventsrc_core::save::{PreconditionFailed, Saved};
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::token::{TokenCodec, TokenKey};
use eventsrc_core::{
    Consistency, Context, Event, EventStorage, Fold, Operation, Query, QueryApi, SaveApi, StreamName, Token,
    fold_fn,
};
use eventsrc_dynamo::{Dynamo, DynamoSnapshots, DynamoStorage, Usage};
use eventsrc_tests::dynamo::{client, tables};
use futures::TryStreamExt;

use super::{Storage, commit, noise, put};

/// An event of 298 bytes, as JSON with its quotes. An item of ten has just less than 3 KB.
fn event() -> String {
    "e".repeat(296)
}

type Insert = Operation<String, PreconditionFailed>;

fn events(count: usize) -> Vec<Insert> {
    (0..count).map(|_| Operation::insert(event())).collect()
}

/// Requests, read units and write units.
pub(super) type Cost = (u64, f64, f64);

/// The result and the cost of `call`.
pub(super) async fn metered<T>(dynamo: &Dynamo, call: impl Future<Output = T>) -> (T, Cost) {
    let before = dynamo.usage();
    let result = call.await;
    let Usage { requests, read_units, write_units } = dynamo.usage() - before;
    (result, (requests, read_units, write_units))
}

/// The cost of `call`.
async fn cost<T>(dynamo: &Dynamo, call: impl Future<Output = T>) -> Cost {
    metered(dynamo, call).await.1
}

/// A fold to the number of events and the last event.
fn counting() -> impl Fold<StreamName, u64, String, Key = StreamName, Value = (u64, String)> {
    fold_fn(|_, value: &mut Option<(u64, String)>, event: Event<'_, StreamName, u64, String>| {
        let count = value.as_ref().map_or(0, |(count, _)| *count);
        *value = Some((count + 1, event.payload.clone()));
    })
}

#[tokio::test]
async fn a_warm_save_is_one_request_and_a_unit_a_kilobyte() {
    let dynamo = tables("costs").await;
    let saves = SaveApi::new(Storage::new(&dynamo));
    let user: StreamName = "user/1".parse().unwrap();
    let save = async |events: usize| {
        let operations = self::events(events);
        cost(&dynamo, async { saves.save_all(&user, &Default::default(), &operations).await.unwrap() }).await
    };
    assert_eq!(save(1).await, (2, 1.0, 1.0), "a cold save reads where the stream ends");
    assert_eq!(save(1).await, (1, 0.0, 1.0));
    assert_eq!(save(3).await, (1, 0.0, 1.0));
    assert_eq!(save(10).await, (1, 0.0, 3.0));
}

/// A context with a new idempotency key and this token.
fn command(token: &Token) -> Context {
    let key = Randomness::from_system().commit_id(SystemClock.now());
    Context { commit_id: Some(key), token: token.clone(), ..Context::default() }
}

/// Saves a short event.
async fn save(saves: &SaveApi<Storage>, context: &Context) -> Saved<u64> {
    let operation: Insert = Operation::insert("e".repeat(20));
    saves.save_with(&"user/1".parse().unwrap(), context, operation).await.unwrap().saved().unwrap()
}

/// A stream of 200 commits, and a handle and a writer that have seen nothing of it.
async fn a_stream_and_another_process() -> (Saved<u64>, Dynamo, SaveApi<Storage>) {
    let client = client("costs").await;
    let [ours, theirs] = [0, 1].map(|_| Dynamo::new(client.clone(), "events"));
    ours.create_tables().await.unwrap();
    let saves = SaveApi::new(Storage::new(&ours));
    for _ in 1..200 {
        save(&saves, &Context::default()).await;
    }
    let last = save(&saves, &Context::default()).await;
    let other = SaveApi::new(Storage::new(&theirs));
    (last, theirs, other)
}

#[tokio::test]
async fn a_warm_command_with_an_idempotency_key_is_one_request_however_long_the_stream() {
    let dynamo = tables("costs").await;
    let saves = SaveApi::new(Storage::new(&dynamo));
    let first = cost(&dynamo, save(&saves, &command(&Token::default()))).await;
    assert_eq!(first, (2, 1.0, 1.0), "a cold save reads where the stream ends");
    for number in 2..=1_000 {
        let context = command(&Token::default());
        let (saved, spent) = metered(&dynamo, save(&saves, &context)).await;
        assert_eq!((saved.sequence, spent), (number, (1, 0.0, 1.0)));
        if number % 100 == 0 {
            let (again, spent) = metered(&dynamo, save(&saves, &context)).await;
            assert_eq!((again.sequence, again.repeated, spent), (number, true, (1, 1.0, 0.0)));
        }
    }
}

/// A writer remembers the ids of commits only if it needs them.
#[tokio::test]
async fn the_first_command_with_an_idempotency_key_reads_the_last_heads_once() {
    let (_, dynamo, saves) = a_stream_and_another_process().await;
    save(&saves, &Context::default()).await;
    // 128 items of 80 bytes.
    assert_eq!(cost(&dynamo, save(&saves, &command(&Token::default()))).await, (2, 3.0, 1.0));
    assert_eq!(cost(&dynamo, save(&saves, &command(&Token::default()))).await, (1, 0.0, 1.0));
}

#[tokio::test]
async fn a_cold_command_with_an_idempotency_key_reads_the_end_and_the_last_heads() {
    let (_, dynamo, saves) = a_stream_and_another_process().await;
    assert_eq!(cost(&dynamo, save(&saves, &command(&Token::default()))).await, (3, 4.0, 1.0));
    assert_eq!(cost(&dynamo, save(&saves, &command(&Token::default()))).await, (1, 0.0, 1.0));
}

/// The token says that the command cannot be among the commits before it.
#[tokio::test]
async fn a_cold_command_with_an_idempotency_key_and_an_unsigned_token_reads_the_end() {
    let (last, dynamo, saves) = a_stream_and_another_process().await;
    let codec = TokenCodec::unsigned();
    let token = codec.decode(&codec.encode(&last.token).unwrap()).unwrap();
    assert_eq!(cost(&dynamo, save(&saves, &command(&token))).await, (2, 1.0, 1.0));
}

#[tokio::test]
async fn a_save_with_a_signed_token_of_another_process_reads_the_commit_before_it_once() {
    let contexts: [fn(&Token) -> Context; 2] =
        [command, |token| Context { token: token.clone(), ..Context::default() }];
    for context in contexts {
        let (last, dynamo, saves) = a_stream_and_another_process().await;
        let codec = TokenCodec::signed(TokenKey::new("key", [7; 32]).unwrap(), []);
        let token = codec.decode(&codec.encode(&last.token).unwrap()).unwrap();
        let (saved, spent) = metered(&dynamo, save(&saves, &context(&token))).await;
        assert_eq!((saved.sequence, spent), (201, (2, 1.0, 1.0)));
        let (saved, spent) = metered(&dynamo, save(&saves, &context(&saved.token))).await;
        assert_eq!((saved.sequence, spent), (202, (1, 0.0, 1.0)));
    }
}

#[tokio::test]
async fn a_conflict_costs_no_read() {
    let dynamo = tables("costs").await;
    let (ours, theirs) = (SaveApi::new(Storage::new(&dynamo)), SaveApi::new(Storage::new(&dynamo)));
    let user: StreamName = "user/1".parse().unwrap();
    let insert = || -> Insert { Operation::insert(event()) };
    ours.save(&user, insert()).await.unwrap().saved().unwrap();
    theirs.save(&user, insert()).await.unwrap().saved().unwrap();
    // Our writer does not know of the other's commit: its put conflicts once, the reply has the conflicting
    // commit, and the next put succeeds.
    let spent = cost(&dynamo, async { ours.save(&user, insert()).await.unwrap() }).await;
    assert_eq!(spent, (2, 0.0, 2.0));
}

#[tokio::test]
async fn a_put_that_meets_itself_is_one_request() {
    let dynamo = tables("costs").await;
    let storage = Storage::new(&dynamo);
    let commit = put(&storage, "user/1", 1, &["Ada"]).await;
    assert_eq!(cost(&dynamo, async { storage.put(commit).await.unwrap() }).await, (1, 0.0, 1.0));
}

#[tokio::test]
async fn a_load_is_a_request_a_megabyte_and_a_unit_for_four_kilobytes() {
    let dynamo = tables("costs").await;
    let storage = Storage::new(&dynamo);
    let queries = QueryApi::new(storage.clone(), counting());
    let user: StreamName = "user/1".parse().unwrap();
    let load = async || {
        cost(&dynamo, async { queries.snapshot(&user, Consistency::LatestEvent).await.unwrap() }).await
    };
    assert_eq!(load().await, (1, 1.0, 0.0), "to read nothing costs a unit as well");
    for commit in 0..10 {
        put(&storage, "user/1", 1 + commit * 10, &[event().as_str(); 10]).await;
    }
    // Ten items of almost 3 KB.
    assert_eq!(load().await, (1, 8.0, 0.0));
    let latest = cost(&dynamo, async { storage.latest(&user).await.unwrap() }).await;
    assert_eq!(latest, (1, 1.0, 0.0));
}

/// Stores `commits` commits of `events` events each. Returns the costs of two loads, of which the first stores a
/// snapshot, and of a third one after one more commit.
async fn loads_with_a_snapshot(commits: u64, events: u64) -> [Cost; 3] {
    let dynamo = tables("costs").await;
    let storage = Storage::new(&dynamo);
    let user: StreamName = "user/1".parse().unwrap();
    let snapshots = DynamoSnapshots::new(&dynamo, "count");
    let queries =
        QueryApi::new(storage.clone(), counting()).with_snapshots(snapshots, SnapshotPolicy::Every(50));
    let load = async |expected: u64| {
        let load = async {
            let snapshot = queries.snapshot(&user, Consistency::LatestEvent).await.unwrap();
            queries.flush().await;
            snapshot.value.unwrap().0
        };
        let (count, spent) = metered(&dynamo, load).await;
        assert_eq!(count, expected);
        spent
    };
    let (event, all) = (event(), commits * events);
    for commit in 0..commits {
        put(&storage, "user/1", 1 + commit * events, &vec![event.as_str(); events as usize]).await;
    }
    let (first, second) = (load(all).await, load(all).await);
    put(&storage, "user/1", all + 1, &["last"]).await;
    [first, second, load(all + 1).await]
}

/// The first load finds no snapshot, reads all events and stores a snapshot. Later ones read the snapshot, and its last
/// event together with those after it.
#[tokio::test]
async fn a_load_with_a_snapshot_is_two_requests_whatever_the_length() {
    let [first, second, third] = loads_with_a_snapshot(100, 1).await;
    assert_eq!(first.0, 3);
    assert_eq!([second, third], [(2, 2.0, 0.0); 2]);
}

/// A snapshot knows the last event of its commit, and the item of the commit is under the first one. The handle knows
/// the item only while it is the last one that it has seen.
#[tokio::test]
async fn a_snapshot_that_ends_with_an_unseen_commit_of_several_events_costs_a_request_more() {
    let [first, second, third] = loads_with_a_snapshot(10, 10).await;
    assert_eq!(first.0, 3);
    assert_eq!([second, third], [(2, 2.0, 0.0), (3, 3.0, 0.0)]);
}

#[tokio::test]
async fn heads_of_long_streams_cost_less_than_a_scan() {
    let dynamo = tables("costs").await;
    let storage: DynamoStorage<StreamName, u64, String> = DynamoStorage::new(&dynamo);
    // Two streams of two megabytes.
    let text = noise(1, 100_000);
    for stream in ["user/1", "user/2"] {
        for number in 1..=20 {
            put(&storage, stream, number, &[&text]).await;
        }
    }
    let mut scanned = 0;
    let scan = cost(&dynamo, async {
        let mut pages = storage.scan(Segment::ALL);
        while let Some(page) = pages.try_next().await.unwrap() {
            scanned += page.events().count();
        }
    });
    let (_, scan, _) = scan.await;
    let mut found = Vec::new();
    let heads = cost(&dynamo, async {
        found = storage.heads(Segment::ALL).try_collect::<Vec<_>>().await.unwrap().concat();
    });
    let (_, heads, _) = heads.await;
    assert_eq!((scanned, found.len()), (40, 2));
    assert!(found.iter().all(|(_, head)| head.sequence == 20), "{found:?}");
    assert!(heads < scan, "{heads} units for heads, {scan} for a scan");
}

#[tokio::test]
async fn all_users_of_a_shared_client_are_counted() {
    let dynamo = tables("costs").await;
    let (first, second) = (Storage::new(&dynamo), Storage::new(&dynamo.clone()));
    let before = dynamo.usage();
    put(&first, "user/1", 1, &["Ada"]).await;
    drop(second.put(commit("user/2", 1, &["Grace"])).await.unwrap());
    assert_eq!((dynamo.usage() - before).write_units, 2.0);
}

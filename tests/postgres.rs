//! Tests specific to Postgres: outages, cut connections, roles, secrets and group commit.

mod addresses;
mod cut_connections;
mod full_disk;
mod groups;
mod outages;
mod pages;
mod races;
mod refusals;
mod roles;
mod round_trips;
mod snapshots;
mod unreadable;
mod versions;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::Put;
use eventsrc_core::{Commit, ErrorKind, EventStorage, Metadata, StorageError, StreamName, Timestamp};
use eventsrc_postgres::{Postgres, PostgresStorage, Settings};
use eventsrc_test_servers as servers;
use eventsrc_tests::HANG;
use futures::TryStreamExt;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

type Storage = PostgresStorage<StreamName, u64, String>;
type Draft = Arc<Commit<StreamName, u64, String>>;
type PutResult = Result<Put<StreamName, u64, String>, StorageError>;

/// Address of a new database of the shared server.
pub(crate) async fn database() -> String {
    servers::postgres().await.database("events").await
}

/// A storage with `String` payloads in a database.
async fn open(url: &str) -> Storage {
    open_with(url, Settings::default()).await
}

async fn open_with(url: &str, settings: Settings) -> Storage {
    PostgresStorage::new(&Postgres::connect_with(url, settings).await.unwrap())
}

/// A plain client, as another program has it.
pub(crate) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// `url` for another user of the same database.
fn as_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let place = rest.split_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{user}@{place}")
}

fn name(text: &str) -> StreamName {
    text.parse().unwrap()
}

/// A commit with a new id.
fn commit(stream: &str, first: u64, payloads: &[&str]) -> Draft {
    let ids = Randomness::from_system();
    let time = Timestamp::from_microsecond(1_800_000_000_000_000 + first as i64).unwrap();
    Arc::new(Commit {
        key: name(stream),
        first,
        previous: None,
        time,
        metadata: Metadata::new(ids.commit_id(time)),
        payloads: Vec1::try_from_vec(payloads.iter().map(|text| (*text).to_owned()).collect())
            .unwrap()
            .into(),
    })
}

/// Puts a commit, which must be stored.
async fn store(storage: &Storage, commit: &Draft) {
    let put = storage.put(Arc::clone(commit)).await.unwrap();
    assert!(matches!(put, Put::Stored), "{put:?}");
}

/// The commits of a stream.
async fn commits<St>(storage: &St, stream: &str) -> Vec<Arc<Commit<StreamName, St::Sequence, St::Payload>>>
where
    St: EventStorage<Key = StreamName>,
{
    let pages: Vec<_> = storage.events(&name(stream), None).try_collect().await.unwrap();
    pages.iter().flat_map(|page| page.commits().to_vec()).collect()
}

/// The number of transactions by which the commits in the tables were stored, according to the server.
async fn transactions(client: &Client) -> u64 {
    let sql = "SELECT count(DISTINCT xmin::text) FROM eventsrc.commits";
    client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) as u64
}

/// Fails unless `error` is of this kind and contains all of `words`.
fn assert_says(error: &StorageError, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {error:?}");
    }
}

/// Fails if `error` or one of its causes contains `secret`.
fn assert_keeps(error: &StorageError, secret: &str) {
    let mut told = format!("{error} {error:?}");
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(error) = cause {
        told += &format!(" {error} {error:?}");
        cause = error.source();
    }
    assert!(!told.contains(secret), "{told}");
}

/// Waits until `condition` holds.
async fn until(condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(HANG, holds).await.expect("it holds");
}

/// Waits until `count` statements of other sessions in this database wait for a lock.
async fn until_waiting(client: &Client, count: i64) {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()";
    until(async || {
        // Otherwise the server shows the same statistics until the end of the transaction.
        client.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) >= count
    })
    .await;
}

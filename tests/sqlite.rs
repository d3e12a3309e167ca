//! Tests specific to SQLite: kills, full disks, foreign files.

mod files;
mod full_disk;
mod groups;
mod kills;
mod long_names;
mod pages;
mod unreadable;

use std::path::Path;
use std::sync::Arc;

use eventsrc_core::clock::Randomness;
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::Put;
use eventsrc_core::{Commit, ErrorKind, EventStorage, Metadata, StorageError, StreamName, Timestamp};
use eventsrc_sqlite::{Database, SqliteStorage};
use futures::TryStreamExt;

type Storage = SqliteStorage<StreamName, u64, String>;
type Draft = Arc<Commit<StreamName, u64, String>>;

/// A storage with `String` payloads in the file at `path`.
async fn open(path: &Path) -> Storage {
    SqliteStorage::new(&Database::open(path).await.unwrap())
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

/// Fails unless `error` is of this kind, contains all of `words`, and keeps its cause if SQLite gives one.
fn assert_says(error: &StorageError, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {error:?}");
    }
}

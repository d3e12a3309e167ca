//! Commits, and the outcomes of calls whose requests and replies are lost.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::{Commit, ErrorKind, EventStorage, Metadata, StorageError, StreamName, Timestamp};
use eventsrc_dynamo::DynamoStorage;
use eventsrc_dynamo::aws_sdk_dynamodb::config::retry::RetryConfig;
use eventsrc_tests::HANG;
use eventsrc_tests::faulty_http::{FaultyHttp, FaultyTables};
use futures::TryStreamExt;
use tokio::time::timeout;

pub(super) type Storage = DynamoStorage<StreamName, u64, String>;
pub(super) type Draft = Arc<Commit<StreamName, u64, String>>;
pub(super) type PutResult = Result<Put<StreamName, u64, String>, StorageError>;

/// The storage in `tables` through `faulty`.
pub(super) fn through(tables: &FaultyTables, faulty: &FaultyHttp, retries: RetryConfig) -> Storage {
    DynamoStorage::new(&tables.through(faulty, retries))
}

/// The storage in `tables` without faults.
pub(super) fn beneath(tables: &FaultyTables) -> Storage {
    DynamoStorage::new(tables.without_faults())
}

pub(super) fn name(text: &str) -> StreamName {
    text.parse().unwrap()
}

/// A commit with a new id that names no previous commit.
pub(super) fn commit(stream: &str, first: u64, payloads: &[&str]) -> Draft {
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
pub(super) async fn store(storage: &Storage, commit: &Draft) {
    let put = storage.put(Arc::clone(commit)).await.unwrap();
    assert!(matches!(put, Put::Stored), "{put:?}");
}

/// The commits of a stream.
pub(super) async fn commits(storage: &Storage, stream: &str) -> Vec<Draft> {
    let pages: Vec<_> = storage.events(&name(stream), None).try_collect().await.unwrap();
    pages.iter().flat_map(|page| page.commits().to_vec()).collect()
}

/// The number of commits in a scan.
pub(super) async fn scanned(storage: &Storage) -> Result<usize, StorageError> {
    let pages: Vec<_> = storage.scan(Segment::ALL).try_collect().await?;
    Ok(pages.iter().map(|page| page.commits().len()).sum())
}

/// The outcome of a put, as one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PutOutcome {
    Stored,
    Repeated,
    Conflict,
    Unavailable,
    OtherError,
}

pub(super) fn said(put: &PutResult) -> PutOutcome {
    match put {
        Ok(Put::Stored) => PutOutcome::Stored,
        Ok(Put::Repeated { .. }) => PutOutcome::Repeated,
        Ok(Put::Conflict(_)) => PutOutcome::Conflict,
        Err(error) if error.kind() == ErrorKind::Unavailable => PutOutcome::Unavailable,
        Err(_) => PutOutcome::OtherError,
    }
}

/// Fails unless `error` is of this kind and contains all of `words`.
pub(super) fn assert_says(error: &StorageError, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {error:?}");
    }
}

/// `Display` and `Debug` output of `error` and its causes.
pub(super) fn everything(error: &StorageError) -> String {
    let causes = std::iter::successors(error.source(), |cause| Error::source(*cause));
    causes.fold(format!("{error} {error:?}"), |said, cause| format!("{said}: {cause} {cause:?}"))
}

/// Waits until `commit` is stored.
pub(super) async fn until_stored(storage: &Storage, commit: &Draft) {
    let stored = async {
        while storage.latest(&commit.key).await.unwrap().map(|head| head.sequence) != Some(commit.last()) {
            SystemClock.sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(HANG, stored).await.expect("it is stored");
}

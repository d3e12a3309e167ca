//! Truncated replies: cut off at every hundredth, none is taken for another answer.

use std::sync::Arc;

use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, StorageError, StreamName};
use eventsrc_tests::faulty_http::{FaultyHttp, FaultyTables, HttpFault, once};
use futures::TryStreamExt;

use super::faulty::{Storage, assert_says, commit, commits, name, scanned, store, through};

/// The results of `call` with its replies cut off at each hundredth. Each is the complete result or a retryable
/// error.
async fn cut_off<T>(
    faulty: &FaultyHttp,
    call: impl AsyncFn(u8) -> Result<T, StorageError>,
    all: impl Fn(&T) -> bool,
) {
    let mut errors = 0;
    for hundredths in 0..100 {
        faulty.next(HttpFault::Truncated(hundredths));
        match call(hundredths).await {
            Ok(answer) => assert!(all(&answer), "cut off after {hundredths} hundredths"),
            Err(error) => {
                assert_says(&error, ErrorKind::Unavailable, &["the table events"]);
                errors += 1;
            }
        }
        faulty.calm();
    }
    // The first few cuts leave nothing of a short reply.
    assert!(errors >= 95, "{errors} errors");
}

async fn tables() -> (FaultyTables, FaultyHttp, Storage) {
    let tables = FaultyTables::new("truncated").await;
    let faulty = FaultyHttp::scripted();
    let storage = through(&tables, &faulty, once());
    (tables, faulty, storage)
}

/// The put is acknowledged, or its reply cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_reply_is_cut_off_is_stored_or_unknown() {
    let (_tables, faulty, storage) = tables().await;
    let draft = |hundredths| commit(&format!("user/{hundredths}"), 1, &["a"]);
    cut_off(
        &faulty,
        async |hundredths| storage.put(draft(hundredths)).await,
        |put| matches!(put, Put::Stored),
    )
    .await;
    for hundredths in 0..100 {
        assert_eq!(commits(&storage, &format!("user/{hundredths}")).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_conflict_is_cut_off_is_unknown() {
    let (_tables, faulty, storage) = tables().await;
    let (stored, other) = (commit("user/1", 1, &["a", "b"]), commit("user/1", 1, &["c"]));
    store(&storage, &stored).await;
    cut_off(&faulty, async |_| storage.put(Arc::clone(&other)).await, |_| false).await;
    cut_off(&faulty, async |_| storage.put(Arc::clone(&stored)).await, |_| false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_reply_is_cut_off_misses_nothing() {
    let (_tables, faulty, storage) = tables().await;
    let user: StreamName = name("user/1");
    for first in 1..=3 {
        store(&storage, &commit("user/1", first, &["a"])).await;
    }
    cut_off(&faulty, async |_| storage.latest(&user).await, |_| false).await;
    cut_off(&faulty, async |_| storage.events(&user, None).try_collect::<Vec<_>>().await, |_| false).await;
    cut_off(&faulty, async |_| storage.events(&user, Some(2)).try_collect::<Vec<_>>().await, |_| false).await;
    cut_off(&faulty, async |_| scanned(&storage).await, |_| false).await;
}

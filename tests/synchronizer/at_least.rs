//! `at_least` answers only from a view that includes the token (P11).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventsrc_core::storage::CallCounts;
use eventsrc_core::synchronizer::{AtLeastError, Stale, StaleReason, SynchronizerState};
use eventsrc_core::view::ViewStore;
use eventsrc_core::{Synchronizer, Token};
use eventsrc_tests::HANG;
use futures::future::{join, join_all};

use super::set_up::{
    REFUSED, View, feed, payloads, put, rejecting_view, storage, stream, synchronizer, token, view,
};

/// The payloads of a stream, once the view includes `token`.
async fn read(
    synchronizer: &Synchronizer<View>,
    token: &Token,
    timeout: Duration,
    name: &str,
) -> Result<Vec<i64>, AtLeastError> {
    let view = synchronizer.view();
    synchronizer
        .at_least(token, timeout, |streams| async move {
            Ok(view.read(&streams, |rows| rows.get(name).map(|row| row.payloads.clone()).unwrap_or_default()))
        })
        .await
}

/// The number of reads of the view until it included `token`.
async fn reads(synchronizer: &Synchronizer<View>, token: &Token) -> usize {
    let (reads, view) = (AtomicUsize::new(0), synchronizer.view());
    let read = synchronizer.at_least(token, HANG, |streams| {
        reads.fetch_add(1, Ordering::SeqCst);
        async move { Ok(view.read(&streams, |_| ())) }
    });
    read.await.unwrap();
    reads.into_inner()
}

fn stale(error: AtLeastError) -> Stale {
    match error {
        AtLeastError::Stale(stale) => stale,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn p11_a_read_fetches_commits_that_no_feed_has_delivered() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    for payload in 0..50 {
        let commit = put(&storage, "a/1", &[payload]).await;
        let seen = read(&synchronizer, &token(&commit), HANG, "a/1").await.unwrap();
        assert_eq!(seen.last(), Some(&payload));
    }
}

#[tokio::test]
async fn p11_a_token_of_several_streams_is_kept_for_all_of_them() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    let mut all = Token::default();
    for number in 0..30 {
        all = all.join(&token(&put(&storage, &format!("a/{number}"), &[number]).await));
    }
    // The view does not follow this stream, so its position does not count.
    all = all.join(&token(&put(&storage, "b/1", &[1]).await));
    synchronizer.catch_up(&all, HANG).await.unwrap();
    assert!((0..30).all(|number| payloads(&view, &format!("a/{number}")) == [number]));
}

#[tokio::test]
async fn a_read_that_is_new_enough_reads_the_view_once_and_no_storage() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    let commit = put(&storage, "a/1", &[1]).await;
    synchronizer.catch_up(&token(&commit), HANG).await.unwrap();
    storage.take();
    assert_eq!(reads(&synchronizer, &token(&commit)).await, 1);
    assert_eq!(storage.take(), CallCounts::default());
}

#[tokio::test]
async fn a_read_waits_while_its_own_synchronizer_has_commits_to_apply() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    let first = put(&storage, "a/1", &[1]).await;
    synchronizer.catch_up(&token(&first), HANG).await.unwrap();
    let second = put(&storage, "a/1", &[2]).await;
    assert_eq!(reads(&synchronizer, &token(&second)).await, 1);
}

#[tokio::test]
async fn commits_applied_by_another_process_are_read() {
    let (storage, view) = (storage(), view());
    let (ours, theirs) = (synchronizer(&storage, &view), synchronizer(&storage, &view));
    let first = put(&storage, "a/1", &[1]).await;
    ours.catch_up(&token(&first), HANG).await.unwrap();
    let second = put(&storage, "a/1", &[2]).await;
    theirs.catch_up(&token(&second), HANG).await.unwrap();
    assert_eq!(read(&ours, &token(&second), HANG, "a/1").await.unwrap(), [1, 2]);
    assert_eq!(payloads(&view, "a/1"), [1, 2]);
}

#[tokio::test]
async fn commits_that_a_feed_is_about_to_deliver_are_not_read_from_the_storage() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    let (hand, feed) = feed();
    let following = tokio::spawn({
        let synchronizer = synchronizer.clone();
        async move { synchronizer.follow(feed).await }
    });
    for payload in 0..50 {
        let commit = put(&storage, "a/1", &[payload]).await;
        storage.take();
        let token = token(&commit);
        let reading = read(&synchronizer, &token, HANG, "a/1");
        let (read, ()) = join(reading, async { hand.commits([&commit]) }).await;
        read.unwrap();
        assert_eq!(storage.take(), CallCounts::default(), "after {payload}");
    }
    drop(hand);
    following.await.unwrap().unwrap();
}

#[tokio::test]
async fn many_waiting_reads_of_a_stream_cost_one_read_of_the_storage() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    let commit = put(&storage, "a/1", &[1]).await;
    let token = token(&commit);
    storage.take();
    let all = join_all((0..1000).map(|_| read(&synchronizer, &token, HANG, "a/1"))).await;
    assert!(all.into_iter().all(|seen| seen.unwrap() == [1]));
    // A second read may start after the first one.
    let reads = storage.take().reads;
    assert!(reads <= 2, "{reads} reads");
}

#[tokio::test]
async fn a_token_from_the_future_is_stale_after_the_limit_with_the_reason_not_stored() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    put(&storage, "a/1", &[1]).await;
    let future =
        Token::claimed(&stream("a/1"), 5u64).unwrap().join(&Token::claimed(&stream("a/9"), 2u64).unwrap());
    let limit = Duration::from_millis(50);
    let stale = stale(read(&synchronizer, &future, limit, "a/1").await.unwrap_err());
    assert!(stale.waited >= limit, "{:?}", stale.waited);
    let told: Vec<_> = stale
        .missing
        .iter()
        .map(|m| (m.stream.as_str(), m.wanted.number, m.actual.map(|at| at.number)))
        .collect();
    assert_eq!(told, [("a/1", 5, Some(1)), ("a/9", 2, None)]);
    assert!(stale.missing.iter().all(|m| matches!(m.reason, StaleReason::NotStored)), "{stale:?}");
    let text = stale.to_string();
    assert!(text.contains("a/1 is at 1 and not at 5 (not in the event storage)"), "{text}");
    // The stream is not quarantined: once the commit is stored, it is applied.
    for payload in 2..=5 {
        put(&storage, "a/1", &[payload]).await;
    }
    let token = Token::claimed(&stream("a/1"), 5u64).unwrap();
    assert_eq!(read(&synchronizer, &token, HANG, "a/1").await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_quarantined_stream_is_stale_with_that_reason() {
    let (storage, view) = (storage(), rejecting_view());
    let synchronizer = synchronizer(&storage, &view);
    let commit = put(&storage, "a/1", &[REFUSED]).await;
    let stale =
        stale(read(&synchronizer, &token(&commit), Duration::from_millis(50), "a/1").await.unwrap_err());
    assert!(matches!(stale.missing[0].reason, StaleReason::Quarantined), "{stale:?}");
}

#[tokio::test]
async fn a_view_whose_synchronizer_stopped_is_stale_at_once() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    let kept = put(&storage, "a/1", &[1]).await;
    synchronizer.catch_up(&token(&kept), HANG).await.unwrap();
    synchronizer.stop().await;
    let commit = put(&storage, "a/1", &[2]).await;
    let token_of_it = token(&commit);
    let reading = read(&synchronizer, &token_of_it, Duration::from_secs(3600), "a/1");
    let stale = stale(tokio::time::timeout(HANG, reading).await.expect("at once").unwrap_err());
    assert!(matches!(stale.missing[0].reason, StaleReason::Stopped(SynchronizerState::Stopped)), "{stale:?}");
    assert_eq!(
        read(&synchronizer, &token(&kept), HANG, "a/1").await.unwrap(),
        [1],
        "the stored commits are read"
    );
}

#[tokio::test]
async fn a_slow_read_does_not_outlast_the_limit() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    let commit = put(&storage, "a/1", &[1]).await;
    let token = token(&commit);
    let hanging = synchronizer
        .at_least(&token, Duration::from_millis(20), |_| std::future::pending::<Result<(Vec<_>, ()), _>>());
    let outcome = tokio::time::timeout(HANG, hanging).await.expect("it never hangs");
    assert!(matches!(stale(outcome.unwrap_err()).missing[0].reason, StaleReason::Late));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_reads_racing_with_writers_and_other_synchronizers_are_never_early() {
    let (storage, view) = (storage(), view());
    let synchronizers = [synchronizer(&storage, &view), synchronizer(&storage, &view)];
    let clients = (0..16).map(|client| {
        let (storage, synchronizer) = (Arc::clone(&storage), synchronizers[client % 2].clone());
        tokio::spawn(async move {
            let name = format!("a/{client}");
            for payload in 0..100 {
                let commit = put(&storage, &name, &[payload]).await;
                let seen = read(&synchronizer, &token(&commit), HANG, &name).await.unwrap();
                assert_eq!(seen, (0..=payload).collect::<Vec<_>>());
            }
        })
    });
    for client in join_all(clients).await {
        client.unwrap();
    }
    let status = synchronizers[0].status().await.unwrap();
    assert_eq!(status.lag_events, 0);
    assert!(view.quarantined().await.unwrap().is_empty());
}

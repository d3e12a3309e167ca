//! A lost last event leaves no gap, so heads are compared with positions.

use std::sync::Arc;

use eventsrc_core::{Swept, Synchronizer, SynchronizerSettings};
use tokio::time::Duration;

use super::set_up::{
    feed, follow, payloads, place, put, settings, storage, synchronizer, token, until, view,
};

#[tokio::test]
async fn p10_a_dropped_tail_is_repaired_by_the_sweep() {
    let (storage, view) = (storage(), view());
    let first = put(&storage, "a/1", &[1]).await;
    put(&storage, "a/1", &[2]).await;
    let every = SynchronizerSettings { sweep_every: Some(Duration::from_millis(1)), ..settings() };
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&view), every);
    let (hand, feed) = feed();
    hand.commits([&first]);
    drop(hand);
    synchronizer.follow(feed).await.unwrap();
    until("the sweep", || async { payloads(&view, "a/1") == [1, 2] }).await;
    put(&storage, "a/1", &[3]).await;
    until("another sweep", || async { payloads(&view, "a/1") == [1, 2, 3] }).await;
}

#[tokio::test]
async fn p10_without_the_sweep_a_dropped_tail_stays_missing() {
    let (storage, view) = (storage(), view());
    let first = put(&storage, "a/1", &[1]).await;
    put(&storage, "a/1", &[2]).await;
    follow(&storage, &view, |hand| hand.commits([&first])).await;
    assert_eq!(payloads(&view, "a/1"), [1]);
}

#[tokio::test]
async fn a_sweep_says_what_it_found_and_waits_until_it_is_repaired() {
    let (storage, view) = (storage(), view());
    for name in ["a/1", "a/2", "a/3", "b/1"] {
        put(&storage, name, &[1]).await;
    }
    let synchronizer = synchronizer(&storage, &view);
    let second = put(&storage, "a/2", &[2]).await;
    synchronizer.catch_up(&token(&second), super::set_up::PATIENCE).await.unwrap();
    assert_eq!(synchronizer.sweep().await.unwrap(), Swept { streams: 3, behind: 2 });
    for name in ["a/1", "a/2", "a/3"] {
        assert!(place(&view, name).position.is_some(), "{name}");
    }
    assert_eq!(synchronizer.sweep().await.unwrap(), Swept { streams: 3, behind: 0 });
}

#[tokio::test]
async fn lag_counts_what_a_sweep_found() {
    let (storage, view) = (storage(), view());
    put(&storage, "a/1", &[1, 2]).await;
    put(&storage, "a/1", &[3]).await;
    let failing = Arc::new(super::trouble::Failing::new(Arc::clone(&view)));
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&failing), settings());
    failing.fail(true);
    let sweeping = tokio::spawn({
        let synchronizer = synchronizer.clone();
        async move { synchronizer.sweep().await }
    });
    failing.fail_applying_only();
    until("the lag to be seen", || async { synchronizer.status().await.unwrap().lag_events == 3 }).await;
    let status = synchronizer.status().await.unwrap();
    assert!(status.lag > Duration::from_secs(1), "the event is of 1970: {:?}", status.lag);
    assert!(status.trouble.iter().any(|trouble| trouble.contains("out of reach")), "{status:?}");
    failing.fail(false);
    sweeping.await.unwrap().unwrap();
    let status = synchronizer.status().await.unwrap();
    assert_eq!((status.lag_events, status.applied_events, status.lag), (0, 3, Duration::ZERO));
    until("the trouble to be over", || async { synchronizer.status().await.unwrap().trouble.is_empty() })
        .await;
}

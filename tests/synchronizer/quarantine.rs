//! A commit that cannot be applied stops only its own stream (P13).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventsrc_core::Synchronizer;
use eventsrc_core::synchronizer::{
    CircuitBreaker, FollowError, RepairError, SynchronizerSettings, SynchronizerState,
};
use eventsrc_core::view::ViewStore;

use super::set_up::{
    PANICS, REFUSED, feed, follow, payloads, place, put, rejecting_view, settings, storage, stream,
    synchronizer, until, view_that,
};

#[tokio::test]
async fn p13_an_event_that_cannot_be_applied_stops_its_own_stream_only() {
    let (storage, view) = (storage(), rejecting_view());
    let mut commits = Vec::new();
    for number in 0..60 {
        let payload = match number {
            17 => REFUSED,
            42 => PANICS,
            number => number,
        };
        commits.push(put(&storage, &format!("a/{}", number % 20), &[payload]).await);
    }
    follow(&storage, &view, |hand| hand.commits(&commits)).await;
    for number in 0..20 {
        let expected: Vec<i64> = match number {
            17 => vec![],
            2 => vec![2, 22],
            number => vec![number, number + 20, number + 40],
        };
        assert_eq!(payloads(&view, &format!("a/{number}")), expected, "stream {number}");
        assert_eq!(place(&view, &format!("a/{number}")).quarantined, [2, 17].contains(&number));
    }
    let quarantined = view.quarantined().await.unwrap();
    let told: Vec<_> = quarantined.iter().map(|poison| (poison.stream.as_str(), poison.sequence)).collect();
    assert_eq!(told, [("a/17", 1), ("a/2", 3)]);
    assert_eq!(quarantined[0].error, "this cannot be applied");
    assert_eq!(quarantined[1].error, "the view panicked: this is beyond me");
}

#[tokio::test]
async fn commits_before_the_quarantined_one_are_applied() {
    let (storage, view) = (storage(), rejecting_view());
    let mut commits = Vec::new();
    for payload in [1, 2, 3, REFUSED, 5, 6] {
        commits.push(put(&storage, "a/1", &[payload]).await);
    }
    follow(&storage, &view, |hand| hand.commits(&commits)).await;
    assert_eq!(payloads(&view, "a/1"), [1, 2, 3]);
    assert_eq!(place(&view, "a/1").position, Some(3));
}

#[tokio::test]
async fn a_stream_is_retried_after_the_view_was_fixed() {
    let storage = storage();
    let mended = Arc::new(AtomicBool::new(false));
    let view = {
        let mended = Arc::clone(&mended);
        view_that(move |payload| {
            if payload == REFUSED && !mended.load(Ordering::SeqCst) { Err("not yet".into()) } else { Ok(()) }
        })
    };
    let synchronizer = synchronizer(&storage, &view);
    put(&storage, "a/1", &[1]).await;
    put(&storage, "a/1", &[REFUSED]).await;
    put(&storage, "a/1", &[3]).await;
    synchronizer.sweep().await.unwrap();
    assert!(place(&view, "a/1").quarantined);
    synchronizer.retry(&stream("a/1")).await.unwrap();
    until("it to fail again", || async { place(&view, "a/1").quarantined }).await;
    mended.store(true, Ordering::SeqCst);
    synchronizer.retry(&stream("a/1")).await.unwrap();
    until("all of it", || async { payloads(&view, "a/1") == [1, REFUSED, 3] }).await;
    let error = synchronizer.retry(&stream("a/1")).await.unwrap_err();
    assert!(matches!(error, RepairError::NotQuarantined(_)), "{error}");
}

#[tokio::test]
async fn all_streams_or_those_with_an_error_are_retried() {
    let storage = storage();
    let mended = Arc::new(AtomicBool::new(false));
    let view = {
        let mended = Arc::clone(&mended);
        view_that(move |payload| match payload {
            _ if mended.load(Ordering::SeqCst) => Ok(()),
            7 => Err("no rates".into()),
            8 => Err("no owner".into()),
            _ => Ok(()),
        })
    };
    let breaker = CircuitBreaker { share: 1.0, ..CircuitBreaker::default() };
    let settings = SynchronizerSettings { breaker, ..settings() };
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&view), settings);
    for number in 0..30 {
        put(&storage, &format!("a/{number}"), &[6 + number % 3]).await;
    }
    synchronizer.sweep().await.unwrap();
    assert_eq!(view.quarantined().await.unwrap().len(), 20);
    assert_eq!(synchronizer.retry_all(|_| false).await.unwrap(), 0);
    mended.store(true, Ordering::SeqCst);
    assert_eq!(synchronizer.retry_all(|entry| entry.error.contains("no rates")).await.unwrap(), 10);
    until("those with the error", || async { payloads(&view, "a/28") == [7] }).await;
    assert_eq!(view.quarantined().await.unwrap().len(), 10);
    assert_eq!(synchronizer.retry_all(|_| true).await.unwrap(), 10);
    for number in 0..30 {
        let all = || async { payloads(&view, &format!("a/{number}")) == [6 + number % 3] };
        until("all of them", all).await;
    }
    assert_eq!(view.quarantined().await.unwrap(), []);
    assert_eq!(synchronizer.retry_all(|_| true).await.unwrap(), 0);
}

#[tokio::test]
async fn a_skipped_commit_is_left_out_and_the_decision_is_recorded() {
    let (storage, view) = (storage(), rejecting_view());
    let synchronizer = synchronizer(&storage, &view);
    put(&storage, "a/1", &[1]).await;
    put(&storage, "a/1", &[7, REFUSED, 8]).await;
    put(&storage, "a/1", &[3]).await;
    synchronizer.sweep().await.unwrap();
    assert!(place(&view, "a/1").quarantined);
    let skip = synchronizer.skip(&stream("a/1"), "Ada: a typing error of 1970").await.unwrap();
    assert_eq!((skip.change.from, skip.change.to), (Some(1), 4));
    until("the commits after it", || async { payloads(&view, "a/1") == [1, 3] }).await;
    assert_eq!(view.skipped().await.unwrap(), [skip]);
    assert!(view.quarantined().await.unwrap().is_empty());
    let error = synchronizer.skip(&stream("a/1"), "again").await.unwrap_err();
    assert!(matches!(error, RepairError::NotQuarantined(_)), "{error}");
}

#[tokio::test]
async fn the_breaker_stops_a_view_that_cannot_apply_most_of_its_streams() {
    let (storage, view) = (storage(), rejecting_view());
    for number in 0..200 {
        put(&storage, &format!("a/{number}"), &[if number % 10 == 0 { 1 } else { REFUSED }]).await;
    }
    let synchronizer = synchronizer(&storage, &view);
    assert!(synchronizer.sweep().await.is_err());
    let status = synchronizer.status().await.unwrap();
    let SynchronizerState::Broken { quarantined, met } = status.state else { panic!("{:?}", status.state) };
    assert!(quarantined >= 10 && quarantined * 2 > met, "{quarantined} of {met}");
    assert!(status.quarantined.len() < 100, "it stopped early: {}", status.quarantined.len());
    let (hand, feed) = feed();
    hand.commits([&put(&storage, "a/1000", &[1]).await]);
    assert!(matches!(
        synchronizer.follow(feed).await,
        Err(FollowError::Stopped(SynchronizerState::Broken { .. }))
    ));
}

#[tokio::test]
async fn the_breaker_tolerates_a_few_quarantined_streams() {
    let (storage, view) = (storage(), rejecting_view());
    for number in 0..200 {
        put(&storage, &format!("a/{number}"), &[if number % 10 == 0 { REFUSED } else { 1 }]).await;
    }
    let breaker = CircuitBreaker { streams: 5, share: 0.5 };
    let settings = SynchronizerSettings { breaker, ..settings() };
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&view), settings);
    synchronizer.sweep().await.unwrap();
    let status = synchronizer.status().await.unwrap();
    assert_eq!(
        (status.state, status.quarantined.len(), status.applied_events),
        (SynchronizerState::Running, 20, 180)
    );
}

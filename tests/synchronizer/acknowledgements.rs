//! A delivery is acknowledged after its commits are applied or quarantined, and not before.

use eventsrc_core::feed::Change;
use eventsrc_core::synchronizer::{FollowError, SynchronizerState};
use eventsrc_core::{ErrorKind, StorageError};

use super::set_up::{
    REFUSED, feed, follow, payloads, place, put, rejecting_view, storage, stream, synchronizer, until, view,
};

#[tokio::test]
async fn a_delivery_is_acknowledged_once_all_its_commits_are_applied() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    let (hand, feed) = feed();
    let following = tokio::spawn({
        let synchronizer = synchronizer.clone();
        async move { synchronizer.follow(feed).await }
    });
    let mut commits = Vec::new();
    for number in 0..30 {
        commits.push(put(&storage, &format!("a/{number}"), &[number]).await);
    }
    hand.commits(&commits);
    until("the acknowledgement", || async { hand.acknowledged() == 1 }).await;
    for number in 0..30 {
        assert_eq!(payloads(&view, &format!("a/{number}")), [number]);
    }
    hand.commits(&commits);
    hand.changes(vec![Change::Stream(stream("a/1"))]);
    hand.changes(vec![Change::Anything]);
    hand.changes(vec![]);
    hand.commits([&put(&storage, "b/1", &[1]).await]);
    until("all acknowledgements", || async { hand.acknowledged() == 6 }).await;
    drop(hand);
    following.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_delivery_whose_stream_is_in_quarantine_is_acknowledged() {
    let (storage, view) = (storage(), rejecting_view());
    let synchronizer = synchronizer(&storage, &view);
    let (hand, feed) = feed();
    hand.commits([&put(&storage, "a/1", &[REFUSED]).await]);
    hand.commits([&put(&storage, "a/1", &[1]).await]);
    let following = async { synchronizer.follow(feed).await.unwrap() };
    let waiting = async {
        until("both", || async { hand.acknowledged() == 2 }).await;
        drop(hand);
    };
    futures::join!(following, waiting);
    assert!(place(&view, "a/1").quarantined);
}

#[tokio::test]
async fn following_ends_when_the_feed_has_ended_and_all_of_it_is_applied() {
    let (storage, view) = (storage(), view());
    let mut commits = Vec::new();
    for number in 0..200 {
        commits.push(put(&storage, &format!("a/{}", number % 7), &[number]).await);
    }
    follow(&storage, &view, |hand| commits.chunks(3).for_each(|chunk| hand.commits(chunk))).await;
    assert_eq!((0..7).map(|stream| payloads(&view, &format!("a/{stream}")).len()).sum::<usize>(), 200);
}

#[tokio::test]
async fn an_unavailable_feed_is_retried_and_a_broken_one_is_an_error() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    let (hand, feed) = feed();
    hand.fail(StorageError::new(ErrorKind::Unavailable, "the feed is away"));
    hand.commits([&put(&storage, "a/1", &[1]).await]);
    hand.fail(StorageError::new(ErrorKind::Refused, "the feed is not for you"));
    let error = synchronizer.follow(feed).await.unwrap_err();
    assert!(matches!(&error, FollowError::Feed(error) if error.kind() == ErrorKind::Refused), "{error:?}");
    until("the earlier delivery is applied", || async { payloads(&view, "a/1") == [1] }).await;
}

#[tokio::test]
async fn stopping_applies_delivered_commits_and_ends_following() {
    let (storage, view) = (storage(), view());
    let synchronizer = synchronizer(&storage, &view);
    let (hand, feed) = feed();
    hand.commits([&put(&storage, "a/1", &[1]).await]);
    let following = tokio::spawn({
        let synchronizer = synchronizer.clone();
        async move { synchronizer.follow(feed).await }
    });
    until("the first", || async { hand.acknowledged() == 1 }).await;
    synchronizer.stop().await;
    assert!(matches!(following.await.unwrap(), Err(FollowError::Stopped(SynchronizerState::Stopped))));
    assert_eq!(synchronizer.status().await.unwrap().state, SynchronizerState::Stopped);
}

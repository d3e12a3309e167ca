//! Commits of a stream are applied once and in order.

use std::sync::Arc;

use eventsrc_core::Synchronizer;
use eventsrc_core::feed::Change;
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_tests::HANG;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::set_up::{
    StoredCommit, feed, follow, payloads, place, put, rows, settings, storage, stream, view,
};

#[tokio::test]
async fn applies_commits_of_one_stream_in_order() {
    let (storage, view) = (storage(), view());
    let commits = [put(&storage, "a/1", &[1, 2]).await, put(&storage, "a/1", &[3]).await];
    follow(&storage, &view, |hand| hand.commits(&commits)).await;
    assert_eq!(payloads(&view, "a/1"), [1, 2, 3]);
    assert_eq!(place(&view, "a/1").position, Some(3));
    assert_eq!(storage.take().reads, 0, "delivered commits are not read again");
}

#[tokio::test]
async fn a_repeated_commit_changes_nothing() {
    let (storage, view) = (storage(), view());
    let commits = [put(&storage, "a/1", &[1]).await, put(&storage, "a/1", &[2]).await];
    follow(&storage, &view, |hand| {
        for _ in 0..5 {
            hand.commits(&commits);
            hand.commits(commits.iter().rev());
        }
    })
    .await;
    assert_eq!(payloads(&view, "a/1"), [1, 2]);
}

#[tokio::test]
async fn a_gap_before_a_commit_is_fetched_from_the_storage() {
    let (storage, view) = (storage(), view());
    for payload in 1..=9 {
        put(&storage, "a/1", &[payload]).await;
    }
    let last = put(&storage, "a/1", &[10]).await;
    follow(&storage, &view, |hand| hand.commits([&last])).await;
    assert_eq!(payloads(&view, "a/1"), (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_hint_to_a_stream_makes_it_read() {
    let (storage, view) = (storage(), view());
    put(&storage, "a/1", &[1]).await;
    put(&storage, "a/2", &[2]).await;
    follow(&storage, &view, |hand| hand.changes(vec![Change::Stream(stream("a/1"))])).await;
    assert_eq!(payloads(&view, "a/1"), [1]);
    assert!(payloads(&view, "a/2").is_empty(), "no hint named it");
    follow(&storage, &view, |hand| hand.changes(vec![Change::Anything])).await;
    assert_eq!(payloads(&view, "a/2"), [2]);
}

#[tokio::test]
async fn streams_that_the_view_does_not_follow_are_ignored() {
    let (storage, view) = (storage(), view());
    let commits = [put(&storage, "b/1", &[1]).await, put(&storage, "a/1", &[2]).await];
    follow(&storage, &view, |hand| {
        hand.commits(&commits);
        hand.changes(vec![Change::Stream(stream("b/1")), Change::Anything]);
    })
    .await;
    assert_eq!(rows(&view).keys().collect::<Vec<_>>(), ["a/1"]);
    assert_eq!(place(&view, "b/1").position, None);
}

#[tokio::test]
async fn batches_keep_to_their_limits_and_every_commit_is_applied() {
    let (storage, view) = (storage(), view());
    for number in 0..50 {
        for payload in 0..10 {
            put(&storage, &format!("a/{number}"), &[payload, payload]).await;
        }
    }
    let settings = SynchronizerSettings { events_per_batch: 7, remembered_positions: 2, ..settings() };
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&view), settings);
    assert_eq!(synchronizer.sweep().await.unwrap().behind, 50);
    let status = synchronizer.status().await.unwrap();
    assert_eq!(status.applied_events, 1000);
    assert!(status.applied_batches >= 1000 / 8, "{} batches", status.applied_batches);
    assert_eq!(rows(&view).len(), 50);
    assert!(rows(&view).values().all(|row| row.payloads.len() == 20));
}

/// Feeds that repeat, reorder and lose commits, for several synchronizers of one view at once, while the commits
/// are being stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_disorderly_feeds_and_racing_synchronizers_apply_each_commit_once() {
    for seed in 0..10 {
        let (storage, view) = (storage(), view());
        let mut random = StdRng::seed_from_u64(seed);
        let mut commits = Vec::new();
        for payload in 0..600 {
            let name = format!("a/{}", random.random_range(0..20));
            let payloads: Vec<i64> =
                (0..random.random_range(1..4)).map(|place| payload * 10 + place).collect();
            commits.push(put(&storage, &name, &payloads).await);
        }
        let workers = (0..4).map(|worker| {
            let settings =
                SynchronizerSettings { events_per_batch: [1, 10, 1000, 7][worker as usize], ..settings() };
            let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&view), settings);
            let (hand, feed) = feed();
            let mut random = StdRng::seed_from_u64(seed * 100 + worker);
            for delivery in disorder(&commits, &mut random).chunks(17) {
                hand.commits(delivery);
            }
            drop(hand);
            async move {
                synchronizer.follow(feed).await.unwrap();
                synchronizer.sweep().await.unwrap();
                synchronizer.stop().await;
            }
        });
        tokio::time::timeout(HANG, join_all(workers)).await.expect("all feeds end");
        let stored: Vec<_> = storage.scan(Segment::ALL).try_collect::<Vec<_>>().await.unwrap();
        let mut expected = super::set_up::Rows::new();
        for event in stored.iter().flat_map(|page| page.events()) {
            let row = expected.entry(event.key().to_string()).or_default();
            row.payloads.push(*event.payload);
            if event.index == 0 {
                row.commits.push(event.metadata().commit_id);
            }
        }
        assert_eq!(rows(&view), expected, "seed {seed}");
    }
}

/// A fifth is lost, a fifth is repeated, and each is up to 20 positions early or late.
fn disorder(commits: &[StoredCommit], random: &mut StdRng) -> Vec<StoredCommit> {
    let mut disorder: Vec<_> = commits
        .iter()
        .flat_map(|commit| {
            let times = match random.random_range(0..5) {
                0 => 0,
                1 => 2,
                _ => 1,
            };
            std::iter::repeat_n(Arc::clone(commit), times)
        })
        .collect();
    disorder.chunks_mut(20).for_each(|chunk| chunk.shuffle(random));
    disorder
}

#[tokio::test]
async fn a_scan_brings_a_view_to_the_fold_of_everything() {
    let (storage, view) = (storage(), view());
    for number in 0..100 {
        put(&storage, &format!("a/{number}"), &[number, number]).await;
    }
    let pages: Vec<_> = storage.scan(Segment::ALL).map(Result::unwrap).collect().await;
    follow(&storage, &view, |hand| pages.iter().for_each(|page| hand.commits(page.commits()))).await;
    assert_eq!(rows(&view).len(), 100);
}

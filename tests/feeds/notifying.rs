//! The feed of the commits that this process stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventsrc_core::clock::SystemClock;
use eventsrc_core::feed::{Change, ChangeFeed, NotifyingStorage, Subscription};
use eventsrc_core::storage::Put;
use eventsrc_core::{ErrorKind, EventStorage, StreamName};
use eventsrc_testkit::conformance::Sample;
use eventsrc_testkit::{Faults, Faulty};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::reader::{Reader, stored};
use super::{
    Draft, Memory, Samples, assert_waits, commit, commits, fill, name, next, sqlite, store, within_polls,
};

type Feed = Subscription<StreamName, u64, Sample>;

async fn ends(mut feed: Feed) {
    assert!(feed.next().await.unwrap().is_none());
    assert!(feed.next().await.unwrap().is_none(), "it stays at its end");
}

#[tokio::test]
async fn every_commit_is_delivered_once_as_it_was_put() {
    async fn on<St: Samples>(storage: St) {
        let published = NotifyingStorage::new(storage);
        let (mut first, mut second) = (published.subscribe(1_000), published.clone().subscribe(1_000));
        let put = fill(&published, 5).await;
        assert_eq!(commits(next(&mut first).await), put);
        assert_waits(first.next()).await;
        let late = published.subscribe(1_000);
        let more = commit(&name("more"), 1, 1);
        store(&published, &more).await;
        drop(published);
        assert_eq!(commits(next(&mut first).await), std::slice::from_ref(&more));
        assert_eq!(commits(next(&mut second).await).len(), put.len() + 1);
        for mut feed in [first, second] {
            assert!(feed.next().await.unwrap().is_none());
            ends(feed).await;
        }
        let mut late = late;
        assert_eq!(commits(next(&mut late).await), [more]);
        ends(late).await;
    }
    on(Memory::default()).await;
    let (_folder, storage) = sqlite(256).await;
    on(storage).await;
}

#[tokio::test]
async fn many_changes_come_in_several_deliveries() {
    let published = NotifyingStorage::new(Memory::default());
    let mut feed = published.subscribe(10_000);
    let key = name("a");
    for number in 1..=2_500 {
        store(&published, &commit(&key, number, 1)).await;
    }
    assert_eq!(feed.waiting(), 2_500);
    let mut found = Vec::new();
    for _ in 0..3 {
        found.extend(commits(next(&mut feed).await).iter().map(|commit| commit.first));
    }
    assert_eq!(found, (1..=2_500).collect::<Vec<_>>());
    assert_eq!(feed.waiting(), 0);
}

#[tokio::test]
async fn next_waits_and_can_be_cancelled() {
    let published = NotifyingStorage::new(Memory::default());
    let mut feed = published.subscribe(10);
    for number in 1..=3 {
        assert_waits(feed.next()).await;
        let put = commit(&name("a"), number, 1);
        let (changes, ()) = futures::join!(next(&mut feed), store(&published, &put));
        assert_eq!(commits(changes), [put]);
    }
    assert_waits(feed.next()).await;
    let put = commit(&name("a"), 4, 1);
    store(&published, &put).await;
    assert_eq!(commits(next(&mut feed).await), [put]);
}

/// A repeated put is recognised by its commit id. The stored commit may have another time and other payloads than
/// the repetition.
#[tokio::test]
async fn a_repeated_put_gives_a_hint_and_a_conflict_gives_none() {
    let published = NotifyingStorage::new(Memory::default());
    let put = commit(&name("a"), 1, 1);
    store(&published, &put).await;
    let mut feed = published.subscribe(10);
    let mut again = (*put).clone();
    again.payloads[0] = Sample::Nothing;
    assert!(matches!(published.put(again.into()).await, Ok(Put::Repeated { last: 1 })));
    assert!(matches!(next(&mut feed).await.as_slice(), [Change::Stream(key)] if *key == put.key));
    assert!(matches!(published.put(commit(&name("a"), 1, 1)).await, Ok(Put::Conflict(_))));
    assert_waits(feed.next()).await;
}

#[tokio::test]
async fn a_failed_put_gives_a_hint() {
    let faults = Faults { reply_lost: 1.0, ..Faults::none() };
    let published = NotifyingStorage::new(Faulty::new(Memory::default(), faults, Arc::new(SystemClock)));
    let mut feed = published.subscribe(10);
    let put = commit(&name("a"), 1, 1);
    let error = published.put(Arc::clone(&put)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(matches!(next(&mut feed).await.as_slice(), [Change::Stream(key)] if *key == put.key));
    assert!(published.latest(&put.key).await.unwrap().is_some(), "it was stored");
}

/// The writing thread of SQLite stores the commit later, after its caller dropped the future.
#[tokio::test]
async fn a_cancelled_put_is_announced_once_it_is_stored() {
    let (_folder, storage) = sqlite(256).await;
    let published = NotifyingStorage::new(storage.clone());
    let mut feed = published.subscribe(10);
    let mut given_up = 0;
    for number in 1..=1_000 {
        let put = commit(&name("a"), number, 1);
        let in_time = within_polls(published.put(Arc::clone(&put)), 1).await.is_some();
        assert_eq!(commits(next(&mut feed).await), std::slice::from_ref(&put));
        assert_eq!(storage.latest(&put.key).await.unwrap(), Some(put.head()));
        given_up += usize::from(!in_time);
        if given_up == 10 {
            return;
        }
    }
    panic!("only {given_up} of 1,000 puts could be given up before they were stored");
}

#[tokio::test]
async fn a_subscriber_that_never_reads_holds_little_and_misses_nothing() {
    async fn on<St: Samples>(storage: St) {
        let published = NotifyingStorage::new(storage.clone());
        let few = published.subscribe(10);
        let many = published.subscribe(40);
        fill(&published, 50).await;
        assert_eq!(few.waiting(), 11, "10 commits, and that anything may have grown");
        assert_eq!(many.waiting(), 41);
        let middle = published.subscribe(60);
        fill_again(&published, 50).await;
        assert_eq!(middle.waiting(), 60 + 50, "60 commits, and the streams of the others");
        drop(published);
        for (feed, streams, anything) in [(few, 0, 1), (many, 0, 1), (middle, 50, 0)] {
            let mut reader = Reader::new(storage.clone());
            reader.follow(feed, &mut StdRng::seed_from_u64(1)).await;
            assert_eq!((reader.streams, reader.anything), (streams, anything));
            assert_eq!(reader.held, stored(&storage).await);
        }
    }
    on(Memory::default()).await;
    let (_folder, storage) = sqlite(256).await;
    on(storage).await;
}

/// Stores 3 more commits on each of the `streams` streams that `fill` filled.
async fn fill_again<St: Samples>(storage: &St, streams: usize) {
    for first in 7..10 {
        for stream in 0..streams {
            store(storage, &commit(&name(&stream.to_string()), first, 1)).await;
        }
    }
}

#[tokio::test]
async fn a_dropped_subscription_is_removed() {
    let (_folder, storage) = sqlite(256).await;
    let published = NotifyingStorage::new(storage);
    let (feed, mut other) = (published.subscribe(10), published.subscribe(10));
    let put = commit(&name("a"), 1, 1);
    let held = Arc::downgrade(&put);
    store(&published, &put).await;
    drop(put);
    drop(next(&mut other).await);
    assert!(held.upgrade().is_some(), "it waits for the subscriber");
    drop(feed);
    // The thread that writes drops its copy before the next put.
    store(&published, &commit(&name("a"), 2, 1)).await;
    assert!(held.upgrade().is_none(), "the future is dropped");
    assert_eq!(commits(next(&mut other).await).len(), 1);
}

/// Writers race, fail and cancel; subscribers are slow, cancel and subscribe late.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_stored_commit_is_delivered_or_covered_by_a_hint() {
    let mut seen = [0; 4];
    for seed in 1..=12 {
        add(&mut seen, race(Memory::default(), seed, 60).await);
    }
    for seed in 21..=22 {
        let (_folder, storage) = sqlite(256).await;
        add(&mut seen, race(storage, seed, 20).await);
    }
    let [given_up, commits, streams, anything] = seen;
    assert!(given_up > 50 && commits > 1_000 && streams > 100 && anything > 50, "{seen:?}");
}

fn add(sum: &mut [usize; 4], more: [usize; 4]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// The number of cancelled puts, and the number of changes of each kind that the subscribers received.
async fn race<St: Samples>(storage: St, seed: u64, puts: usize) -> [usize; 4] {
    println!("seed {seed}");
    let faulty = Faulty::new(storage.clone(), Faults::seeded(seed), Arc::new(SystemClock));
    let published = NotifyingStorage::new(faulty);
    let subscribe = |capacity, late: bool, number| {
        let (feed, storage) = (published.subscribe(capacity), storage.clone());
        tokio::spawn(async move {
            let mut reader = Reader::new(storage);
            if late {
                reader.look_at_all().await;
            }
            reader.follow(feed, &mut StdRng::seed_from_u64(seed * 100 + number)).await;
            reader
        })
    };
    let mut subscribers: Vec<_> = [0, 1, 4, 50, 100_000]
        .into_iter()
        .zip(1..)
        .map(|(capacity, n)| subscribe(capacity, false, n))
        .collect();
    let given_up = Arc::new(AtomicUsize::new(0));
    let writers = |numbers: std::ops::Range<u64>| {
        let writer = |number| {
            let draws = StdRng::seed_from_u64(seed * 100 + number);
            tokio::spawn(write(published.clone(), storage.clone(), draws, puts, Arc::clone(&given_up)))
        };
        futures::future::join_all(numbers.map(writer).collect::<Vec<_>>())
    };
    writers(10..16).await.into_iter().for_each(Result::unwrap);
    let running = writers(20..26);
    subscribers.extend([subscribe(4, true, 6), subscribe(100_000, true, 7)]);
    running.await.into_iter().for_each(Result::unwrap);
    drop(published);
    let mut seen = [given_up.load(Ordering::Relaxed), 0, 0, 0];
    for subscriber in subscribers {
        let reader = subscriber.await.unwrap();
        assert_eq!(reader.held, stored(&storage).await, "seed {seed}");
        add(&mut seen, [0, reader.commits, reader.streams, reader.anything]);
    }
    seen
}

/// Puts commits at the ends of a few streams. Some puts are cancelled, and some failed ones are repeated.
async fn write<St: Samples>(
    published: NotifyingStorage<Faulty<St>>,
    storage: St,
    mut draws: StdRng,
    puts: usize,
    given_up: Arc<AtomicUsize>,
) {
    for _ in 0..puts {
        let key = name(&draws.random_range(0..8).to_string());
        let first = storage.latest(&key).await.unwrap().map_or(1, |head| head.sequence + 1);
        let put: Draft = commit(&key, first, draws.random_range(1..4));
        let mut failed = true;
        while failed && draws.random_bool(0.8) {
            let patience = if draws.random_bool(0.2) { draws.random_range(1..3) } else { usize::MAX };
            failed = match within_polls(published.put(Arc::clone(&put)), patience).await {
                Some(put) => put.is_err(),
                None => {
                    given_up.fetch_add(1, Ordering::Relaxed);
                    false
                }
            };
        }
    }
}

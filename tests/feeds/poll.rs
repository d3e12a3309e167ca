//! The feed that polls the heads of known streams.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::feed::{Change, ChangeFeed, PollFeed, PollSettings};
use eventsrc_core::storage::{CallCounts, CountingStorage, Merged};
use eventsrc_core::{ErrorKind, Timestamp, Token};
use eventsrc_testkit::conformance::{Sample, Unreadable};
use eventsrc_testkit::{Faults, Faulty};
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{Semaphore, watch};

use super::reader::{Reader, stored};
use super::{
    Draft, Memory, Samples, assert_waits, commit, commits, fill, name, next, next_with_interruptions, sqlite,
    store,
};

/// A clock on which every sleep lasts until the test ends it.
struct SteppedClock {
    waits: watch::Sender<Vec<Duration>>,
    ends: Arc<Semaphore>,
}

impl SteppedClock {
    fn new() -> Arc<Self> {
        Arc::new(Self { waits: watch::Sender::new(Vec::new()), ends: Arc::new(Semaphore::new(0)) })
    }

    /// Ends the current sleep, and returns at the next one. The feed delivers nothing until then.
    async fn pass<F: ChangeFeed>(&self, feed: &mut F) -> Duration {
        let before = self.waits.borrow().len();
        self.ends.add_permits(1);
        self.wait(feed, before + 1).await
    }

    /// Returns at the sleep of this number. The feed delivers nothing until then.
    async fn wait<F: ChangeFeed>(&self, feed: &mut F, number: usize) -> Duration {
        let mut waits = self.waits.subscribe();
        tokio::select! {
            delivery = feed.next() => panic!("there was nothing new, and yet {:?}", delivery.map(|d| d.is_some())),
            waits = waits.wait_for(|waits| waits.len() >= number) => waits.unwrap()[number - 1],
        }
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.waits.send_modify(|waits| waits.push(duration));
        let ends = Arc::clone(&self.ends);
        Box::pin(async move { ends.acquire().await.unwrap().forget() })
    }
}

fn settings() -> PollSettings {
    let (shortest_wait, longest_wait) = (Duration::from_millis(10), Duration::from_millis(35));
    PollSettings { shortest_wait, longest_wait, at_once: 2 }
}

fn names(ids: &[&str]) -> Vec<eventsrc_core::StreamName> {
    ids.iter().map(|id| name(id)).collect()
}

#[tokio::test]
async fn only_what_is_new_is_read_and_the_wait_grows_when_there_is_nothing() {
    let storage = Arc::new(CountingStorage::new(Memory::default()));
    let clock = SteppedClock::new();
    let put = fill(&storage, 3).await;
    storage.take();
    let streams = names(&["0", "1", "none"]);
    let mut feed = PollFeed::new(Arc::clone(&storage), streams, &Token::default(), settings(), clock.clone());
    let mut found = [next(&mut feed).await, next(&mut feed).await].map(commits).concat();
    found.sort_by_key(|commit| commit.key.clone());
    let mut expected: Vec<_> = put.into_iter().filter(|commit| commit.key != name("2")).collect();
    expected.sort_by_key(|commit| commit.key.clone());
    assert_eq!(found, expected);
    assert_eq!(clock.wait(&mut feed, 1).await, Duration::from_millis(10));
    assert_eq!(storage.take(), CallCounts { reads: 3, pages: 2, ..CallCounts::default() });
    for millis in [20, 35, 35] {
        assert_eq!(clock.pass(&mut feed).await, Duration::from_millis(millis));
        assert_eq!(storage.take(), CallCounts { reads: 3, ..CallCounts::default() });
    }
    let news = [commit(&name("none"), 1, 1), commit(&name("1"), 7, 2)];
    for (index, commit) in news.iter().enumerate() {
        store(&storage, commit).await;
        storage.take();
        clock.ends.add_permits(1);
        assert_eq!(commits(next(&mut feed).await), std::slice::from_ref(commit));
        let wait = clock.wait(&mut feed, 5 + index).await;
        assert_eq!(wait, Duration::from_millis(10), "there was something");
        assert_eq!(storage.take(), CallCounts { reads: 3, pages: 1, ..CallCounts::default() });
    }
    assert_eq!(clock.pass(&mut feed).await, Duration::from_millis(20));
}

#[tokio::test]
async fn streams_are_read_from_where_the_token_is() {
    async fn on<St: Samples>(storage: St) {
        let put = fill(&storage, 4).await;
        let token = Token::claimed(&name("0"), 3_u64).unwrap();
        let token = token.join(&Token::claimed(&name("1"), 6_u64).unwrap());
        let token = token.join(&Token::claimed(&name("2"), 99_u64).unwrap());
        let streams = names(&["0", "1", "2", "3"]);
        let mut feed = PollFeed::new(storage.clone(), streams, &token, settings(), SteppedClock::new());
        let mut found: Vec<_> = [next(&mut feed).await, next(&mut feed).await].map(commits).concat();
        found.sort_by_key(|commit| (commit.key.clone(), commit.first));
        let new = |commit: &Draft| commit.key == name("3") || commit.key == name("0") && commit.first > 3;
        let mut expected: Vec<_> = put.into_iter().filter(new).collect();
        expected.sort_by_key(|commit| (commit.key.clone(), commit.first));
        assert_eq!(found, expected);
    }
    on(Memory::default()).await;
    let (_folder, storage) = sqlite(256).await;
    on(storage).await;
}

/// A token that ends inside a commit, or a merged storage that has a part of one.
#[tokio::test]
async fn a_partly_visible_commit_becomes_a_hint() {
    let storage = Memory::default();
    let put = [commit(&name("a"), 1, 3), commit(&name("a"), 4, 1)];
    store(&storage, &put[0]).await;
    store(&storage, &put[1]).await;
    let token = Token::claimed(&name("a"), 2_u64).unwrap();
    let streams = names(&["a"]);
    let mut feed =
        PollFeed::new(Arc::clone(&storage), streams.clone(), &token, settings(), SteppedClock::new());
    match next(&mut feed).await.as_slice() {
        [Change::Stream(key), Change::Commit(commit)] => assert_eq!((key, commit), (&name("a"), &put[1])),
        other => panic!("{other:?}"),
    }
    assert_waits(feed.next()).await;
    let first = Memory::default();
    store(&first, &commit(&name("a"), 1, 2)).await;
    store(&first, &commit(&name("a"), 3, 2)).await;
    let storage = Memory::default();
    store(&storage, &commit(&name("a"), 1, 1)).await;
    store(&storage, &commit(&name("a"), 2, 4)).await;
    let merged = Merged::new(first, storage);
    let mut feed = PollFeed::new(merged, streams, &Token::default(), settings(), SteppedClock::new());
    match next(&mut feed).await.as_slice() {
        [Change::Commit(one), Change::Commit(three)] => assert_eq!((one.first, three.first), (1, 3)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(next(&mut feed).await.as_slice(), [Change::Stream(key)] if *key == name("a")));
    assert_waits(feed.next()).await;
}

#[tokio::test]
async fn a_token_at_the_last_sequence_and_no_stream_at_all_are_followed_to_their_end() {
    let storage = Memory::default();
    store(&storage, &commit(&name("a"), 1, 1)).await;
    let clock = SteppedClock::new();
    let token = Token::claimed(&name("a"), i64::MAX as u64).unwrap();
    let mut feed = PollFeed::new(Arc::clone(&storage), names(&["a"]), &token, settings(), clock.clone());
    clock.wait(&mut feed, 1).await;
    clock.pass(&mut feed).await;
    let mut feed = PollFeed::new(storage, [], &Token::default(), settings(), clock);
    assert!(feed.next().await.unwrap().is_none());
}

#[tokio::test]
async fn an_event_that_cannot_be_read_names_its_stream_and_the_feed_goes_on() {
    let (_folder, storage) = sqlite(2).await;
    fill(&storage, 2).await;
    let mut broken = (*commit(&name("0"), 7, 3)).clone();
    broken.payloads[1] = Sample::Unreadable(Unreadable);
    store(&storage, &broken.into()).await;
    store(&storage, &commit(&name("0"), 10, 2)).await;
    let (clock, streams) = (SteppedClock::new(), names(&["0", "1"]));
    let mut feed = PollFeed::new(storage.clone(), streams, &Token::default(), settings(), clock.clone());
    let mut reader = Reader::new(storage.clone());
    while reader.streams == 0 || reader.commits < 6 {
        reader.take(feed.next().await.unwrap().unwrap()).await;
    }
    assert_eq!((reader.streams, reader.commits), (1, 6), "once, and all that can be read in order");
    clock.wait(&mut feed, 1).await;
    assert_eq!(clock.pass(&mut feed).await, Duration::from_millis(20), "there was nothing new");
    let later = commit(&name("0"), 12, 1);
    store(&storage, &later).await;
    clock.ends.add_permits(1);
    assert_eq!(commits(next(&mut feed).await), [later]);
}

#[tokio::test]
async fn unavailable_streams_are_read_once_they_are_available() {
    let (_folder, storage) = sqlite(2).await;
    fill(&storage, 8).await;
    for seed in 1..=3 {
        println!("seed {seed}");
        let draws = &mut StdRng::seed_from_u64(seed);
        let faulty = Faulty::new(storage.clone(), Faults::seeded(seed), Arc::new(SystemClock));
        let streams: Vec<_> = (0..8).map(|stream| name(&stream.to_string())).collect();
        let clock = SteppedClock::new();
        clock.ends.add_permits(1_000);
        let mut feed = PollFeed::new(faulty, streams, &Token::default(), settings(), clock.clone());
        let (mut reader, mut errors) = (Reader::new(storage.clone()), 0);
        while reader.commits < 24 {
            match next_with_interruptions(&mut feed, draws).await {
                Ok(delivery) => reader.take(delivery.unwrap()).await,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable);
                    errors += 1;
                }
            }
        }
        assert_eq!(reader.held, stored(&storage).await, "seed {seed}");
        assert_eq!((reader.commits, reader.streams), (24, 0), "seed {seed}: each once");
        assert!(errors > 0 && errors <= clock.waits.borrow().len() + 1, "seed {seed}: {errors}, one a round");
    }
}

/// Also if the call is cancelled at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_stored_during_polls_are_delivered_once_and_in_order() {
    async fn on<St: Samples>(storage: St, commits_each: u64) {
        const STREAMS: u64 = 10;
        let seed = 5;
        println!("seed {seed}");
        let streams: Vec<_> = (0..STREAMS).map(|stream| name(&stream.to_string())).collect();
        let writers: Vec<_> = streams
            .iter()
            .map(|key| {
                let (storage, key) = (storage.clone(), key.clone());
                tokio::spawn(async move {
                    for number in 0..commits_each {
                        store(&storage, &commit(&key, 1 + 2 * number, 2)).await;
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let settings = PollSettings {
            shortest_wait: Duration::ZERO,
            longest_wait: Duration::from_millis(2),
            at_once: 3,
        };
        let mut feed =
            PollFeed::new(storage.clone(), streams, &Token::default(), settings, Arc::new(SystemClock));
        let draws = &mut StdRng::seed_from_u64(seed);
        let mut reader = Reader::new(storage.clone());
        let last = Mutex::new(std::collections::BTreeMap::new());
        while reader.commits < (STREAMS * commits_each) as usize {
            let delivery = next_with_interruptions(&mut feed, draws).await.unwrap().unwrap();
            for change in &delivery.changes {
                let Change::Commit(commit) = change else { panic!("{change:?}") };
                let before = last.lock().unwrap().insert(commit.key.clone(), commit.last()).unwrap_or(0);
                assert_eq!(commit.first, before + 1, "{:?} in order, each once", commit.key);
            }
            reader.take(delivery).await;
            if draws.random_bool(0.1) {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(reader.streams, 0);
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(reader.held, stored(&storage).await);
    }
    on(Memory::default(), 200).await;
    let (_folder, storage) = sqlite(256).await;
    on(storage, 30).await;
}

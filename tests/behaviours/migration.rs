//! A service moves from one storage to another while its processes save.

use std::sync::Arc;

use eventsrc_core::clock::SystemClock;
use eventsrc_core::save::SaveError;
use eventsrc_core::storage::{CommitOf, Migration, PageOf, Put, PutOf, ScanStorage, Segment};
use eventsrc_core::{Context, EventStorage, Head, Operation, SaveApi, StorageError};
use eventsrc_testkit::{Faults, Faulty};
use futures::TryStreamExt;
use futures::future::join_all;
use futures::stream::BoxStream;

use super::directory::{A, Directory, Entry, Letter, directory, saves, sequence, set};

type Moving = Migration<Directory, Directory>;

async fn commits<St>(storage: &St) -> Vec<Arc<eventsrc_core::Commit<Letter, u64, Entry>>>
where
    St: EventStorage<Key = Letter, Sequence = u64, Payload = Entry>,
{
    let pages: Vec<_> = storage.events(&A, None).try_collect().await.unwrap();
    pages.iter().flat_map(|page| page.commits().to_vec()).collect()
}

#[tokio::test]
async fn processes_of_neighbouring_steps_never_both_store_a_sequence() {
    let (old, new) = (directory(), directory());
    let before = saves(Arc::clone(&old));
    assert_eq!(sequence(before.save(&A, Operation::insert(set("ada", 1))).await.unwrap()), 1);
    // The input of an audit: both writers remember sequence 1.
    let copying = saves(Moving::copying(Arc::clone(&old), Arc::clone(&new)));
    assert_eq!(sequence(copying.save(&A, Operation::insert(set("ada", 2))).await.unwrap()), 2);
    assert_eq!(sequence(before.save(&A, Operation::insert(set("ada", 3))).await.unwrap()), 3);
    let copied = Moving::copying(Arc::clone(&old), Arc::clone(&new)).copy(Segment::ALL).await.unwrap();
    assert_eq!((copied.streams, copied.commits, copied.failed.len()), (1, 1, 0));
    let switching = saves(Moving::switching(Arc::clone(&old), Arc::clone(&new)));
    assert_eq!(sequence(switching.save(&A, Operation::insert(set("ada", 4))).await.unwrap()), 4);
    assert_eq!(sequence(copying.save(&A, Operation::insert(set("ada", 5))).await.unwrap()), 5);
    let after = saves(Arc::clone(&new));
    assert_eq!(sequence(after.save(&A, Operation::insert(set("ada", 6))).await.unwrap()), 6);
    assert_eq!(sequence(switching.save(&A, Operation::insert(set("ada", 7))).await.unwrap()), 7);
    assert_eq!(sequence(after.save(&A, Operation::insert(set("ada", 8))).await.unwrap()), 8);
    let values: Vec<_> = commits(&new).await.iter().map(|commit| commit.payloads[0].clone()).collect();
    assert_eq!(values, (1..=8).map(|value| set("ada", value)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_put_that_reaches_one_storage_only_is_unknown_and_settled_by_putting_again() {
    for switching in [false, true] {
        let (old, new) = (directory(), directory());
        let faulty = Arc::new(Faulty::new(
            Arc::clone(&new),
            Faults { seed: 3, failed_before: 0.5, ..Faults::none() },
            Arc::new(SystemClock),
        ));
        let storage = match switching {
            true => Migration::switching(Arc::clone(&old), Arc::clone(&faulty)),
            false => Migration::copying(Arc::clone(&old), Arc::clone(&faulty)),
        };
        let writer = saves(storage);
        let mut failures = 0;
        for value in 0..100 {
            let mut context = Context::default();
            loop {
                match writer.save_with(&A, &context, Operation::insert(set("ada", value))).await {
                    Ok(outcome) => break assert!(outcome.saved().is_some()),
                    Err(SaveError { commit_id, .. }) => context.commit_id = Some(commit_id),
                }
                failures += 1;
            }
        }
        assert!(failures > 10, "{failures} failures");
        let (old, new) = (commits(&old).await, commits(&new).await);
        assert_eq!((old.len(), new.len()), (100, 100), "switching: {switching}");
        assert!(old == new, "switching: {switching}");
    }
}

#[tokio::test]
async fn what_only_the_old_storage_has_is_completed_or_given_up_but_never_mixed() {
    let (old, new) = (directory(), directory());
    let copying = saves(Moving::copying(Arc::clone(&old), Arc::clone(&new)));
    for value in 1..=3 {
        let _ = copying.save(&A, Operation::insert(set("ada", value))).await.unwrap();
    }
    // A process was killed between the two storages.
    let _ = saves(Arc::clone(&old)).save(&A, Operation::insert(set("killed", 4))).await.unwrap();
    let switching = saves(Moving::switching(Arc::clone(&old), Arc::clone(&new)));
    let saved = switching.save(&A, Operation::insert(set("ada", 5))).await.unwrap().saved().unwrap();
    assert_eq!((saved.sequence, saved.retries), (5, 1), "the fourth is completed first");
    // Again, and this time a process of the next step is faster.
    let _ = saves(Arc::clone(&old)).save(&A, Operation::insert(set("killed", 6))).await.unwrap();
    let after = saves(Arc::clone(&new));
    assert_eq!(sequence(after.save(&A, Operation::insert(set("ada", 6))).await.unwrap()), 6);
    for value in 7..=9 {
        let writer = if value % 2 == 0 { &after as &dyn Writer } else { &switching };
        assert_eq!(writer.insert(value).await, u64::from(value));
    }
    let names: Vec<_> = commits(&new).await.iter().map(|commit| commit.payloads[0].clone()).collect();
    assert_eq!(names.iter().filter(|entry| **entry == set("killed", 4)).count(), 1);
    assert!(!names.contains(&set("killed", 6)), "it was never acknowledged");
    assert_eq!(names.len(), 9);
}

/// A writer of either storage.
trait Writer {
    fn insert(&self, value: u32) -> futures::future::BoxFuture<'_, u64>;
}

impl<St> Writer for SaveApi<St>
where
    St: EventStorage<Key = Letter, Sequence = u64, Payload = Entry>,
{
    fn insert(&self, value: u32) -> futures::future::BoxFuture<'_, u64> {
        Box::pin(async move { sequence(self.save(&A, Operation::insert(set("ada", value))).await.unwrap()) })
    }
}

#[tokio::test]
async fn a_deployment_in_steps_loses_and_repeats_nothing() {
    let (old, new) = (directory(), directory());
    let steps: [Arc<dyn Fn() -> Box<dyn Writer + Send + Sync> + Send + Sync>; 4] = {
        let storages = (Arc::clone(&old), Arc::clone(&new));
        let (a, b, c, d) = (storages.clone(), storages.clone(), storages.clone(), storages);
        [
            Arc::new(move || Box::new(saves(Arc::clone(&a.0)))),
            Arc::new(move || Box::new(saves(Moving::copying(Arc::clone(&b.0), Arc::clone(&b.1))))),
            Arc::new(move || Box::new(saves(Moving::switching(Arc::clone(&c.0), Arc::clone(&c.1))))),
            Arc::new(move || Box::new(saves(Arc::clone(&d.1)))),
        ]
    };
    let write = |step: usize, process: u32| {
        let writer = steps[step]();
        async move {
            let mut acknowledged = Vec::new();
            for number in 0..50 {
                let value = step as u32 * 10_000 + process * 1_000 + number;
                acknowledged.push((writer.insert(value).await, value));
                tokio::task::yield_now().await;
            }
            acknowledged
        }
    };
    let mut acknowledged = Vec::new();
    for step in 0..3 {
        // Two processes of this step, and two of the next one.
        let now = join_all([write(step, 1), write(step, 2), write(step + 1, 3), write(step + 1, 4)]).await;
        acknowledged.extend(now.concat());
        if step == 0 {
            let migration = Moving::copying(Arc::clone(&old), Arc::clone(&new));
            let (copied, more) = futures::join!(migration.copy(Segment::ALL), write(1, 5));
            acknowledged.extend(more);
            assert!(copied.unwrap().failed.is_empty());
        }
    }
    let stored = commits(&new).await;
    assert_eq!(stored.len(), acknowledged.len());
    for (sequence, value) in acknowledged {
        assert_eq!(stored[sequence as usize - 1].payloads[0], set("ada", value), "at {sequence}");
    }
    assert!(stored.windows(2).all(|pair| pair[1].previous == Some(pair[0].metadata.commit_id)));
}

/// A new storage whose every put lets a writer of the old one go ahead by a commit.
struct Overtaken {
    old: SaveApi<Directory>,
    new: Directory,
}

impl EventStorage for Overtaken {
    type Key = Letter;
    type Sequence = u64;
    type Payload = Entry;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let _ = self.old.save(&A, Operation::insert(set("ahead", 1))).await.unwrap();
        self.new.put(commit).await
    }

    async fn recent(&self, key: &Letter, count: usize) -> Result<Vec<Head<u64>>, StorageError> {
        self.new.recent(key, count).await
    }

    fn events(&self, key: &Letter, from: Option<u64>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.new.events(key, from)
    }
}

#[tokio::test]
async fn a_copy_ends_although_writers_go_on_as_fast_as_it_copies() {
    let (old, new) = (directory(), directory());
    for value in 0..10 {
        let _ = saves(Arc::clone(&old)).save(&A, Operation::insert(set("ada", value))).await.unwrap();
    }
    let overtaken = Overtaken { old: saves(Arc::clone(&old)), new: Arc::clone(&new) };
    let migration = Migration::copying(Arc::clone(&old), overtaken);
    let copied = migration.copy(Segment::ALL).await.unwrap();
    assert_eq!((copied.commits, copied.failed.len()), (10, 0));
    // A read waits for what the old storage had when it began.
    assert_eq!(migration.latest(&A).await.unwrap().unwrap().sequence, 20);
}

#[tokio::test]
async fn a_copy_can_be_repeated_and_reports_the_streams_that_differ() {
    let (old, new) = (directory(), directory());
    for letter in ['a', 'b', 'c'] {
        for value in 0..5 {
            let _ = saves(Arc::clone(&old))
                .save(&Letter(letter), Operation::insert(set("x", value)))
                .await
                .unwrap();
        }
    }
    // Another program has used the new storage.
    let _ = saves(Arc::clone(&new)).save(&Letter('b'), Operation::insert(set("other", 1))).await.unwrap();
    let migration = Moving::copying(Arc::clone(&old), Arc::clone(&new));
    let copied = migration.copy(Segment::ALL).await.unwrap();
    assert_eq!((copied.streams, copied.commits), (3, 10));
    let [(stream, error)] = &copied.failed[..] else { panic!("{copied:?}") };
    assert_eq!((stream.as_str(), error.kind()), ("letter/b", eventsrc_core::ErrorKind::Diverged));
    let again = migration.copy(Segment::ALL).await.unwrap();
    assert_eq!((again.streams, again.commits, again.failed.len()), (3, 0, 1));
    let heads = async |storage: &Directory| {
        let mut heads = storage.heads(Segment::ALL).try_concat().await.unwrap();
        heads.retain(|(key, _)| *key != Letter('b'));
        heads.sort_by_key(|(key, _)| key.0);
        heads
    };
    assert_eq!(heads(&old).await, heads(&new).await);
    let put = old.put(commits(&old).await[0].clone()).await.unwrap();
    assert!(matches!(put, Put::Repeated { .. }));
}

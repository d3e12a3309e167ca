//! Commands with an idempotency key: what they cost, and how long a repetition is recognised.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventsrc_core::clock::Randomness;
use eventsrc_core::save::SaveSettings;
use eventsrc_core::storage::{CallCounts, CommitOf, PageOf, PutOf};
use eventsrc_core::{CommitId, Context, EventStorage, Head, Operation, SaveApi, StorageError, Token};
use futures::stream::BoxStream;

use super::directory::{A, Directory, Entry, Letter, StepClock, directory, second, set};

const ONE_PUT: CallCounts = CallCounts { puts: 1, conflicts: 0, latest: 0, reads: 0, pages: 0, errors: 0 };

fn id(seed: u64) -> Context {
    let commit_id = CommitId(Randomness::seeded(seed + 1_000).commit_id(second(0)).0);
    Context { commit_id: Some(commit_id), ..Context::default() }
}

fn saves(directory: &Directory, repeats_among: u32) -> SaveApi<Directory> {
    let settings = SaveSettings { repeats_among, ..SaveSettings::default() };
    SaveApi::with(
        Arc::clone(directory),
        settings,
        Arc::new(StepClock::default()),
        Arc::new(Randomness::from_system()),
    )
}

#[tokio::test]
async fn a_warm_command_with_an_idempotency_key_is_one_request_on_a_stream_of_any_length() {
    let directory = directory();
    let saves = saves(&directory, 128);
    for seed in 0..1_000 {
        let saved = saves.save_with(&A, &id(seed), Operation::insert(set("ada", 1))).await.unwrap().saved();
        assert!(!saved.unwrap().repeated);
        let calls = directory.take();
        assert!(seed == 0 || calls == ONE_PUT, "{seed}: {calls:?}");
    }
    for seed in [999, 900] {
        let saved = saves.save_with(&A, &id(seed), Operation::insert(set("ada", 1))).await.unwrap().saved();
        assert_eq!(saved.map(|saved| (saved.sequence, saved.repeated)), Some((seed + 1, true)));
        let calls = directory.take();
        assert_eq!(calls, CallCounts { puts: 0, latest: 1, ..ONE_PUT }, "it is remembered, and looked up");
    }
}

#[tokio::test]
async fn a_cold_command_reads_the_head_and_the_ids_of_the_last_commits() {
    let directory = directory();
    let warm = saves(&directory, 16);
    for seed in 0..1_000 {
        let _ = warm.save_with(&A, &id(seed), Operation::insert(set("ada", 1))).await.unwrap();
    }
    directory.take();
    let cold = saves(&directory, 16);
    let _ = cold.save_with(&A, &id(5_000), Operation::insert(set("ada", 1))).await.unwrap().saved().unwrap();
    assert_eq!(directory.take(), CallCounts { latest: 2, ..ONE_PUT }, "no page of events is read");
}

#[tokio::test]
async fn a_repetition_is_recognised_among_the_last_events_and_not_beyond() {
    for warm in [true, false] {
        let directory = directory();
        let first = saves(&directory, 5);
        let repeat = async |seed: u64| {
            let again = if warm { &first } else { &saves(&directory, 5) };
            let saved = again.save_with(&A, &id(seed), Operation::insert(set("ada", 9))).await;
            saved.unwrap().saved().unwrap()
        };
        for seed in 1..=10 {
            let _ = first.save_with(&A, &id(seed), Operation::insert(set("ada", 1))).await.unwrap();
        }
        let within = repeat(6).await;
        assert_eq!((within.sequence, within.repeated), (6, true), "warm: {warm}");
        let beyond = repeat(5).await;
        assert_eq!((beyond.sequence, beyond.repeated), (11, false), "warm: {warm}");
    }
}

#[tokio::test]
async fn a_token_extends_the_search_to_all_commits_after_it() {
    for warm in [true, false] {
        let directory = directory();
        let first = saves(&directory, 2);
        let token = first.save(&A, Operation::insert(set("ada", 0))).await.unwrap().saved().unwrap().token;
        let with_token = |token: &Token| Context { token: token.clone(), ..id(1) };
        let saved = first.save_with(&A, &with_token(&token), Operation::insert(set("ada", 1))).await.unwrap();
        assert_eq!(saved.saved().unwrap().sequence, 2);
        for _ in 0..300 {
            let _ = first.save(&A, Operation::insert(set("abe", 1))).await.unwrap();
        }
        let again = if warm { &first } else { &saves(&directory, 2) };
        let unsigned = Token::claimed(&A, 1_u64).unwrap();
        for token in [&token, &unsigned] {
            let repeated =
                again.save_with(&A, &with_token(token), Operation::insert(set("ada", 1))).await.unwrap();
            let repeated = repeated.saved().unwrap();
            assert_eq!((repeated.sequence, repeated.repeated), (2, true), "warm: {warm}");
        }
    }
}

#[tokio::test]
async fn a_command_is_recognised_after_conflicts_with_its_own_commit() {
    let directory = directory();
    let (one, other) = (saves(&directory, 128), saves(&directory, 128));
    let _ = one.save(&A, Operation::insert(set("ada", 0))).await.unwrap();
    let _ = other.save(&A, Operation::insert(set("ada", 0))).await.unwrap();
    // `one` remembers sequence 1, and the command is stored by `other` meanwhile.
    let _ = other.save_with(&A, &id(7), Operation::insert(set("ada", 1))).await.unwrap();
    let _ = other.save(&A, Operation::insert(set("ada", 2))).await.unwrap();
    let saved = one.save_with(&A, &id(7), Operation::insert(set("ada", 1))).await.unwrap().saved().unwrap();
    assert_eq!((saved.sequence, saved.repeated), (3, true));
}

/// A directory in which another writer saves once, while the ids of the last commits are read.
struct Overtaken {
    directory: Directory,
    other: SaveApi<Directory>,
    left: AtomicBool,
}

impl EventStorage for Overtaken {
    type Key = Letter;
    type Sequence = u64;
    type Payload = Entry;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        self.directory.put(commit).await
    }

    async fn recent(&self, key: &Letter, count: usize) -> Result<Vec<Head<u64>>, StorageError> {
        if count > 1 && self.left.swap(false, Ordering::Relaxed) {
            let _ = self.other.save_with(key, &id(3), Operation::insert(set("abe", 3))).await.unwrap();
        }
        self.directory.recent(key, count).await
    }

    fn events(&self, key: &Letter, from: Option<u64>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.directory.events(key, from)
    }
}

#[tokio::test]
async fn a_commit_beyond_what_a_writer_knew_is_found_where_it_is() {
    let directory = directory();
    let other = saves(&directory, 128);
    for seed in [1, 2] {
        let _ = other.save_with(&A, &id(seed), Operation::insert(set("ada", 1))).await.unwrap();
    }
    let storage = Overtaken { directory: Arc::clone(&directory), other, left: AtomicBool::new(true) };
    let late = super::directory::saves(storage);
    // It knows two events, and meets the third one while it searches for the first.
    for seed in [1, 3, 2] {
        let saved = late.save_with(&A, &id(seed), Operation::insert(set("ada", 1))).await.unwrap().saved();
        assert_eq!(saved.map(|saved| (saved.sequence, saved.repeated)), Some((seed, true)));
    }
    assert_eq!(directory.latest(&A).await.unwrap().unwrap().sequence, 3);
}

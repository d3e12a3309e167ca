//! Only contention is retried, and a lost reply is not a conflict.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use eventsrc_core::clock::Randomness;
use eventsrc_core::commit::vec1;
use eventsrc_core::retry::RetryPolicy;
use eventsrc_core::save::SaveSettings;
use eventsrc_core::storage::{CommitOf, Conflict, PageOf, Put, PutOf};
use eventsrc_core::{
    Commit, Context, ErrorKind, EventStorage, Head, Metadata, Operation, Outcome, SaveApi, StorageError,
};
use futures::TryStreamExt;
use futures::stream::BoxStream;

use super::directory::{A, Directory, Entry, Letter, StepClock, directory, saves, second, sequence, set};

/// The information that a storage returns with a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConflictInfo {
    /// The conflicting commit and the head, as the SQL backends do.
    Everything,
    /// The conflicting commit, as DynamoDB does.
    InTheWay,
    Nothing,
}

/// A directory that returns this information with its conflicts.
pub(crate) struct WithConflictInfo {
    directory: Directory,
    info: ConflictInfo,
}

impl WithConflictInfo {
    pub(crate) fn new(directory: Directory, info: ConflictInfo) -> Self {
        Self { directory, info }
    }
}

impl EventStorage for WithConflictInfo {
    type Key = Letter;
    type Sequence = u64;
    type Payload = Entry;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        Ok(match (self.directory.put(commit).await?, self.info) {
            (Put::Conflict(conflict), ConflictInfo::InTheWay) => {
                Put::Conflict(Conflict { head: None, ..conflict })
            }
            (Put::Conflict(_), ConflictInfo::Nothing) => {
                Put::Conflict(Conflict { existing: None, head: None })
            }
            (put, _) => put,
        })
    }

    async fn recent(&self, key: &Letter, count: usize) -> Result<Vec<Head<u64>>, StorageError> {
        self.directory.recent(key, count).await
    }

    fn events(&self, key: &Letter, from: Option<u64>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.directory.events(key, from)
    }
}

/// A directory that injects these events into its first puts, and none afterwards.
struct FaultyDirectory {
    directory: Directory,
    trouble: Trouble,
    left: AtomicU32,
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// Another writer appends first.
    Rival,
    /// The put fails before it is carried out.
    Fails,
    /// The put is carried out and its reply is lost.
    LosesReply,
    /// The reply is lost and the client layer below sends the request again.
    ResendsAfterLostReply,
}

impl FaultyDirectory {
    fn new(directory: &Directory, trouble: Trouble, times: u32) -> Self {
        Self { directory: Arc::clone(directory), trouble, left: AtomicU32::new(times) }
    }
}

fn lost() -> StorageError {
    StorageError::new(ErrorKind::Unavailable, "no reply").on(&A)
}

impl EventStorage for FaultyDirectory {
    type Key = Letter;
    type Sequence = u64;
    type Payload = Entry;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return self.directory.put(commit).await;
        }
        self.left.store(left - 1, Ordering::Relaxed);
        match self.trouble {
            Trouble::Rival => {
                let first = commit.first;
                let metadata =
                    Metadata::new(Randomness::seeded(u64::from(left)).commit_id(second(i64::from(left))));
                let (previous, time, payloads) = (None, second(0), vec1![set("rival", left)].into());
                let rival = Commit { key: A, first, previous, time, metadata, payloads };
                assert!(matches!(self.directory.put(Arc::new(rival)).await?, Put::Stored));
                self.directory.put(commit).await
            }
            Trouble::Fails => Err(lost()),
            Trouble::LosesReply => {
                assert!(matches!(self.directory.put(commit).await?, Put::Stored));
                Err(lost())
            }
            Trouble::ResendsAfterLostReply => {
                assert!(matches!(self.directory.put(Arc::clone(&commit)).await?, Put::Stored));
                self.directory.put(commit).await
            }
        }
    }

    async fn recent(&self, key: &Letter, count: usize) -> Result<Vec<Head<u64>>, StorageError> {
        self.directory.recent(key, count).await
    }

    fn events(&self, key: &Letter, from: Option<u64>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.directory.events(key, from)
    }
}

async fn stored(directory: &Directory) -> usize {
    let pages: Vec<_> = directory.events(&A, None).try_collect().await.unwrap();
    pages.iter().map(|page| page.events().count()).sum()
}

#[tokio::test]
async fn contention_is_retried_and_counted() {
    let directory = directory();
    let saves = saves(FaultyDirectory::new(&directory, Trouble::Rival, 7));
    let outcome = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
    assert_eq!((outcome.retries(), sequence(outcome)), (7, 8));
}

#[tokio::test]
async fn retries_end_after_the_number_of_attempts_and_report_it() {
    let directory = directory();
    let saves = saves(FaultyDirectory::new(&directory, Trouble::Rival, u32::MAX));
    let outcome = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
    assert_eq!(outcome, Outcome::Contended { attempts: 20 });
    assert_eq!(outcome.retries(), 19);
    assert_eq!(stored(&directory).await, 20, "the rival's events and nothing of ours");
}

#[tokio::test]
async fn the_number_of_attempts_is_a_setting() {
    let directory = directory();
    let saves = SaveApi::with(
        FaultyDirectory::new(&directory, Trouble::Rival, 1),
        SaveSettings { retry: RetryPolicy { tries: 1, ..RetryPolicy::default() }, ..SaveSettings::default() },
        Arc::new(StepClock::default()),
        Arc::new(Randomness::seeded(1)),
    );
    let outcome = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
    assert_eq!(outcome, Outcome::Contended { attempts: 1 });
}

#[tokio::test]
async fn a_rejected_operation_is_not_retried() {
    let directory = directory();
    let saves = saves(FaultyDirectory::new(&directory, Trouble::Rival, 1));
    let outcome = saves.save(&A, Operation::if_seq(None, set("ada", 1))).await.unwrap();
    assert!(matches!(outcome, Outcome::Rejected { retries: 1, .. }), "{outcome:?}");
    assert_eq!(stored(&directory).await, 1);
}

#[tokio::test]
async fn a_storage_error_is_not_retried_and_names_the_commit_and_the_stream() {
    let directory = directory();
    let saves = saves(FaultyDirectory::new(&directory, Trouble::Fails, 1));
    let error = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap_err();
    assert_eq!(
        (error.retries, error.source.kind(), error.source.stream()),
        (0, ErrorKind::Unavailable, Some("letter/a"))
    );
    assert!(error.to_string().contains(&error.commit_id.to_string()));
    assert_eq!(stored(&directory).await, 0);
}

#[tokio::test]
async fn a_lost_reply_that_the_client_below_resends_is_a_success() {
    let directory = directory();
    let saves = saves(FaultyDirectory::new(&directory, Trouble::ResendsAfterLostReply, 3));
    for expected in 1..=3 {
        let outcome = saves
            .save(&A, Operation::if_seq(Some(expected).filter(|s| *s > 1).map(|s| s - 1), set("ada", 1)));
        let outcome = outcome.await.unwrap();
        assert_eq!((outcome.retries(), sequence(outcome)), (0, expected));
    }
    assert_eq!(stored(&directory).await, 3);
}

#[tokio::test]
async fn a_lost_reply_is_resolved_by_saving_again_with_the_same_commit_id() {
    let directory = directory();
    for (trouble, repeated) in [(Trouble::Fails, false), (Trouble::LosesReply, true)] {
        let before = stored(&directory).await;
        let saves = saves(FaultyDirectory::new(&directory, trouble, 1));
        let at = u64::try_from(before).ok().filter(|at| *at > 0);
        let error = saves.save(&A, Operation::if_seq(at, set("ada", 1))).await.unwrap_err();
        let context = Context { commit_id: Some(error.commit_id), ..Context::default() };
        let saved = saves
            .save_with(&A, &context, Operation::if_seq(at, set("ada", 1)))
            .await
            .unwrap()
            .saved()
            .unwrap();
        assert_eq!((saved.commit_id, saved.repeated), (error.commit_id, repeated), "{trouble:?}");
        assert_eq!(stored(&directory).await, before + 1, "{trouble:?}");
    }
}

#[tokio::test]
async fn a_save_after_an_unknown_put_reads_before_it_puts() {
    for trouble in [Trouble::Fails, Trouble::LosesReply, Trouble::ResendsAfterLostReply] {
        let directory = directory();
        let saves = saves(FaultyDirectory::new(&directory, trouble, 1));
        let first = saves.save(&A, Operation::insert(set("ada", 1))).await;
        let is_stored = !matches!(trouble, Trouble::Fails);
        assert_eq!(first.is_ok(), matches!(trouble, Trouble::ResendsAfterLostReply));
        directory.take();
        for (expected, reads) in [(1, 1), (2, 0)] {
            let outcome = saves.save(&A, Operation::insert(set("ada", 2))).await.unwrap();
            assert_eq!((outcome.retries(), sequence(outcome)), (0, u64::from(is_stored) + expected));
            assert_eq!(directory.take().latest, reads, "{trouble:?}");
        }
    }
}

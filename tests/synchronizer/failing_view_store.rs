//! View stores that are temporarily unreachable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use eventsrc_core::synchronizer::{AtLeastError, SynchronizerSettings};
use eventsrc_core::view::{Applied, BatchOf, QuarantinedCommit, SkippedCommits, StreamPosition, ViewStore};
use eventsrc_core::{ErrorKind, StorageError, StreamName, Synchronizer, ViewDefinition};
use eventsrc_tests::HANG;

use super::set_up::{View, feed, payloads, put, settings, storage, synchronizer, token, until, view};

/// A view store that a test can make unreachable.
pub(super) struct Failing {
    view: View,
    mode: AtomicU8,
    /// Number of batches that were applied and reported as failed.
    lost: AtomicUsize,
    /// Number of calls that failed.
    asked: AtomicUsize,
    /// Number of releases from quarantine.
    released: AtomicUsize,
    /// Number of further releases that are undone at once, as by another process that cannot apply the commit.
    undone: AtomicUsize,
}

const WELL: u8 = 0;
const DOWN: u8 = 1;
const APPLYING_FAILS: u8 = 2;
const REPLIES_ARE_LOST: u8 = 3;
const RELEASES_ARE_LOST: u8 = 4;

impl Failing {
    pub(super) fn new(view: View) -> Self {
        Self {
            view,
            mode: AtomicU8::new(WELL),
            lost: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            released: AtomicUsize::new(0),
            undone: AtomicUsize::new(0),
        }
    }

    pub(super) fn fail(&self, fail: bool) {
        self.mode.store(if fail { DOWN } else { WELL }, Ordering::SeqCst);
    }

    pub(super) fn fail_applying_only(&self) {
        self.mode.store(APPLYING_FAILS, Ordering::SeqCst);
    }

    /// Lets releases happen and be reported as failed.
    pub(super) fn lose_replies_of_releases(&self) {
        self.mode.store(RELEASES_ARE_LOST, Ordering::SeqCst);
    }

    pub(super) fn undo_releases(&self, count: usize) {
        self.undone.store(count, Ordering::SeqCst);
    }

    /// Number of calls that failed.
    pub(super) fn failed_calls(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Number of streams that were released from quarantine.
    pub(super) fn releases(&self) -> usize {
        self.released.load(Ordering::SeqCst)
    }

    fn check(&self, modes: &[u8]) -> Result<(), StorageError> {
        if modes.contains(&self.mode.load(Ordering::SeqCst)) {
            self.asked.fetch_add(1, Ordering::SeqCst);
            return Err(StorageError::new(ErrorKind::Unavailable, "the database is out of reach"));
        }
        Ok(())
    }
}

impl ViewStore for Failing {
    type Key = StreamName;
    type Sequence = u64;
    type Payload = i64;

    fn definition(&self) -> &ViewDefinition {
        self.view.definition()
    }

    async fn apply(&self, batch: &BatchOf<Self>) -> Result<Applied, StorageError> {
        self.check(&[DOWN, APPLYING_FAILS])?;
        let applied = self.view.apply(batch).await?;
        if matches!(applied, Applied::Done) && self.mode.load(Ordering::SeqCst) == REPLIES_ARE_LOST {
            self.lost.fetch_add(1, Ordering::SeqCst);
        }
        self.check(&[REPLIES_ARE_LOST])?;
        Ok(applied)
    }

    async fn positions_of(&self, streams: &[StreamName]) -> Result<Vec<StreamPosition<u64>>, StorageError> {
        self.check(&[DOWN])?;
        self.view.positions_of(streams).await
    }

    async fn positions(
        &self,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, u64)>, StorageError> {
        self.check(&[DOWN])?;
        self.view.positions(after, limit).await
    }

    async fn quarantine(&self, poison: &QuarantinedCommit<u64>) -> Result<(), StorageError> {
        self.check(&[DOWN])?;
        self.view.quarantine(poison).await
    }

    async fn quarantined(&self) -> Result<Vec<QuarantinedCommit<u64>>, StorageError> {
        self.check(&[DOWN])?;
        self.view.quarantined().await
    }

    async fn release(&self, stream: &StreamName) -> Result<bool, StorageError> {
        self.check(&[DOWN])?;
        let entry = self.view.quarantined().await?.into_iter().find(|entry| entry.stream == *stream);
        let released = self.view.release(stream).await?;
        let undo = |left: usize| left.checked_sub(1);
        if let Some(entry) = entry
            && self.undone.fetch_update(Ordering::SeqCst, Ordering::SeqCst, undo).is_ok()
        {
            self.view.quarantine(&entry).await?;
        }
        self.released.fetch_add(usize::from(released), Ordering::SeqCst);
        self.check(&[RELEASES_ARE_LOST])?;
        Ok(released)
    }

    async fn skip(&self, skip: &SkippedCommits<u64>) -> Result<bool, StorageError> {
        self.view.skip(skip).await
    }

    async fn skipped(&self) -> Result<Vec<SkippedCommits<u64>>, StorageError> {
        self.view.skipped().await
    }
}

#[tokio::test]
async fn an_unavailable_database_is_retried_and_nothing_is_lost() {
    let (storage, view) = (storage(), view());
    let failing = Arc::new(Failing::new(Arc::clone(&view)));
    failing.fail(true);
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&failing), settings());
    let (hand, feed) = feed();
    let commits = [put(&storage, "a/1", &[1]).await, put(&storage, "a/2", &[2]).await];
    hand.commits(&commits);
    let following = tokio::spawn({
        let synchronizer = synchronizer.clone();
        async move { synchronizer.follow(feed).await }
    });
    failing.fail_applying_only();
    until("the failure to show", || async { !synchronizer.status().await.unwrap().last_errors.is_empty() })
        .await;
    assert_eq!(hand.acknowledged(), 0);
    failing.fail(false);
    until("the acknowledgement", || async { hand.acknowledged() == 1 }).await;
    assert_eq!((payloads(&view, "a/1"), payloads(&view, "a/2")), (vec![1], vec![2]));
    assert!(
        synchronizer.status().await.unwrap().quarantined.is_empty(),
        "a failing database quarantines no stream"
    );
    drop(hand);
    following.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_batch_whose_reply_was_lost_is_applied_once() {
    let (storage, view) = (storage(), view());
    let failing = Arc::new(Failing::new(Arc::clone(&view)));
    failing.mode.store(REPLIES_ARE_LOST, Ordering::SeqCst);
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&failing), settings());
    let (hand, feed) = feed();
    for payload in 0..20 {
        let commit = put(&storage, "a/1", &[payload]).await;
        hand.commits([&commit]);
    }
    drop(hand);
    synchronizer.follow(feed).await.unwrap();
    assert_eq!(payloads(&view, "a/1"), (0..20).collect::<Vec<_>>());
    assert!(failing.lost.load(Ordering::SeqCst) > 0, "replies were lost");
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_database_that_is_down() {
    let (storage, view) = (storage(), view());
    let failing = Arc::new(Failing::new(view));
    failing.fail(true);
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&failing), settings());
    let (hand, feed) = feed();
    hand.commits([&put(&storage, "a/1", &[1]).await]);
    let following = tokio::spawn({
        let synchronizer = synchronizer.clone();
        async move { synchronizer.follow(feed).await }
    });
    until("a call of the database", || async { failing.asked.load(Ordering::SeqCst) > 0 }).await;
    tokio::time::timeout(HANG, synchronizer.stop()).await.expect("it stops");
    assert!(following.await.unwrap().is_err());
    assert_eq!(hand.acknowledged(), 0, "unapplied commits are not acknowledged");
}

/// Settings with which a read waits only a short time for its own synchronizer.
fn impatient() -> SynchronizerSettings {
    SynchronizerSettings { time_per_batch: Duration::from_millis(10), ..settings() }
}

#[tokio::test]
async fn a_read_of_unapplied_commits_reports_that_the_database_is_down() {
    let (storage, failing) = (storage(), Arc::new(Failing::new(view())));
    let synchronizer = Synchronizer::start(Arc::clone(&storage), Arc::clone(&failing), impatient());
    synchronizer.catch_up(&token(&put(&storage, "a/1", &[1]).await), HANG).await.unwrap();
    let second = put(&storage, "a/1", &[2]).await;
    failing.fail(true);
    let read = synchronizer.catch_up(&token(&second), Duration::from_millis(200)).await;
    assert!(
        matches!(&read, Err(AtLeastError::Storage(error)) if error.kind() == ErrorKind::Unavailable),
        "{read:?}"
    );
}

#[tokio::test]
async fn commits_applied_by_another_process_are_read_while_our_own_workers_are_stuck() {
    let (storage, view) = (storage(), view());
    let failing = Arc::new(Failing::new(Arc::clone(&view)));
    let ours = Synchronizer::start(Arc::clone(&storage), Arc::clone(&failing), impatient());
    ours.catch_up(&token(&put(&storage, "a/1", &[1]).await), HANG).await.unwrap();
    failing.fail_applying_only();
    let second = token(&put(&storage, "a/1", &[2]).await);
    synchronizer(&storage, &view).catch_up(&second, HANG).await.unwrap();
    ours.catch_up(&second, HANG).await.unwrap();
}

//! Storages with one bug each, which a checker has to detect.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::Page;
use eventsrc_core::storage::{CommitOf, Conflict, PageOf, Put, PutOf};
use eventsrc_core::{Commit, EventStorage, Head, StorageError, StreamName};
use eventsrc_testkit::history::ViolationKind;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::task::yield_now;

/// A bug of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Checks that the sequence is free, and stores later without another check.
    BlindOverwrite,
    /// Counts puts in progress, which may yet fail, as the head of the stream.
    Gap,
    /// Answers a repeated put of a stored commit with a conflict.
    LostReplyTakenForConflict,
    /// Stores the first event of a commit, and the others later.
    NonAtomicBatch,
    /// Answers `latest` from a copy that lags by one commit.
    StaleLatest,
}

impl Bug {
    /// All bugs.
    pub const ALL: [Self; 5] = [
        Self::BlindOverwrite,
        Self::Gap,
        Self::LostReplyTakenForConflict,
        Self::NonAtomicBatch,
        Self::StaleLatest,
    ];

    /// The violations that the bug can cause. Which of them a run meets first depends on the interleaving of
    /// the callers.
    pub fn shows_as(self) -> &'static [ViolationKind] {
        use ViolationKind::{
            BrokenChain, ConflictWithItself, Duplicate, FalseConflict, HalfCommit, Hole, LostCommit,
            OutOfOrder, StaleRead,
        };
        match self {
            // A put can conflict with a commit that is overwritten later: by a third one, which makes
            // the conflict a false one, or by another copy of the same put, which was sent twice.
            Self::BlindOverwrite => {
                &[LostCommit, Duplicate, Hole, OutOfOrder, ConflictWithItself, FalseConflict, BrokenChain]
            }
            Self::Gap => &[Hole, LostCommit, HalfCommit, OutOfOrder, BrokenChain],
            Self::LostReplyTakenForConflict => &[ConflictWithItself],
            Self::NonAtomicBatch => &[HalfCommit, Duplicate, LostCommit, BrokenChain],
            Self::StaleLatest => &[StaleRead, BrokenChain],
        }
    }
}

/// An in-memory storage with one [`Bug`], or with none: then it is sound, and shows that a detection is no false
/// alarm.
#[derive(Debug)]
pub struct Seeded {
    bug: Option<Bug>,
    streams: Mutex<HashMap<StreamName, Stream>>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Keyed by the sequence of their first event.
    commits: BTreeMap<u64, Arc<Commit<StreamName, u64, u64>>>,
    /// The greatest last sequence of a put so far, stored or not.
    greatest_put: Option<Head<u64>>,
}

impl Stream {
    /// The first commit that holds a sequence of `commit`.
    fn in_the_way(
        &self,
        commit: &Commit<StreamName, u64, u64>,
    ) -> Option<&Arc<Commit<StreamName, u64, u64>>> {
        let before = self.commits.range(..=commit.first).next_back().map(|(_, existing)| existing);
        before
            .filter(|existing| existing.last() >= commit.first)
            .or_else(|| self.commits.range(commit.first..=commit.last()).next().map(|(_, existing)| existing))
    }
}

impl Seeded {
    /// An empty storage with this bug.
    pub fn new(bug: Option<Bug>) -> Self {
        Self { bug, streams: Mutex::default() }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<StreamName, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn head(&self, stream: &Stream) -> Option<Head<u64>> {
        match self.bug {
            Some(Bug::Gap) => stream.greatest_put,
            Some(Bug::StaleLatest) => stream.commits.values().rev().nth(1).map(|commit| commit.head()),
            _ => stream.commits.values().next_back().map(|commit| commit.head()),
        }
    }

    fn refusal(
        &self,
        stream: &Stream,
        commit: &Commit<StreamName, u64, u64>,
    ) -> Option<Put<StreamName, u64, u64>> {
        let existing = stream.in_the_way(commit)?;
        if existing.is(commit) && !self.has(Bug::LostReplyTakenForConflict) {
            return Some(Put::Repeated { last: existing.last() });
        }
        Some(Put::Conflict(Conflict { existing: Some(Arc::clone(existing)), head: None }))
    }

    fn count_as_head(&self, commit: &Commit<StreamName, u64, u64>) {
        let mut streams = self.streams();
        let greatest = &mut streams.entry(commit.key.clone()).or_default().greatest_put;
        if greatest.is_none_or(|head| head.sequence < commit.last()) {
            *greatest = Some(commit.head());
        }
    }

    fn put_if_absent(&self, commit: Arc<Commit<StreamName, u64, u64>>) -> Put<StreamName, u64, u64> {
        let mut streams = self.streams();
        let stream = streams.entry(commit.key.clone()).or_default();
        if let Some(answer) = self.refusal(stream, &commit) {
            return answer;
        }
        stream.commits.insert(commit.first, commit);
        Put::Stored
    }

    fn put_blindly(&self, commit: Arc<Commit<StreamName, u64, u64>>) -> Put<StreamName, u64, u64> {
        self.streams().entry(commit.key.clone()).or_default().commits.insert(commit.first, commit);
        Put::Stored
    }
}

impl EventStorage for Seeded {
    type Key = StreamName;
    type Sequence = u64;
    type Payload = u64;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        yield_now().await;
        match self.bug {
            Some(Bug::BlindOverwrite) => {
                let taken = self.streams().get(&commit.key).and_then(|stream| self.refusal(stream, &commit));
                if let Some(answer) = taken {
                    return Ok(answer);
                }
                yield_now().await;
                Ok(self.put_blindly(commit))
            }
            Some(Bug::NonAtomicBatch) if commit.len() > 1 => {
                let payloads = Vec1::new(commit.payloads[0]).into();
                let half = Arc::new(Commit { payloads, ..Commit::clone(&commit) });
                let answer = self.put_if_absent(half);
                if !matches!(answer, Put::Stored) {
                    return Ok(answer);
                }
                yield_now().await;
                Ok(self.put_blindly(commit))
            }
            Some(Bug::Gap) => {
                self.count_as_head(&commit);
                yield_now().await;
                Ok(self.put_if_absent(commit))
            }
            _ => Ok(self.put_if_absent(commit)),
        }
    }

    async fn recent(&self, key: &StreamName, count: usize) -> Result<Vec<Head<u64>>, StorageError> {
        let streams = self.streams();
        let Some(stream) = streams.get(key) else { return Ok(Vec::new()) };
        let before = stream.commits.values().rev().skip(1).map(|commit| commit.head());
        Ok(self.head(stream).into_iter().chain(before).take(count).collect())
    }

    fn events(
        &self,
        key: &StreamName,
        from: Option<u64>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let streams = self.streams();
        let commits: Vec<_> =
            streams.get(key).map(|stream| stream.commits.values().cloned().collect()).unwrap_or_default();
        let page = Page::starting_at(Arc::new(commits), from);
        stream::iter((!page.is_empty()).then_some(Ok(page))).boxed()
    }
}

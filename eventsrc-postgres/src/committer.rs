//! Group commit: commits that wait when a connection is free share one statement, and so one disk sync of the server.
//!
//! No commit waits for a timer: a single commit is sent alone and at once. Under load, the next group gathers while the
//! previous ones are in flight.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::append::AppendOutcome;
use crate::connections::Connections;
use crate::failure::Failure;
use crate::layout::{CommitRow, EventLayout, InsertResult, StreamLocation};
use crate::settings::Settings;

/// Writer of commits. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Committer(Arc<Shared>);

struct Shared {
    connections: Connections,
    layout: Arc<EventLayout>,
    limits: Limits,
    queue: Mutex<Queue>,
    /// Number of transactions that stored commits.
    transactions: AtomicU64,
}

struct Limits {
    /// Largest number of groups in flight.
    groups: usize,
    /// Largest number of commits in a group.
    commits: usize,
    /// Size in bytes after which a group ends.
    bytes: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Streams with a commit in flight. Further commits of these streams wait, so that groups do not wait for each other.
    in_flight: HashSet<Arc<StreamLocation>>,
    /// Number of tasks that send groups.
    senders: usize,
}

/// A commit to put, and the channel to its caller. A caller that stopped waiting has no effect.
struct Job {
    stream: Arc<StreamLocation>,
    commit: CommitRow,
    reply: oneshot::Sender<Result<AppendOutcome, Failure>>,
}

/// Number of times that a sender yields to other tasks while it waits for a group as large as the last one.
const YIELDS_PER_GROUP: usize = 16;

impl Committer {
    /// Writer into the tables of `layout`.
    pub(crate) fn new(connections: Connections, layout: Arc<EventLayout>, settings: &Settings) -> Self {
        let limits = Limits {
            groups: settings.groups_in_flight.max(1),
            commits: settings.commits_per_group.max(1),
            bytes: settings.bytes_per_group,
        };
        let (queue, transactions) = (Mutex::default(), AtomicU64::default());
        Self(Arc::new(Shared { connections, layout, limits, queue, transactions }))
    }

    /// Puts a commit, in one group with the commits of other callers.
    pub(crate) async fn put(
        &self,
        stream: StreamLocation,
        commit: CommitRow,
    ) -> Result<AppendOutcome, Failure> {
        let (stream, (reply, answer)) = (Arc::new(stream), oneshot::channel());
        if self.0.enqueue(Job { stream, commit, reply }) {
            tokio::spawn(Sender::new(Arc::clone(&self.0)).run());
        }
        answer.await.unwrap_or_else(|_| Err(Failure::unavailable("the task that stores commits has stopped")))
    }

    /// Number of transactions that stored commits.
    pub(crate) fn transactions(&self) -> u64 {
        self.0.transactions.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Puts the commits of a group in one statement, and returns one result for each. An `Err` applies to all of them.
    async fn store(&self, group: &[Job]) -> Result<Vec<Result<AppendOutcome, Failure>>, Failure> {
        let commits: Vec<_> = group.iter().map(|job| (&*job.stream, &job.commit)).collect();
        let results = self.layout.put(&self.connections, &commits).await?;
        if results.iter().any(|result| matches!(result, Some(InsertResult::Inserted))) {
            self.transactions.fetch_add(1, Ordering::Relaxed);
        }
        let outcomes =
            commits.iter().zip(results).map(|((_, commit), result)| AppendOutcome::of(commit, result?));
        let mut outcomes: Vec<_> = outcomes.collect();
        let (undetermined, commits): (Vec<_>, Vec<_>) =
            commits.into_iter().enumerate().filter(|(index, _)| outcomes[*index].is_none()).unzip();
        // These commits lost against transactions that committed after the statement had begun, which it does not see.
        let mut failure = Failure::unavailable("a conflicting commit was found, and then it disappeared");
        if !undetermined.is_empty() {
            match self.layout.find_conflicts(&self.connections, &commits).await {
                Ok(results) => {
                    undetermined.iter().zip(commits).zip(results).for_each(
                        |((index, (_, commit)), result)| {
                            outcomes[*index] = result.and_then(|result| AppendOutcome::of(commit, result));
                        },
                    );
                }
                Err(error) => failure = error,
            }
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.ok_or_else(|| failure.clone())).collect())
    }

    /// Adds a job. Returns true if the caller must start another sender.
    fn enqueue(&self, job: Job) -> bool {
        let mut queue = self.queue();
        queue.waiting.push_back(job);
        let needs_sender = queue.senders < self.limits.groups;
        queue.senders += usize::from(needs_sender);
        needs_sender
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No foreign code runs under this lock, so a poisoned one is consistent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Task that sends one group after the other, until no job waits.
struct Sender {
    shared: Arc<Shared>,
    /// Commits to send, in the order of their streams.
    group: Vec<Job>,
    /// Streams of the group, which are marked as in flight.
    streams: Vec<Arc<StreamLocation>>,
    /// True while the queue counts this sender.
    is_counted: bool,
}

impl Sender {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, group: Vec::new(), streams: Vec::new(), is_counted: true }
    }

    async fn run(mut self) {
        let mut last = 1;
        loop {
            // Callers that just received their answers are likely to put again.
            for _ in 0..YIELDS_PER_GROUP {
                if self.shared.queue().waiting.len() >= last {
                    break;
                }
                yield_now().await;
            }
            last = self.take_group();
            if last == 0 {
                return;
            }
            self.send().await;
        }
    }

    /// Takes the next group, at most one commit of each stream, and returns its length. If the group is empty, the queue
    /// no longer counts this sender, and the next job starts another one.
    fn take_group(&mut self) -> usize {
        let Shared { limits, .. } = &*self.shared;
        let mut queue = self.shared.queue();
        let (mut bytes, mut postponed) = (0, VecDeque::new());
        while self.group.len() < limits.commits
            && let Some(job) = queue.waiting.pop_front()
        {
            let size = job.commit.size();
            if queue.in_flight.contains(&job.stream) {
                postponed.push_back(job);
            } else if !self.group.is_empty() && bytes + size > limits.bytes {
                postponed.push_back(job);
                break;
            } else {
                bytes += size;
                queue.in_flight.insert(Arc::clone(&job.stream));
                self.group.push(job);
            }
        }
        while let Some(job) = postponed.pop_back() {
            queue.waiting.push_front(job);
        }
        if self.group.is_empty() {
            queue.senders -= 1;
            self.is_counted = false;
        }
        drop(queue);
        self.group.sort_by(|a, b| a.stream.cmp(&b.stream));
        self.streams = self.group.iter().map(|job| Arc::clone(&job.stream)).collect();
        self.group.len()
    }

    /// Sends the group. If one of its commits causes an error, the group is halved until that commit fails alone.
    async fn send(&mut self) {
        let mut parts = vec![std::mem::take(&mut self.group)];
        while let Some(mut part) = parts.pop() {
            match self.shared.store(&part).await {
                Err(failure) if part.len() > 1 && failure.is_caused_by_input() => {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                // A reply fails if its caller stopped waiting, which has no effect here.
                Err(failure) => part.into_iter().for_each(|job| drop(job.reply.send(Err(failure.clone())))),
                Ok(outcomes) => {
                    part.into_iter().zip(outcomes).for_each(|(job, outcome)| drop(job.reply.send(outcome)));
                }
            }
        }
        self.release_streams();
    }

    fn release_streams(&mut self) {
        let mut queue = self.shared.queue();
        for stream in self.streams.drain(..) {
            queue.in_flight.remove(&stream);
        }
    }
}

/// Cleans up after a sender whose runtime was shut down while it worked.
impl Drop for Sender {
    fn drop(&mut self) {
        self.release_streams();
        if self.is_counted {
            let mut queue = self.shared.queue();
            queue.senders -= 1;
            if queue.senders == 0 {
                // No sender is left for these jobs. Dropping them fails the puts of their callers.
                queue.waiting.clear();
            }
        }
    }
}

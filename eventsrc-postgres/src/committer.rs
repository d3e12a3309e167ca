//! Commits in groups: those that wait when a connection is free share one statement, and so one sync of the server's disk.
//!
//! Nothing lingers: a commit that comes alone goes alone, at once. Under load the next group gathers while the last ones
//! are on their way.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::append::{Appended, judge};
use crate::connections::Connections;
use crate::failure::Failure;
use crate::layout::{CommitRow, Found, Layout, Stream};
use crate::settings::Settings;

/// Puts commits. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Committer(Arc<Shared>);

struct Shared {
    connections: Connections,
    layout: Arc<Layout>,
    limits: Limits,
    queue: Mutex<Queue>,
    stored: AtomicU64,
}

struct Limits {
    groups: usize,
    commits: usize,
    bytes: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// The streams of which a commit is on its way. Another one waits, so that groups do not wait for each other.
    busy: HashSet<Arc<Stream>>,
    /// How many tasks send groups.
    senders: usize,
}

/// A commit to put, and who waits for it. A caller that stopped waiting changes nothing.
struct Job {
    stream: Arc<Stream>,
    commit: CommitRow,
    reply: oneshot::Sender<Result<Appended, Failure>>,
}

/// How often a sender lets others run while it waits for a group as large as the last one.
const MOMENT: usize = 16;

impl Committer {
    /// A committer that puts into the tables of `layout`.
    pub(crate) fn new(connections: Connections, layout: Arc<Layout>, settings: &Settings) -> Self {
        let limits = Limits {
            groups: settings.groups_in_flight.max(1),
            commits: settings.commits_per_group.max(1),
            bytes: settings.bytes_per_group,
        };
        let (queue, stored) = (Mutex::default(), AtomicU64::default());
        Self(Arc::new(Shared { connections, layout, limits, queue, stored }))
    }

    /// Puts a commit, with what others put at the same time.
    pub(crate) async fn put(&self, stream: Stream, commit: CommitRow) -> Result<Appended, Failure> {
        let (stream, (reply, answer)) = (Arc::new(stream), oneshot::channel());
        if self.0.enqueue(Job { stream, commit, reply }) {
            tokio::spawn(Sender::new(Arc::clone(&self.0)).run());
        }
        answer.await.unwrap_or_else(|_| Err(Failure::unavailable("the task that stores commits has stopped")))
    }

    /// How many statements stored anything.
    pub(crate) fn stored(&self) -> u64 {
        self.0.stored.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Puts the commits of a group in one statement, and says of each what it came to. An error is of all of them.
    async fn store(&self, group: &[Job]) -> Result<Vec<Result<Appended, Failure>>, Failure> {
        let commits: Vec<_> = group.iter().map(|job| (&*job.stream, &job.commit)).collect();
        let found = self.layout.put(&self.connections, &commits).await?;
        if found.iter().any(|found| matches!(found, Some(Found::Stored))) {
            self.stored.fetch_add(1, Ordering::Relaxed);
        }
        let judged = commits.iter().zip(found).map(|((_, commit), found)| judge(commit, found?));
        let mut judged: Vec<_> = judged.collect();
        let (unseen, commits): (Vec<_>, Vec<_>) =
            commits.into_iter().enumerate().filter(|(place, _)| judged[*place].is_none()).unzip();
        // What was in the way of these was not yet to be seen when the statement began.
        let mut failure = Failure::unavailable("another commit was in the way, and is gone");
        if !unseen.is_empty() {
            match self.layout.look(&self.connections, &commits).await {
                Ok(found) => {
                    unseen.iter().zip(commits).zip(found).for_each(|((place, (_, commit)), found)| {
                        judged[*place] = found.and_then(|found| judge(commit, found));
                    });
                }
                Err(error) => failure = error,
            }
        }
        Ok(judged.into_iter().map(|appended| appended.ok_or_else(|| failure.clone())).collect())
    }

    /// Adds a job; says whether it takes one more sender.
    fn enqueue(&self, job: Job) -> bool {
        let mut queue = self.queue();
        queue.waiting.push_back(job);
        let more = queue.senders < self.limits.groups;
        queue.senders += usize::from(more);
        more
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code of others runs under this lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that sends groups one after the other, until nothing waits.
struct Sender {
    shared: Arc<Shared>,
    /// The commits that are on their way, in the order of their streams.
    group: Vec<Job>,
    /// The streams that are marked as busy.
    streams: Vec<Arc<Stream>>,
    /// Whether it counts as one of the senders.
    counts: bool,
}

impl Sender {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, group: Vec::new(), streams: Vec::new(), counts: true }
    }

    async fn run(mut self) {
        let mut last = 1;
        loop {
            // Those who were just told are about to come back.
            for _ in 0..MOMENT {
                if self.shared.queue().waiting.len() >= last {
                    break;
                }
                yield_now().await;
            }
            last = self.take();
            if last == 0 {
                return;
            }
            self.send().await;
        }
    }

    /// Takes what can go now, at most one commit a stream, and says how many that are. When there is none, this sender is
    /// no longer counted: whoever comes then makes another one.
    fn take(&mut self) -> usize {
        let Shared { limits, .. } = &*self.shared;
        let mut queue = self.shared.queue();
        let (mut bytes, mut others) = (0, VecDeque::new());
        while self.group.len() < limits.commits
            && let Some(job) = queue.waiting.pop_front()
        {
            let size = job.commit.size();
            if queue.busy.contains(&job.stream) {
                others.push_back(job);
            } else if !self.group.is_empty() && bytes + size > limits.bytes {
                others.push_back(job);
                break;
            } else {
                bytes += size;
                queue.busy.insert(Arc::clone(&job.stream));
                self.group.push(job);
            }
        }
        while let Some(job) = others.pop_back() {
            queue.waiting.push_front(job);
        }
        if self.group.is_empty() {
            queue.senders -= 1;
            self.counts = false;
        }
        drop(queue);
        self.group.sort_by(|a, b| a.stream.cmp(&b.stream));
        self.streams = self.group.iter().map(|job| Arc::clone(&job.stream)).collect();
        self.group.len()
    }

    /// Sends the group. Where one of its commits is at fault, halves of it are sent by themselves, so that it fails alone.
    async fn send(&mut self) {
        let mut parts = vec![std::mem::take(&mut self.group)];
        while let Some(mut part) = parts.pop() {
            match self.shared.store(&part).await {
                Err(failure) if part.len() > 1 && failure.blames_what_was_sent() => {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                // Nobody may be waiting any more, which is no matter here.
                Err(failure) => part.into_iter().for_each(|job| drop(job.reply.send(Err(failure.clone())))),
                Ok(appended) => {
                    part.into_iter().zip(appended).for_each(|(job, appended)| drop(job.reply.send(appended)));
                }
            }
        }
        self.release();
    }

    fn release(&mut self) {
        let mut queue = self.shared.queue();
        for stream in self.streams.drain(..) {
            queue.busy.remove(&stream);
        }
    }
}

/// A sender whose runtime ended in the middle of its work.
impl Drop for Sender {
    fn drop(&mut self) {
        self.release();
        if self.counts {
            let mut queue = self.shared.queue();
            queue.senders -= 1;
            if queue.senders == 0 {
                // Nobody would send them; who waits for them is told so.
                queue.waiting.clear();
            }
        }
    }
}

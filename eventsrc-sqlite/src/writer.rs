//! Group commit: one thread writes, and whatever is waiting when it turns to its queue shares one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use eventsrc_core::StreamName;
use eventsrc_core::snapshot::SnapshotMode;
use tokio::sync::oneshot;

use crate::append::{Appended, Streams, append};
use crate::failure::{Failure, is_broken_rule, is_busy};
use crate::guard::Guarded;
use crate::layout::{self, CommitRow, SnapshotKey, SnapshotRow};
use crate::view::inline::Inline;
use crate::work::Work;

/// Something to write, and who waits for it. A caller that stopped waiting changes nothing.
pub(crate) enum Job {
    Commit { name: StreamName, commit: CommitRow, views: Vec<Box<dyn Inline>>, reply: Reply<Appended> },
    Snapshot { at: SnapshotKey, snapshot: SnapshotRow, mode: SnapshotMode, reply: Reply<()> },
    Work { work: Box<dyn Work>, alone: bool },
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// Writes what comes through the queue.
pub(crate) struct Writer {
    connection: Guarded,
    streams: Streams,
    busy_timeout: Duration,
    commits: Arc<AtomicU64>,
}

/// What a job came to; told to its caller once the transaction is on the disk.
enum Done {
    Commit(Appended),
    Snapshot,
    /// It has its answer itself.
    Work,
}

/// As many jobs as a transaction takes: enough to share a sync widely, few enough that the first does not wait long.
const GROUP: usize = 512;

/// How often the writer lets others run while it waits for a group as large as the last one.
const MOMENT: usize = 100;

/// How many streams are remembered.
const STREAMS: usize = 16 * 1024;

/// SQLite waits for a lock in steps that grow to 100 ms, and a busy process would starve another one. So the wait is
/// made of short turns.
const TURN: Duration = Duration::from_millis(2);

impl Writer {
    /// Writes through `connection`, and counts synced transactions in `commits`.
    pub(crate) fn new(
        connection: Guarded,
        busy_timeout: Duration,
        commits: Arc<AtomicU64>,
    ) -> rusqlite::Result<Self> {
        connection.busy_timeout(TURN.min(busy_timeout))?;
        Ok(Self { connection, streams: Streams::new(STREAMS), busy_timeout, commits })
    }

    /// Works until the queue is empty and nobody can add to it, and gives the connection back to be closed.
    pub(crate) fn run(mut self, queue: &Receiver<Job>) -> Guarded {
        let mut last = 1;
        loop {
            // Those who were just told are about to come back. A moment for them saves this thread from going to sleep,
            // and then a sync.
            for _ in 0..MOMENT {
                if queue.len() >= last {
                    break;
                }
                thread::yield_now();
            }
            let Ok(first) = queue.recv() else { return self.connection };
            let mut jobs = vec![first];
            jobs.extend(queue.try_iter().take(GROUP - 1));
            last = jobs.len();
            self.write(jobs);
        }
    }

    /// Writes `jobs`, in one transaction but for those that have to be alone.
    fn write(&mut self, jobs: Vec<Job>) {
        let mut group = Vec::with_capacity(jobs.len());
        for job in jobs {
            if matches!(job, Job::Work { alone: true, .. }) {
                self.write_group(std::mem::take(&mut group));
                self.write_group(vec![job]);
            } else {
                group.push(job);
            }
        }
        self.write_group(group);
    }

    /// Writes `jobs` in one transaction. A job that fails is told so, and the others are written without it.
    fn write_group(&mut self, mut jobs: Vec<Job>) {
        while !jobs.is_empty() {
            let failed = match self.attempt(&mut jobs) {
                Ok(done) => return jobs.into_iter().zip(done).for_each(|(job, done)| job.succeed(done)),
                Err(failed) => failed,
            };
            // Some errors end the transaction by themselves.
            if !self.connection.is_autocommit() {
                let _ = self.connection.execute_batch("ROLLBACK");
            }
            self.streams.clear();
            match failed {
                Failed::Job(index, failure) => jobs.remove(index).fail(failure),
                Failed::Undone(index) => jobs.remove(index).succeed(Done::Work),
                Failed::Again => {}
                // One of them is at fault; the halves of the group tell which.
                Failed::All(error) if is_broken_rule(&error) && jobs.len() > 1 => {
                    let rest = jobs.split_off(jobs.len() / 2);
                    self.write_group(jobs);
                    return self.write_group(rest);
                }
                Failed::All(error) => {
                    if is_broken_rule(&error) && jobs[0].refuse_view(&error) {
                        continue;
                    }
                    let failure = Failure::new("cannot write", error);
                    jobs.drain(..).for_each(|job| job.fail(failure.clone()));
                }
            }
        }
    }

    fn attempt(&mut self, jobs: &mut [Job]) -> Result<Vec<Done>, Failed> {
        self.begin().map_err(Failed::All)?;
        let before = self.connection.total_changes();
        let lone = jobs.len() == 1;
        let mut done = Vec::with_capacity(jobs.len());
        for (index, job) in jobs.iter_mut().enumerate() {
            let outcome = job.apply(&self.connection, &mut self.streams, lone);
            let has_ended = self.connection.take_ended();
            match outcome {
                Err(failure) => return Err(Failed::Job(index, failure)),
                Ok((Done::Commit(_), _)) if has_ended => return Err(Failed::Again),
                Ok((_, keep)) if has_ended || !keep => return Err(Failed::Undone(index)),
                Ok((what, _)) => done.push(what),
            }
        }
        let wrote = self.connection.total_changes() != before;
        self.execute("COMMIT").map_err(Failed::All)?;
        if wrote {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(done)
    }

    /// Takes the file's write lock, so that nothing that is read afterwards can change.
    fn begin(&self) -> rusqlite::Result<()> {
        let mut turns = self.busy_timeout.div_duration_f64(TURN) as u64;
        loop {
            match self.execute("BEGIN IMMEDIATE") {
                Err(error) if is_busy(&error) && turns > 1 => turns -= 1,
                result => return result,
            }
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

/// Why a group was not written.
enum Failed {
    /// One of the jobs did not go in.
    Job(usize, Failure),
    /// One of the jobs, a piece of work, is done, and what was written is to be undone.
    Undone(usize),
    /// A user's code ended the transaction; it is not called again.
    Again,
    /// The transaction did not begin, or did not end well.
    All(rusqlite::Error),
}

impl Job {
    /// Does the job, and says whether the transaction may be kept. In a group, a job undoes by itself what is not to be
    /// kept.
    fn apply(
        &mut self,
        connection: &Guarded,
        streams: &mut Streams,
        lone: bool,
    ) -> Result<(Done, bool), Failure> {
        let failure = |error| Failure::new("cannot write", error);
        match self {
            Self::Commit { name, commit, views, .. } => {
                let appended = append(connection, streams, name, commit).map_err(failure)?;
                if let Appended::Stored { after } = appended {
                    for view in views {
                        view.apply(connection, after)?;
                        // What is written after the end of the transaction would be committed by itself.
                        if connection.has_ended() {
                            break;
                        }
                    }
                }
                Ok((Done::Commit(appended), true))
            }
            Self::Snapshot { at, snapshot, mode, .. } => {
                match mode {
                    SnapshotMode::Epoch => layout::put_epoch(connection, at, snapshot),
                    SnapshotMode::Cache => layout::put_cached(connection, at, snapshot),
                }
                .map_err(failure)?;
                Ok((Done::Snapshot, true))
            }
            Self::Work { work, .. } if lone => Ok((Done::Work, work.run(connection)?)),
            Self::Work { work, .. } => {
                connection.nested(|| work.run(connection))?;
                Ok((Done::Work, true))
            }
        }
    }

    /// Has the next of the views of a commit refuse it, because of this error at the end of its transaction; false if there is
    /// none.
    fn refuse_view(&mut self, error: &rusqlite::Error) -> bool {
        match self {
            Self::Commit { views, .. } => views.iter_mut().any(|view| view.refuse(&error.to_string())),
            Self::Snapshot { .. } | Self::Work { .. } => false,
        }
    }

    // Nobody may be waiting any more, which is no matter here.
    fn succeed(self, done: Done) {
        match (self, done) {
            (Self::Commit { reply, .. }, Done::Commit(appended)) => drop(reply.send(Ok(appended))),
            (Self::Snapshot { reply, .. }, Done::Snapshot) => drop(reply.send(Ok(()))),
            (Self::Work { work, .. }, Done::Work) => work.succeed(),
            _ => unreachable!("a job is done as what it is"),
        }
    }

    fn fail(self, failure: Failure) {
        match self {
            Self::Commit { reply, .. } => drop(reply.send(Err(failure))),
            Self::Snapshot { reply, .. } => drop(reply.send(Err(failure))),
            Self::Work { work, .. } => work.fail(failure),
        }
    }
}

//! Group commit: one thread writes, and whatever is waiting when it turns to its queue shares one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use eventsrc_core::{SnapshotMode, StreamName};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::append::{Appended, Streams, append};
use crate::failure::{Failure, is_busy};
use crate::layout::{self, CommitRow, SnapshotKey, SnapshotRow};

/// Something to write, and who waits for it. A caller that stopped waiting changes nothing.
pub(crate) enum Job {
    Commit { name: StreamName, commit: CommitRow, reply: Reply<Appended> },
    Snapshot { at: SnapshotKey, snapshot: SnapshotRow, mode: SnapshotMode, reply: Reply<()> },
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// Writes what comes through the queue.
pub(crate) struct Writer {
    connection: Connection,
    streams: Streams,
    busy_timeout: Duration,
    commits: Arc<AtomicU64>,
}

/// What a job came to; told to its caller once the transaction is on the disk.
enum Done {
    Commit(Appended),
    Snapshot,
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
        connection: Connection,
        busy_timeout: Duration,
        commits: Arc<AtomicU64>,
    ) -> rusqlite::Result<Self> {
        connection.busy_timeout(TURN.min(busy_timeout))?;
        Ok(Self { connection, streams: Streams::new(STREAMS), busy_timeout, commits })
    }

    /// Works until the queue is empty and nobody can add to it, and gives the connection back to be closed.
    pub(crate) fn run(mut self, queue: &Receiver<Job>) -> Connection {
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

    /// Writes `jobs` in one transaction. A job that fails is told so, and the others are written without it.
    fn write(&mut self, mut jobs: Vec<Job>) {
        while !jobs.is_empty() {
            match self.attempt(&jobs) {
                Ok(done) => {
                    jobs.into_iter().zip(done).for_each(|(job, done)| job.succeed(done));
                    return;
                }
                Err(failed) => {
                    // Some errors end the transaction by themselves.
                    if !self.connection.is_autocommit() {
                        let _ = self.connection.execute_batch("ROLLBACK");
                    }
                    self.streams.clear();
                    match failed {
                        Failed::Job(index, error) => jobs.remove(index).fail(error),
                        Failed::All(error) => {
                            let failure = Failure::new("cannot write", error);
                            jobs.drain(..).for_each(|job| job.fail_with(failure.clone()));
                        }
                    }
                }
            }
        }
    }

    fn attempt(&mut self, jobs: &[Job]) -> Result<Vec<Done>, Failed> {
        self.begin().map_err(Failed::All)?;
        let before = self.connection.total_changes();
        let mut done = Vec::with_capacity(jobs.len());
        for (index, job) in jobs.iter().enumerate() {
            done.push(job.apply(&self.connection, &mut self.streams).map_err(|e| Failed::Job(index, e))?);
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
    Job(usize, rusqlite::Error),
    /// The transaction did not begin, or did not end well.
    All(rusqlite::Error),
}

impl Job {
    fn apply(&self, connection: &Connection, streams: &mut Streams) -> rusqlite::Result<Done> {
        match self {
            Self::Commit { name, commit, .. } => append(connection, streams, name, commit).map(Done::Commit),
            Self::Snapshot { at, snapshot, mode, .. } => {
                match mode {
                    SnapshotMode::Epoch => layout::put_epoch(connection, at, snapshot)?,
                    SnapshotMode::Cache => layout::put_cached(connection, at, snapshot)?,
                }
                Ok(Done::Snapshot)
            }
        }
    }

    // Nobody may be waiting any more, which is no matter here.
    fn succeed(self, done: Done) {
        match (self, done) {
            (Self::Commit { reply, .. }, Done::Commit(appended)) => drop(reply.send(Ok(appended))),
            (Self::Snapshot { reply, .. }, _) => drop(reply.send(Ok(()))),
            (Self::Commit { .. }, Done::Snapshot) => unreachable!("a job is done as what it is"),
        }
    }

    fn fail(self, error: rusqlite::Error) {
        self.fail_with(Failure::new("cannot write", error));
    }

    fn fail_with(self, failure: Failure) {
        match self {
            Self::Commit { reply, .. } => drop(reply.send(Err(failure))),
            Self::Snapshot { reply, .. } => drop(reply.send(Err(failure))),
        }
    }
}

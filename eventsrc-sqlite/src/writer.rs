//! Group commit: one thread writes, and the jobs that wait in its queue share one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use eventsrc_core::ErrorKind;

use crate::failure::{Failure, is_busy, is_constraint_violation};
use crate::guard::Guarded;
use crate::job::{Job, JobOutcome};
use crate::layout::{self, Identity};
use crate::log::LogLimit;
use crate::open::File;
use crate::streams::Streams;

/// Executes the jobs of the queue.
pub(crate) struct Writer {
    connection: Guarded,
    file: File,
    streams: Streams,
    log: LogLimit,
    busy_timeout: Duration,
    /// Counter of synced transactions.
    commits: Arc<AtomicU64>,
}

/// Largest number of jobs in a transaction: enough jobs to share a sync, and few enough that the first one does not wait
/// long.
const JOBS_PER_GROUP: usize = 512;

/// Number of times that the writer yields its processor while the queue is shorter than the last group.
const YIELDS: usize = 100;

/// Length of one wait for the write lock. SQLite waits in steps that grow to 100 ms, so that a busy process would starve
/// another one. Many short waits do not.
const LOCK_WAIT: Duration = Duration::from_millis(2);

/// Longest wait for readers that use a write-ahead log that is too long.
const LOG_WAIT: Duration = Duration::from_millis(100);

impl Writer {
    /// Creates a writer that uses `connection` and counts synced transactions in `commits`.
    pub(crate) fn new(
        connection: Guarded,
        file: File,
        busy_timeout: Duration,
        commits: Arc<AtomicU64>,
    ) -> rusqlite::Result<Self> {
        connection.busy_timeout(LOCK_WAIT.min(busy_timeout))?;
        let (streams, log) = (Streams::new(), LogLimit::new(&connection));
        Ok(Self { connection, file, streams, log, busy_timeout, commits })
    }

    /// Runs until the queue is empty and disconnected. Returns the connection, so that the caller closes it.
    pub(crate) fn run(mut self, queue: &Receiver<Job>) -> Guarded {
        let mut last = 1;
        loop {
            // The callers of the last group are likely to send their next jobs now. Yielding to them saves this thread from
            // going to sleep, and larger groups save syncs.
            for _ in 0..YIELDS {
                if queue.len() >= last {
                    break;
                }
                thread::yield_now();
            }
            let Ok(first) = queue.recv() else { return self.connection };
            let mut jobs = vec![first];
            jobs.extend(queue.try_iter().take(JOBS_PER_GROUP - 1));
            last = jobs.len();
            self.write(jobs);
        }
    }

    /// Writes `jobs` in order, except for those whose caller is gone. Jobs in a row share a transaction, except for those
    /// that need one of their own.
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
        if self.log.is_exceeded() {
            self.truncate_log();
        }
    }

    fn truncate_log(&mut self) {
        let set_wait = |wait: Duration| self.connection.busy_timeout(wait.min(self.busy_timeout));
        let _ = set_wait(LOG_WAIT);
        self.log.truncate(&self.connection);
        let _ = set_wait(LOCK_WAIT);
    }

    /// Writes `jobs` in one transaction. A job that fails is answered, and the transaction is repeated without it.
    fn write_group(&mut self, mut jobs: Vec<Job>) {
        while !jobs.is_empty() {
            let failed = match self.try_group(&mut jobs) {
                Ok(outcomes) => {
                    return jobs.into_iter().zip(outcomes).for_each(|(job, outcome)| job.succeed(outcome));
                }
                Err(failed) => failed,
            };
            // Some errors of SQLite end the transaction by themselves.
            if !self.connection.is_autocommit() {
                let _ = self.connection.execute_batch("ROLLBACK");
            }
            self.streams.clear();
            match failed {
                GroupFailure::Job(index, failure) => jobs.remove(index).fail(failure),
                GroupFailure::RolledBack(index) => jobs.remove(index).succeed(JobOutcome::Work),
                GroupFailure::Retry => {}
                GroupFailure::Refused(failure) => fail_all(&mut jobs, &failure),
                // One job violates a constraint. Halving the group finds it.
                GroupFailure::Transaction(error) if is_constraint_violation(&error) && jobs.len() > 1 => {
                    let rest = jobs.split_off(jobs.len() / 2);
                    self.write_group(jobs);
                    return self.write_group(rest);
                }
                GroupFailure::Transaction(error) => {
                    if is_constraint_violation(&error) && jobs[0].reject_in_next_view(&error) {
                        continue;
                    }
                    fail_all(&mut jobs, &Failure::new("cannot write", error));
                }
            }
        }
    }

    /// Executes `jobs` and commits. Removes those whose caller is gone before the transaction begins. After an error, the
    /// caller rolls back.
    fn try_group(&mut self, jobs: &mut Vec<Job>) -> Result<Vec<JobOutcome>, GroupFailure> {
        if !self.begin(jobs)? {
            return Ok(Vec::new());
        }
        self.check_file()?;
        self.notice_changes_of_others()?;
        let before = self.connection.total_changes();
        let is_alone = jobs.len() == 1;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for (index, job) in jobs.iter_mut().enumerate() {
            let result = job.apply(&self.connection, &mut self.streams, is_alone);
            let was_rolled_back = self.connection.take_rolled_back();
            match result {
                Err(failure) => return Err(GroupFailure::Job(index, failure)),
                Ok((JobOutcome::Commit(_), _)) if was_rolled_back => return Err(GroupFailure::Retry),
                Ok((_, stays)) if was_rolled_back || !stays => return Err(GroupFailure::RolledBack(index)),
                Ok((outcome, _)) => outcomes.push(outcome),
            }
        }
        let wrote = self.connection.total_changes() != before;
        self.execute("COMMIT")?;
        if wrote {
            // If the file is still there now, the commit is in it.
            self.check_file()?;
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(outcomes)
    }

    /// Begins a transaction that holds the file's write lock, so that the state it reads cannot change. Returns false if no
    /// job is left whose caller still waits.
    fn begin(&self, jobs: &mut Vec<Job>) -> rusqlite::Result<bool> {
        let mut waits_left = self.busy_timeout.div_duration_f64(LOCK_WAIT) as u64;
        loop {
            jobs.retain(|job| !job.is_abandoned());
            if jobs.is_empty() {
                return Ok(false);
            }
            match self.execute("BEGIN IMMEDIATE") {
                Err(error) if is_busy(&error) && waits_left > 1 => waits_left -= 1,
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        // Callers may have gone during the last wait.
        jobs.retain(|job| !job.is_abandoned());
        if jobs.is_empty() {
            self.execute("ROLLBACK")?;
        }
        Ok(!jobs.is_empty())
    }

    fn check_file(&self) -> Result<(), GroupFailure> {
        self.file.check("cannot write to").map_err(GroupFailure::Refused)
    }

    /// Forgets what is remembered of the file if another connection has changed it, and checks that it is still one of this
    /// library: it may have been restored.
    fn notice_changes_of_others(&mut self) -> Result<(), GroupFailure> {
        let version = layout::version_of_others(&self.connection)?;
        if self.streams.is_valid_for(version) {
            return Ok(());
        }
        let why = match layout::identity(&self.connection)? {
            // A newer process may have migrated the file.
            Identity::Ours(layout) if layout >= layout::VERSION => {
                self.streams.forget(version);
                return Ok(());
            }
            Identity::Ours(layout) => {
                format!("it was restored to a layout of version {layout}: open it again")
            }
            Identity::Empty | Identity::Foreign => "it was replaced by a file of another program".into(),
        };
        let what = format!("cannot write to {}: {why}", self.connection.path().unwrap_or_default());
        Err(GroupFailure::Refused(Failure::plain(ErrorKind::Refused, what)))
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

/// Answers all jobs with a failure.
fn fail_all(jobs: &mut Vec<Job>, failure: &Failure) {
    jobs.drain(..).for_each(|job| job.fail(failure.clone()));
}

/// Reason for which a group was not written.
enum GroupFailure {
    /// The job at this index failed.
    Job(usize, Failure),
    /// The job at this index ran, and its writes are to be rolled back.
    RolledBack(usize),
    /// The code of a view rolled back the transaction of a commit. The commit's job remembers it and does not call the
    /// code again.
    Retry,
    /// The transaction did not begin or did not commit.
    Transaction(rusqlite::Error),
    /// The file is not to be written to.
    Refused(Failure),
}

impl From<rusqlite::Error> for GroupFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Transaction(error)
    }
}

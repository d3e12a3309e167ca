//! The handle of an open file.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};
use eventsrc_core::{ErrorKind, StorageError};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::guard::Guarded;
use crate::job::Job;
use crate::open::File;
use crate::reply::Reply;
use crate::settings::Settings;
use crate::threads::{Read, Threads, is_database_thread};
use crate::work::{Task, WorkOutcome};

/// An open file of events, snapshots and views. Cheap to clone; all clones share one writer thread and the reader
/// threads.
///
/// Other processes may have the same file open.
///
/// The file is closed when the last handle is dropped; storages, snapshots and views hold handles, too. That drop blocks
/// until all queued writes are done and the write-ahead log is checkpointed into the file. The file is then complete
/// without its log.
#[derive(Clone)]
pub struct Database(Arc<Handle>);

impl Database {
    /// Opens the file at `path` with default settings, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// - `ErrorKind::Refused` if the file is not an SQLite file, belongs to another program, was written by a newer version
    ///   of this library or is read-only, or if its directory does not exist.
    /// - `ErrorKind::Unavailable` if another program holds a lock on the file for longer than the busy timeout.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        Self::open_with(path, Settings::default()).await
    }

    /// Opens the file at `path` with these settings, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// As for [`open`](Database::open).
    pub async fn open_with(path: impl AsRef<Path>, settings: Settings) -> Result<Self, StorageError> {
        let file = File::new(path.as_ref(), settings.clone())?;
        let (jobs, job_queue) = unbounded();
        let (reads, read_queue) = unbounded();
        let commits = Arc::new(AtomicU64::new(0));
        let (opened, is_open) = oneshot::channel();
        let threads = Threads { file, settings: settings.clone(), commits: Arc::clone(&commits) };
        let writer_thread = threads.spawn(job_queue, read_queue, opened)?;
        let queues = Some(Queues { jobs, reads });
        let handle = Handle { queues, writer_thread: Some(writer_thread), commits, settings };
        is_open.await.map_err(|_| StorageError::from(stopped()))??;
        Ok(Self(Arc::new(handle)))
    }

    /// True if both are handles of one opened file, so that their writes can share a transaction.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Number of transactions that this handle and its clones have synced to the disk. Commits that are put at the same
    /// time share one.
    pub fn disk_commits(&self) -> u64 {
        self.0.commits.load(Ordering::Relaxed)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Queues a job for the writer thread, and waits until it is on the disk.
    pub(crate) async fn write<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.0.queues().jobs.send(job(reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Runs `work` on the writer thread, in a transaction that it may share with other jobs. It may run again in another
    /// transaction, so it must not consume its input. It must not hold a handle of the database.
    pub(crate) async fn transact<T: Send + 'static>(
        &self,
        work: impl FnMut(&Guarded) -> Result<WorkOutcome<T>, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.write(|reply| Job::Work { work: Task::boxed(work, reply), alone: false }).await
    }

    /// Runs `work` once on the writer thread, in a transaction of its own. It must not hold a handle of the database.
    pub(crate) async fn transact_alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Guarded) -> Result<WorkOutcome<T>, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut work = Some(work);
        let once = move |connection: &Guarded| {
            work.take().expect("work in a transaction of its own runs once")(connection)
        };
        self.write(|reply| Job::Work { work: Task::boxed(once, reply), alone: true }).await
    }

    /// Runs `read` on a reader thread. It must not hold a handle of the database.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let read =
            |connection: &Guarded| read(connection).map_err(|error| Failure::new("cannot read", error));
        Ok(self.read_guarded(read).await?)
    }

    /// Runs `read` on a reader thread, with a connection that can be lent. It must not hold a handle of the database.
    pub(crate) async fn read_guarded<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Guarded) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let read = move |connection: &Guarded| {
            // A panic of the caller's codec or query resumes in the caller.
            let outcome = catch_unwind(AssertUnwindSafe(|| read(connection)));
            drop(reply.send(outcome));
        };
        self.0.queues().reads.send(Box::new(read)).map_err(|_| stopped())?;
        match answer.await.map_err(|_| stopped())? {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// State that all clones share.
struct Handle {
    /// `None` once the file is being closed.
    queues: Option<Queues>,
    writer_thread: Option<JoinHandle<()>>,
    /// Counter of synced transactions.
    commits: Arc<AtomicU64>,
    settings: Settings,
}

struct Queues {
    jobs: Sender<Job>,
    reads: Sender<Read>,
}

impl Handle {
    fn queues(&self) -> &Queues {
        self.queues.as_ref().expect("the queues exist as long as a handle does")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.queues.take());
        // Code of a view or a query may drop the last handle on a thread of the database, which cannot join itself.
        if let Some(writer) = self.writer_thread.take().filter(|_| !is_database_thread()) {
            // A panic of the writer thread was reported to the callers that waited for an answer.
            let _ = writer.join();
        }
    }
}

fn stopped() -> Failure {
    Failure::plain(ErrorKind::Unavailable, "the thread of the database has stopped")
}

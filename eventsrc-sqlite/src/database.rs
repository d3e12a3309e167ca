//! The handle of an open file.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use eventsrc_core::{ErrorKind, StorageError};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::backup;
use crate::closing::Closing;
use crate::failure::{Failure, stopped};
use crate::guard::Guarded;
use crate::job::Job;
use crate::limit::WaitLimit;
use crate::open::File;
use crate::read_job::ReadJob;
use crate::readers::{ReadQueue, ReaderThreads};
use crate::reply::Reply;
use crate::settings::Settings;
use crate::thread::is_database_thread;
use crate::threads::Threads;
use crate::work::{Task, WorkOutcome};

/// An open file of events, snapshots and views. Cheap to clone; all clones share one writer thread and the reader
/// threads.
///
/// Other processes may have the same file open.
///
/// The file is closed when the last handle is dropped; storages, snapshots and views hold handles, too. That drop blocks
/// until the current transaction has ended and the write-ahead log is checkpointed into the file. The file is then complete
/// without its log. Calls whose futures were dropped before do not delay it: they are interrupted, rolled back or skipped.
///
/// The drop does not wait for code of a view or a query that still runs. The file is then closed when that code returns.
///
/// The database belongs to the file that it opened. If that file, its `-wal` or its `-shm` is deleted, moved or replaced, each
/// write fails with `ErrorKind::Refused` and is not acknowledged, and so does each read that begins later, until the same
/// file is back or the database is opened again. On systems other than Unix only a missing file is noticed; SQLite keeps
/// others from moving it there. A file that another connection restores while it is open is read as it is then.
#[derive(Clone)]
pub struct Database(Arc<Handle>);

impl Database {
    /// Opens the file at `path` with default settings, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// - `ErrorKind::Refused` if the file is not an SQLite file, belongs to another program, was written by a newer version
    ///   of this library or is read-only, if its directory does not exist, or if the write-ahead log next to it is found to be
    ///   of another file. The file is then left as it is.
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
        let (reads, read_queue) = ReadQueue::new(settings.waiting_reads);
        let (view_reads, view_read_queue) = ReadQueue::new(settings.waiting_reads);
        let (open, closed) = bounded(0);
        let commits = Arc::new(AtomicU64::new(0));
        let closing = Arc::<Closing>::default();
        let readers = ReaderThreads::new(file.clone(), Arc::clone(&closing));
        let (opened, is_open) = oneshot::channel();
        let threads = Threads {
            file,
            settings: settings.clone(),
            commits: Arc::clone(&commits),
            readers: readers.clone(),
            closing: Arc::clone(&closing),
        };
        threads.spawn(job_queue, read_queue, opened)?;
        is_open.await.map_err(|_| StorageError::from(stopped()))??;
        let limit = WaitLimit::new("writes", settings.waiting_commits, settings.waiting_bytes);
        Ok(Self(Arc::new(Handle {
            queues: Some(Queues { jobs, reads, view_reads, _open: open }),
            closed,
            closing,
            limit,
            readers,
            idle_view_readers: Mutex::new(Some(view_read_queue)),
            commits,
            settings,
        })))
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

    /// Writes a backup of the whole file to `path`, which must not exist: events, snapshots and views, in one state that has
    /// every write that was acknowledged before the call. The backup is a database file without a log. When this returns, it
    /// is on the disk.
    ///
    /// Writes and reads go on meanwhile. The write-ahead log of the file cannot be reused and grows until the backup is
    /// written. A backup that fails, or whose future is dropped, leaves no file; one whose process is killed leaves none at
    /// `path`, but one next to it whose name has `-partial-` in it.
    ///
    /// # Errors
    ///
    /// - `ErrorKind::Invalid` if there is a file at `path`, or if `path` is not UTF-8.
    /// - `ErrorKind::Refused` if its directory does not exist or is not writable, or if the disk is full.
    /// - `ErrorKind::Corrupt` if the file of this database is damaged.
    ///
    /// # Example
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let database = eventsrc_sqlite::Database::open(folder.path().join("events.db")).await?;
    /// database.backup(folder.path().join("2026-12-01.db")).await?;
    /// # Ok(()) }
    /// ```
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<(), StorageError> {
        let target = std::path::absolute(path).map_err(|error| {
            StorageError::new(ErrorKind::Invalid, "a backup needs the path of a file").because(error)
        })?;
        // A thread and a connection of its own: a backup may take long.
        let (queue, reads) = ReadQueue::new(1);
        self.0.readers.start_lazy(reads)?;
        Ok(queue.run(move |connection| backup::write(connection, &target)).await?)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Queues a job of `bytes` for the writer thread, and waits until it is on the disk.
    pub(crate) async fn write<T>(
        &self,
        bytes: usize,
        job: impl FnOnce(Reply<T>) -> Job,
    ) -> Result<T, Failure> {
        let (reply, answer) = Reply::new(self.0.limit.admit(bytes)?);
        self.0.queues().jobs.send(job(reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Runs `work` on the writer thread, in a transaction that it may share with other jobs. It may run again in another
    /// transaction, so it must not consume its input. It must not hold a handle of the database.
    pub(crate) async fn transact<T: Send + 'static>(
        &self,
        work: impl FnMut(&Guarded) -> Result<WorkOutcome<T>, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.write(0, |reply| Job::Work { work: Task::boxed(work, reply), alone: false }).await
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
        self.write(0, |reply| Job::Work { work: Task::boxed(once, reply), alone: true }).await
    }

    /// Runs `read` on a reader thread. Dropping the future cancels it. It must not hold a handle of the database.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let read =
            |connection: &Guarded| read(connection).map_err(|error| Failure::new("cannot read", error));
        Ok(self.read_guarded(read).await?)
    }

    /// Runs `read` on a reader thread, with a connection that can be lent. Otherwise as [`read`](Database::read).
    pub(crate) async fn read_guarded<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Guarded) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.0.queues().reads.run(read).await
    }

    /// Runs `read` on a reader thread of views, where it may take long without delaying the reads of writers. Otherwise as
    /// [`read_guarded`](Database::read_guarded).
    pub(crate) async fn read_view<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Guarded) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.0.start_view_readers()?;
        self.0.queues().view_reads.run(read).await
    }

    /// A channel that is disconnected when the last handle is dropped.
    pub(crate) fn closed(&self) -> Receiver<Infallible> {
        self.0.closed.clone()
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
    /// Disconnected once the file is being closed.
    closed: Receiver<Infallible>,
    closing: Arc<Closing>,
    /// Limit of the writes that wait.
    limit: Arc<WaitLimit>,
    readers: ReaderThreads,
    /// The queue of queries of views, until the first query starts their threads.
    idle_view_readers: Mutex<Option<Receiver<ReadJob>>>,
    /// Counter of synced transactions.
    commits: Arc<AtomicU64>,
    settings: Settings,
}

struct Queues {
    jobs: Sender<Job>,
    reads: ReadQueue,
    view_reads: ReadQueue,
    _open: Sender<Infallible>,
}

impl Handle {
    fn queues(&self) -> &Queues {
        self.queues.as_ref().expect("the queues exist as long as a handle does")
    }

    fn start_view_readers(&self) -> Result<(), Failure> {
        let mut idle = self.idle_view_readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = &*idle {
            for _ in 0..self.settings.view_readers.max(1) {
                self.readers.start_lazy(queue.clone())?;
            }
            *idle = None;
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Every call borrows a handle, so no caller waits any more. The threads skip what is left in the queues.
        drop(self.queues.take());
        // Code of a view or a query may drop the last handle on a thread of the database, which cannot wait for itself.
        if !is_database_thread() {
            self.closing.wait();
        }
    }
}

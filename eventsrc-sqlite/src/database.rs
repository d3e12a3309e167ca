//! One file: its settings, its handles and its threads.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use eventsrc_core::{ErrorKind, StorageError};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::guard::Guarded;
use crate::open::File;
use crate::work::{Task, Worked};
use crate::writer::{Job, Reply, Writer};

/// An open file of events and snapshots. Cheap to clone; all clones share one writer and a few readers.
///
/// Other processes may have the same file open. The file is closed when the last handle goes, storages included: what
/// is still queued is written first, and the log is folded into the file, which is then complete by itself. That last
/// drop waits for it.
#[derive(Clone)]
pub struct Database(Arc<Handle>);

/// How a file is used. It is always synced at each acknowledged commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long to wait for another process that holds the file before the answer is `Unavailable`.
    pub busy_timeout: Duration,
    /// How many threads read, at least 1. They read beside each other and beside the writer.
    pub readers: usize,
    /// How many commits a page holds at most, at least 1.
    pub commits_per_page: usize,
    /// After how many bytes of payloads and metadata a page ends; a commit is never cut.
    pub bytes_per_page: usize,
    /// How large the file may grow, without its log; beyond that, writing is `Refused` as on a full disk.
    pub largest_file: Option<u64>,
}

/// 5 seconds, 4 readers, pages of 256 commits or a MiB, no limit.
impl Default for Settings {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            commits_per_page: 256,
            bytes_per_page: 1 << 20,
            largest_file: None,
        }
    }
}

impl Database {
    /// Opens the file at `path`, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// `Refused` if the file is not SQLite, not ours, of a newer version, read-only, or its directory is missing;
    /// `Unavailable` if another program keeps it locked.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        Self::open_with(path, Settings::default()).await
    }

    /// Opens the file at `path` with these settings.
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
        let main = spawn("eventsrc-writer", move || threads.run(&job_queue, &read_queue, opened))?;
        let handle = Handle { queues: Some(Queues { jobs, reads }), main: Some(main), commits, settings };
        is_open.await.map_err(|_| StorageError::from(stopped()))??;
        Ok(Self(Arc::new(handle)))
    }

    /// Whether both are handles of one opening of a file, so that what one writes can be part of what the other writes.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many transactions this handle and its clones have synced to the disk so far. Commits that were put at the
    /// same time share one.
    pub fn disk_commits(&self) -> u64 {
        self.0.commits.load(Ordering::Relaxed)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Has a job written, and waits until it is on the disk.
    pub(crate) async fn write<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.0.queues().jobs.send(job(reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Has `work` done by the writing thread, in a transaction that it may share with others. It may be done again, in
    /// another transaction, so it must not use up what it needs. It must not hold a handle to the database.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnMut(&Guarded) -> Result<Worked<T>, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.write(|reply| Job::Work { work: Task::boxed(work, reply), alone: false }).await
    }

    /// Has `work` done by the writing thread once, in a transaction of its own. It must not hold a handle to the database.
    pub(crate) async fn work_alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Guarded) -> Result<Worked<T>, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut work = Some(work);
        let once = move |connection: &Guarded| work.take().expect("alone, it is done once")(connection);
        self.write(|reply| Job::Work { work: Task::boxed(once, reply), alone: true }).await
    }

    /// Reads on one of the reading threads. `read` must not hold a handle to the database.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let read =
            |connection: &Guarded| read(connection).map_err(|error| Failure::new("cannot read", error));
        Ok(self.read_guarded(read).await?)
    }

    /// Reads on one of the reading threads, which can lend its connection. `read` must not hold a handle to the database.
    pub(crate) async fn read_guarded<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Guarded) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let read = move |connection: &Guarded| {
            // A panic of the caller's codec is the caller's.
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

/// What all clones share.
struct Handle {
    /// There until the file is closed.
    queues: Option<Queues>,
    main: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
    settings: Settings,
}

struct Queues {
    jobs: Sender<Job>,
    reads: Sender<Read>,
}

type Read = Box<dyn FnOnce(&Guarded) + Send>;

impl Handle {
    fn queues(&self) -> &Queues {
        self.queues.as_ref().expect("the file is open as long as there is a handle")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.queues.take());
        // A user's code may let go of the last handle on one of the threads, which then cannot be waited for.
        if let Some(main) = self.main.take().filter(|_| !IS_OURS.get()) {
            // A panic there was seen by those who waited for an answer.
            let _ = main.join();
        }
    }
}

thread_local! {
    /// Whether the thread is one that writes or reads a file.
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// The threads of a file.
struct Threads {
    file: File,
    settings: Settings,
    commits: Arc<AtomicU64>,
}

impl Threads {
    /// Opens the file, says so, and serves both queues until nobody can add to them.
    fn run(
        self,
        jobs: &Receiver<Job>,
        reads: &Receiver<Read>,
        opened: oneshot::Sender<Result<(), StorageError>>,
    ) {
        let (writer, readers) = match self.start(reads) {
            Ok(started) => started,
            Err(error) => return drop(opened.send(Err(error))),
        };
        drop(opened.send(Ok(())));
        let connection = writer.run(jobs);
        // The last connection to close folds the log into the file, and only the writer may write there.
        readers.into_iter().for_each(|reader| drop(reader.join()));
        drop(connection);
    }

    fn start(&self, reads: &Receiver<Read>) -> Result<(Writer, Vec<JoinHandle<()>>), StorageError> {
        let unusable = |error| Failure::new("cannot open", error);
        let connection = Guarded::writing(self.file.open_writer()?).map_err(unusable)?;
        let writer = Writer::new(connection, self.settings.busy_timeout, Arc::clone(&self.commits))
            .map_err(unusable)?;
        let start_reader = |_| {
            let connection = Guarded::reading(self.file.open_reader()?).map_err(unusable)?;
            let reads = reads.clone();
            spawn("eventsrc-reader", move || reads.iter().for_each(|read| read(&connection)))
        };
        let readers = (0..self.settings.readers.max(1)).map(start_reader).collect::<Result<_, _>>()?;
        Ok((writer, readers))
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StorageError> {
    let work = || {
        IS_OURS.set(true);
        work();
    };
    thread::Builder::new().name(name.into()).spawn(work).map_err(|error| {
        StorageError::new(ErrorKind::Unavailable, "cannot start a thread for the database").because(error)
    })
}

fn stopped() -> Failure {
    Failure::plain(ErrorKind::Unavailable, "the thread of the database has stopped")
}

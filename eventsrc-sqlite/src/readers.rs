//! Reader threads, and the queue of the reads for a group of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rusqlite::Connection;

use crate::closing::Closing;
use crate::failure::{Failure, stopped};
use crate::guard::Guarded;
use crate::limit::WaitLimit;
use crate::open::File;
use crate::read_job::{Cancel, ReadJob};
use crate::thread::spawn;

/// Queue of the reads for a group of reader threads.
pub(crate) struct ReadQueue {
    jobs: Sender<ReadJob>,
    limit: Arc<WaitLimit>,
}

impl ReadQueue {
    /// A queue in which at most `waiting` reads wait, and its end for the threads.
    pub(crate) fn new(waiting: usize) -> (Self, Receiver<ReadJob>) {
        let (jobs, queue) = unbounded();
        (Self { jobs, limit: WaitLimit::new("reads", waiting, usize::MAX) }, queue)
    }

    /// Runs `read` on a thread of the group. Dropping the future cancels it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Guarded) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (job, pending) = ReadJob::new(self.limit.admit(0)?, read);
        self.jobs.send(job).map_err(|_| stopped())?;
        pending.result().await
    }
}

/// The reader threads of an open file.
#[derive(Clone)]
pub(crate) struct ReaderThreads {
    file: File,
    closing: Arc<Closing>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl ReaderThreads {
    /// No threads yet, for `file`.
    pub(crate) fn new(file: File, closing: Arc<Closing>) -> Self {
        Self { file, closing, threads: Arc::default() }
    }

    /// Opens a connection, and starts a thread that runs the reads of `queue` until it is empty and disconnected.
    pub(crate) fn start_open(&self, queue: Receiver<ReadJob>) -> Result<(), Failure> {
        let reader = Reader::open(&self.file, &self.closing)?;
        self.start(Some(reader), queue)
    }

    /// Starts a thread that runs the reads of `queue` until it is empty and disconnected. It opens its connection for the
    /// first read.
    pub(crate) fn start_lazy(&self, queue: Receiver<ReadJob>) -> Result<(), Failure> {
        self.start(None, queue)
    }

    /// Waits until all threads have ended and closed their connections.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    fn start(&self, mut reader: Option<Reader>, queue: Receiver<ReadJob>) -> Result<(), Failure> {
        let (file, closing) = (self.file.clone(), Arc::clone(&self.closing));
        let thread = spawn("eventsrc-reader", move || {
            for job in queue {
                let opened = match reader.take() {
                    Some(reader) => Ok(reader),
                    None => Reader::open(&file, &closing),
                };
                // A reader may have opened another file in the place of the one that is gone, and is not kept then.
                match file.check("cannot read").and(opened) {
                    Ok(opened) => reader.insert(opened).run(job),
                    Err(failure) => job.fail(failure),
                }
            }
        })?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }
}

/// Connection of a reader thread.
struct Reader {
    connection: Guarded,
    is_cancelled: Arc<AtomicBool>,
}

/// Steps of a statement between two checks for its cancellation.
const STEPS_PER_CHECK: i32 = 1000;

impl Reader {
    fn open(file: &File, closing: &Arc<Closing>) -> Result<Self, Failure> {
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_cancelled);
        let guarded = |mut connection: Connection| {
            connection.progress_handler(STEPS_PER_CHECK, Some(move || flag.load(Ordering::Relaxed)))?;
            Guarded::reading(connection, Arc::clone(closing))
        };
        let connection =
            guarded(file.open_reader()?).map_err(|error| Failure::new("cannot open a reader", error))?;
        Ok(Self { connection, is_cancelled })
    }

    /// Runs a read. Afterwards, no transaction is open, so that the write-ahead log can be reused.
    fn run(&self, job: ReadJob) {
        let interrupt = self.connection.get_interrupt_handle();
        job.run(&self.connection, Cancel { is_cancelled: Arc::clone(&self.is_cancelled), interrupt });
        self.is_cancelled.store(false, Ordering::Relaxed);
        if !self.connection.is_autocommit() {
            // The cancellation of a read may have hit the end of its transaction.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

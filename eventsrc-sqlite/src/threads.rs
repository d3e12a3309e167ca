//! The threads of an open file: one writes, the others read.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};

use crossbeam_channel::Receiver;
use eventsrc_core::{ErrorKind, StorageError};
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::guard::Guarded;
use crate::job::Job;
use crate::open::File;
use crate::settings::Settings;
use crate::writer::Writer;

/// A read that runs on a reader thread.
pub(crate) type Read = Box<dyn FnOnce(&Guarded) + Send>;

thread_local! {
    static IS_DATABASE_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// True on the writer thread or a reader thread of any database.
pub(crate) fn is_database_thread() -> bool {
    IS_DATABASE_THREAD.get()
}

/// The parts from which the threads of a file start.
pub(crate) struct Threads {
    pub(crate) file: File,
    pub(crate) settings: Settings,
    /// Counter of synced transactions.
    pub(crate) commits: Arc<AtomicU64>,
}

impl Threads {
    /// Spawns the writer thread. It opens the file, spawns the reader threads, and sends the result to `opened`. It ends
    /// when both queues are empty and disconnected.
    pub(crate) fn spawn(
        self,
        jobs: Receiver<Job>,
        reads: Receiver<Read>,
        opened: oneshot::Sender<Result<(), StorageError>>,
    ) -> Result<JoinHandle<()>, StorageError> {
        spawn("eventsrc-writer", move || self.run(&jobs, &reads, opened))
    }

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
        // The last connection to close checkpoints the log into the file, and only the writer may write to the file.
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
        IS_DATABASE_THREAD.set(true);
        work();
    };
    thread::Builder::new().name(name.into()).spawn(work).map_err(|error| {
        StorageError::new(ErrorKind::Unavailable, "cannot start a thread for the database").because(error)
    })
}

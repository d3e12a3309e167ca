//! The writer thread of an open file, which starts the reader threads and closes the file.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crossbeam_channel::Receiver;
use eventsrc_core::StorageError;
use tokio::sync::oneshot;

use crate::closing::Closing;
use crate::failure::Failure;
use crate::guard::Guarded;
use crate::job::Job;
use crate::open::File;
use crate::read_job::ReadJob;
use crate::readers::ReaderThreads;
use crate::settings::Settings;
use crate::thread::spawn;
use crate::writer::Writer;

/// The parts from which the threads of a file start.
pub(crate) struct Threads {
    pub(crate) file: File,
    pub(crate) settings: Settings,
    /// Counter of synced transactions.
    pub(crate) commits: Arc<AtomicU64>,
    pub(crate) readers: ReaderThreads,
    pub(crate) closing: Arc<Closing>,
}

impl Threads {
    /// Spawns the writer thread. It opens the file, spawns the reader threads, and sends the result to `opened`. It ends by
    /// itself when all queues are empty and disconnected.
    pub(crate) fn spawn(
        self,
        jobs: Receiver<Job>,
        reads: Receiver<ReadJob>,
        opened: oneshot::Sender<Result<(), StorageError>>,
    ) -> Result<(), Failure> {
        spawn("eventsrc-writer", move || self.run(&jobs, reads, opened)).map(drop)
    }

    fn run(
        self,
        jobs: &Receiver<Job>,
        reads: Receiver<ReadJob>,
        opened: oneshot::Sender<Result<(), StorageError>>,
    ) {
        let _closed = self.closing.close_on_drop();
        let started = self.start(&reads);
        drop(reads);
        let writer = match started {
            Ok(started) => started,
            Err(error) => return drop(opened.send(Err(error))),
        };
        drop(opened.send(Ok(())));
        let file = self.file;
        let connection = writer.run(jobs);
        // The last connection to close checkpoints the log into the file, and only the writer may write to the file.
        self.readers.join();
        file.before_close(&connection);
        drop(connection);
    }

    fn start(&self, reads: &Receiver<ReadJob>) -> Result<Writer, StorageError> {
        let unusable = |error| Failure::new("cannot open", error);
        let connection = Guarded::writing(self.file.open_writer()?, Arc::clone(&self.closing));
        let writer = Writer::new(
            connection.map_err(unusable)?,
            self.file.clone(),
            self.settings.busy_timeout,
            Arc::clone(&self.commits),
        )
        .map_err(unusable)?;
        for _ in 0..self.settings.readers.max(1) {
            self.readers.start_open(reads.clone())?;
        }
        Ok(writer)
    }
}

//! Opening a file, and refusing one that is not ours.

use std::path::{Path, PathBuf};

use eventsrc_core::{ErrorKind, StorageError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::database::Settings;
use crate::failure::{Failure, is_busy};
use crate::layout::{self, Identity};

/// A file to open.
#[derive(Debug, Clone)]
pub(crate) struct File {
    path: PathBuf,
    settings: Settings,
}

impl File {
    /// The file at `path`.
    pub(crate) fn new(path: &Path, settings: Settings) -> Result<Self, StorageError> {
        // An absolute path is always a file: SQLite gives a meaning of its own to some names.
        let path = std::path::absolute(path).map_err(|error| {
            StorageError::new(ErrorKind::Invalid, "a database needs the path of a file").because(error)
        })?;
        Ok(Self { path, settings })
    }

    /// The connection that writes; the file is made if it is not there, and brought to the current version.
    pub(crate) fn open_writer(&self) -> Result<Connection, StorageError> {
        let parent = self.path.parent().unwrap_or(&self.path);
        if !parent.is_dir() {
            return Err(self.refusal(&format!("there is no directory {}", parent.display())));
        }
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_CREATE).map_err(|e| self.failure(e))?;
        let identity = self.identify(&mut connection, TransactionBehavior::Deferred)?.1;
        if connection.is_readonly("main").map_err(|e| self.failure(e))? {
            return Err(self.refusal("the file is read-only"));
        }
        if identity != Identity::Ours(layout::VERSION) {
            self.migrate(&mut connection)?;
        }
        self.log_ahead(&mut connection)?;
        if let Some(bytes) = self.settings.largest_file {
            limit(&connection, bytes).map_err(|error| self.failure(error))?;
        }
        Ok(connection)
    }

    /// A connection that reads; the writer has opened the file before.
    pub(crate) fn open_reader(&self) -> Result<Connection, StorageError> {
        // Not a read-only handle: the last one to close the file has to tidy up its log.
        self.connect(OpenFlags::empty())
            .and_then(|connection| {
                connection.pragma_update(None, "query_only", true)?;
                Ok(connection)
            })
            .map_err(|error| self.failure(error))
    }

    fn connect(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.settings.busy_timeout)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Otherwise SQLite compiles a cached search anew at each use, in case what is bound to it calls for another plan.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    }

    /// Says what the file is, and no to one that is not ours or too new, before anything in it is touched.
    ///
    /// It takes a transaction to see one state of a file that another process is just making.
    fn identify<'a>(
        &self,
        connection: &'a mut Connection,
        behavior: TransactionBehavior,
    ) -> Result<(Transaction<'a>, Identity), StorageError> {
        let failure = |error| self.failure(error);
        let transaction = connection.transaction_with_behavior(behavior).map_err(failure)?;
        match layout::identity(&transaction).map_err(failure)? {
            Identity::Foreign => Err(self.refusal("it is an SQLite file of another program")),
            Identity::Ours(version) if version > layout::VERSION => Err(self.refusal(&format!(
                "its layout is of version {version}, and this program knows up to {}: it was written by a newer one",
                layout::VERSION
            ))),
            identity => Ok((transaction, identity)),
        }
    }

    fn migrate(&self, connection: &mut Connection) -> Result<(), StorageError> {
        // Another process may have been faster, so this is asked again under the lock.
        let (transaction, identity) = self.identify(connection, TransactionBehavior::Immediate)?;
        let version = match identity {
            Identity::Ours(version) => version,
            Identity::Empty | Identity::Foreign => 0,
        };
        layout::migrate(&transaction, version)
            .and_then(|()| transaction.commit())
            .map_err(|error| self.failure(error))
    }

    /// Sets the file up so that every commit is on the disk before it is acknowledged, and readers never wait.
    fn log_ahead(&self, connection: &mut Connection) -> Result<(), StorageError> {
        let set = |connection: &Connection| {
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
        };
        let mut mode = set(connection);
        for _ in 0..TRIES {
            if !mode.as_ref().is_err_and(is_busy) {
                break;
            }
            // SQLite does not wait for this lock by itself; it does for the one that a transaction takes.
            let waited = connection.transaction_with_behavior(TransactionBehavior::Immediate).map(drop);
            mode = waited.and_then(|()| set(connection));
        }
        let mode = mode.map_err(|error| self.failure(error))?;
        if mode != "wal" {
            return Err(self.refusal("its file system cannot hold a write-ahead log"));
        }
        let durable = || {
            connection.pragma_update(None, "synchronous", "full")?;
            // Apple's plain fsync does not reach the disk.
            connection.pragma_update(None, "fullfsync", true)?;
            connection.pragma_update(None, "checkpoint_fullfsync", true)?;
            connection.pragma_update(None, "wal_autocheckpoint", PAGES_OF_LOG)
        };
        durable().map_err(|error| self.failure(error))
    }

    fn failure(&self, error: rusqlite::Error) -> StorageError {
        Failure::new(&self.cannot_open(), error).into()
    }

    fn refusal(&self, why: &str) -> StorageError {
        StorageError::new(ErrorKind::Refused, format!("{}: {why}", self.cannot_open()))
    }

    fn cannot_open(&self) -> String {
        format!("cannot open {}", self.path.display())
    }
}

/// Keeps the file from growing beyond `bytes`.
fn limit(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page;
    connection.pragma_update(None, "max_page_count", pages.max(1))
}

/// How long the log grows before it is folded into the file: 16 MiB. Random streams touch many pages, and a longer log
/// folds each of them less often.
const PAGES_OF_LOG: u32 = 4096;

/// How often the switch to the log is tried while other processes open the same new file.
const TRIES: u32 = 100;

/// How many statements a connection keeps prepared: ours, and those of a few views.
const STATEMENTS: usize = 256;

//! Opening a file: identification, migration and durability.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use eventsrc_core::{ErrorKind, StorageError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::failure::{Failure, is_busy};
use crate::foreign_log::ClosedFiles;
use crate::layout::{self, Identity};
use crate::presence::OpenFiles;
use crate::settings::Settings;

/// A file to open.
#[derive(Debug, Clone)]
pub(crate) struct File {
    path: PathBuf,
    settings: Settings,
    /// The files that are open, once they are.
    open: Arc<OnceLock<OpenFiles>>,
}

impl File {
    /// The file at `path`, which need not exist.
    pub(crate) fn new(path: &Path, settings: Settings) -> Result<Self, StorageError> {
        // An absolute path always names a file, while SQLite gives other meanings to some relative names.
        let path = std::path::absolute(path).map_err(|error| {
            StorageError::new(ErrorKind::Invalid, "a database needs the path of a file").because(error)
        })?;
        Ok(Self { path, settings, open: Arc::default() })
    }

    /// Opens the connection that writes. Creates the file if it does not exist, and migrates it to the current version.
    pub(crate) fn open_writer(&self) -> Result<Connection, StorageError> {
        let parent = self.path.parent().unwrap_or(&self.path);
        if !parent.is_dir() {
            return Err(self.refusal(&format!("there is no directory {}", parent.display())));
        }
        let files = ClosedFiles::new(&self.path);
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_CREATE).map_err(|e| self.failure(e))?;
        // A file that is refused must stay as it is. Closing would write its log into it.
        set_checkpoint_on_close(&connection, false).map_err(|e| self.failure(e))?;
        let identity = self.identify(&mut connection, TransactionBehavior::Deferred)?.1;
        if matches!(identity, Identity::Ours(_)) {
            self.check_log(&connection, &files)?;
        }
        if connection.is_readonly("main").map_err(|e| self.failure(e))? {
            return Err(self.refusal("the file is read-only"));
        }
        if identity != Identity::Ours(layout::VERSION) {
            self.migrate(&mut connection)?;
        }
        self.enable_log(&mut connection)?;
        if let Some(bytes) = self.settings.largest_file {
            limit_size(&connection, bytes).map_err(|error| self.failure(error))?;
        }
        set_checkpoint_on_close(&connection, true).map_err(|e| self.failure(e))?;
        self.remember_files(&connection)?;
        Ok(connection)
    }

    /// Opens a connection that reads. The writer has opened the file before.
    pub(crate) fn open_reader(&self) -> Result<Connection, Failure> {
        // The handle is not read-only, because the last connection to close the file checkpoints its log.
        self.connect(OpenFlags::empty())
            .and_then(|connection| {
                connection.pragma_update(None, "query_only", true)?;
                Ok(connection)
            })
            .map_err(|error| Failure::new(&self.cannot_open(), error))
    }

    /// Checks that the path names the file that was opened. `doing` is a clause such as "cannot write to".
    ///
    /// # Errors
    ///
    /// `ErrorKind::Refused` if the file or its log was deleted, moved or replaced.
    pub(crate) fn check(&self, doing: &str) -> Result<(), Failure> {
        self.open.get().map_or(Ok(()), |files| files.check(doing))
    }

    /// Prepares the close of the connection that writes, which is the last one. It leaves the log of another process alone.
    pub(crate) fn before_close(&self, connection: &Connection) {
        if self.open.get().is_some_and(OpenFiles::has_foreign_log) {
            // SQLite deletes the log by its name. This call does not fail on an open connection.
            let _ = set_checkpoint_on_close(connection, false);
        }
    }

    fn remember_files(&self, connection: &Connection) -> Result<(), StorageError> {
        // The first read creates the log.
        layout::identity(connection).map_err(|error| self.failure(error))?;
        let files = OpenFiles::new(&self.path, connection)
            .map_err(|error| self.refusal("it was deleted or moved at once").because(error))?;
        let _ = self.open.set(files);
        Ok(())
    }

    /// Refuses a file whose pages do not belong together.
    fn check_log(&self, connection: &Connection, files: &ClosedFiles) -> Result<(), StorageError> {
        let why = if files.have_log() {
            "the log next to it is of another file, or it was copied while it was open; nothing was changed"
        } else {
            "it is damaged: it may have been copied while it was open"
        };
        match files.fit(connection) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.refusal(why)),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                Err(self.refusal(why).because(error))
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    fn connect(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.settings.busy_timeout)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        // Without this, SQLite compiles a cached statement again for each use, because bound values may change its plan.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    }

    /// Identifies the file, and refuses one that is foreign or has a newer layout before anything in it is changed.
    ///
    /// The transaction shows one state of a file that another process may be creating.
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
                "its layout has version {version}, and this program supports versions up to {}: use a newer program",
                layout::VERSION
            ))),
            identity => Ok((transaction, identity)),
        }
    }

    fn migrate(&self, connection: &mut Connection) -> Result<(), StorageError> {
        // Another process may have migrated the file meanwhile, so the identity is read again under the write lock.
        let (transaction, identity) = self.identify(connection, TransactionBehavior::Immediate)?;
        let version = match identity {
            Identity::Ours(version) => version,
            Identity::Empty | Identity::Foreign => 0,
        };
        layout::migrate(&transaction, version)
            .and_then(|()| transaction.commit())
            .map_err(|error| self.failure(error))
    }

    /// Enables the write-ahead log, so that readers never wait, and syncs each commit to the disk.
    fn enable_log(&self, connection: &mut Connection) -> Result<(), StorageError> {
        let set = |connection: &Connection| {
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
        };
        let mut mode = set(connection);
        for _ in 0..LOG_ATTEMPTS {
            if !mode.as_ref().is_err_and(is_busy) {
                break;
            }
            // The busy timeout does not cover the lock for this pragma. It covers the lock that a transaction takes.
            let waited = connection.transaction_with_behavior(TransactionBehavior::Immediate).map(drop);
            mode = waited.and_then(|()| set(connection));
        }
        let mode = mode.map_err(|error| self.failure(error))?;
        if mode != "wal" {
            return Err(self.refusal("its file system does not support a write-ahead log"));
        }
        let durable = || {
            connection.pragma_update(None, "synchronous", "full")?;
            // On Apple systems a plain fsync does not reach the disk.
            connection.pragma_update(None, "fullfsync", true)?;
            connection.pragma_update(None, "checkpoint_fullfsync", true)?;
            connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)
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

/// Makes the last connection to close write the log into the file and delete it, or leave both as they are.
fn set_checkpoint_on_close(connection: &Connection, is_set: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !is_set).map(drop)
}

/// Limits the size of the file to `bytes`.
fn limit_size(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page;
    connection.pragma_update(None, "max_page_count", pages.max(1))
}

/// Pages of the write-ahead log at which it is checkpointed: 16 MiB. Commits to random streams touch many pages, and a
/// longer log checkpoints each page less often.
const LOG_PAGES: u32 = 4096;

/// Attempts to switch to the write-ahead log while other processes open the same new file.
const LOG_ATTEMPTS: u32 = 100;

/// Prepared statements that a connection caches: those of the library and of a few views.
const CACHED_STATEMENTS: usize = 256;

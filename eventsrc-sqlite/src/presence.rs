//! Check that the path of an open database still names the file that is open.
//!
//! On Unix a file stays open after it was deleted, moved or replaced. SQLite goes on with it, and what it commits is gone with
//! the last handle, or is never seen by those who open the path. Comparing device and inode costs one `stat` a file.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use eventsrc_core::ErrorKind;
use rusqlite::Connection;

use crate::failure::Failure;

/// The files of an open database: the file itself, its write-ahead log, and the index of the log.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    database: OpenFile,
    log: Vec<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    identity: Identity,
}

/// Device and inode of a file.
#[cfg(unix)]
type Identity = (u64, u64);

/// Nothing: on other systems, SQLite opens files so that they cannot be deleted, moved or replaced. A missing file is
/// noticed.
#[cfg(not(unix))]
type Identity = ();

impl OpenFiles {
    /// The files of `connection`, which was opened at `path` and has read from the file.
    pub(crate) fn new(path: &Path, connection: &Connection) -> io::Result<Self> {
        let database = OpenFile::new(path.to_owned())?;
        // SQLite names these files after the file at the end of all links.
        let sibling =
            |suffix| OpenFile::new(format!("{}{suffix}", connection.path().unwrap_or_default()).into());
        Ok(Self { database, log: vec![sibling("-wal")?, sibling("-shm")?] })
    }

    /// Checks that the paths name the files that are open.
    ///
    /// # Errors
    ///
    /// `ErrorKind::Refused` if one of them is gone or another one.
    pub(crate) fn check(&self, doing: &str) -> Result<(), Failure> {
        for file in std::iter::once(&self.database).chain(&self.log) {
            let Err(error) = file.check() else { continue };
            let (database, path) = (self.database.path.display(), file.path.display());
            let what = format!(
                "{doing} {database}: {path} was deleted, moved or replaced since the database was opened; open it again"
            );
            return Err(Failure::plain(ErrorKind::Refused, what).because(error.into()));
        }
        Ok(())
    }

    /// True if another log is next to the file: another process uses the file with it, and closing must not touch it.
    pub(crate) fn has_foreign_log(&self) -> bool {
        self.log.iter().any(|file| file.check().is_err_and(|error| error.kind() != io::ErrorKind::NotFound))
    }
}

impl OpenFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&fs::metadata(&path)?);
        Ok(Self { path, identity })
    }

    fn check(&self) -> io::Result<()> {
        if identity(&fs::metadata(&self.path)?) == self.identity {
            Ok(())
        } else {
            Err(io::Error::other("it is another file"))
        }
    }
}

#[cfg(unix)]
fn identity(file: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;

    (file.dev(), file.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {}

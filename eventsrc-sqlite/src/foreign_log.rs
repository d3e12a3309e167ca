//! Check at the opening of a file whether the log next to it is its own.
//!
//! Nothing in an SQLite file names its log, and nothing in a log names its file: SQLite reads one through the other, whichever
//! they are. The check finds what does not fit together. It cannot find a log that replaces all that it looks at, nor that a
//! log is missing, because a file without a log is a closed one.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Result};

use crate::layout;

/// Files of a database before it is opened.
pub(crate) struct ClosedFiles {
    log: PathBuf,
    /// Sizes in bytes.
    database_size: u64,
    log_size: u64,
}

impl ClosedFiles {
    /// The file at `path`, and the log next to it.
    pub(crate) fn new(path: &Path) -> Self {
        // The file is not opened: closing it would release the locks of all connections of this process.
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let log = PathBuf::from(format!("{}-wal", path.display()));
        Self { database_size: size(&path), log_size: size(&log), log }
    }

    /// True if there is a log with content.
    pub(crate) fn have_log(&self) -> bool {
        self.log_size > 0
    }

    /// False if the log is of another file, as far as `connection` can tell, which reads the file through the log.
    pub(crate) fn fit(&self, connection: &Connection) -> Result<bool> {
        if !layout::samples_fit(connection)? {
            return Ok(false);
        }
        let (pages, page_size) = layout::pages(connection)?;
        // A file only becomes shorter when all its pages are written again: by VACUUM, or by a restore.
        let is_shorter = self.have_log() && pages * page_size < self.database_size;
        Ok(!is_shorter || self.logged_pages(page_size).is_ok_and(|logged| logged >= pages))
    }

    /// Number of different pages in the log.
    fn logged_pages(&self, page_size: u64) -> io::Result<u64> {
        const HEADER: u64 = 32;
        const FRAME_HEADER: usize = 24;
        let mut log = BufReader::new(File::open(&self.log)?);
        io::copy(&mut log.by_ref().take(HEADER), &mut io::sink())?;
        let (mut found, mut header) = (HashSet::new(), [0; FRAME_HEADER]);
        while log.read_exact(&mut header).is_ok() {
            found.insert([header[0], header[1], header[2], header[3]]);
            io::copy(&mut log.by_ref().take(page_size), &mut io::sink())?;
        }
        Ok(found.len() as u64)
    }
}

//! Backup of an open database into another file.
//!
//! `VACUUM INTO` reads one state of the file in one read transaction, which delays no writer, and writes a file without a log
//! and without what was deleted. SQLite's backup interface would begin again after each commit of another connection, or
//! copy deleted data, too.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use eventsrc_core::ErrorKind;

use crate::failure::Failure;
use crate::guard::Guarded;

/// Number of names that are tried: other backups to the same path may be running, and killed ones have left theirs.
const ATTEMPTS: u32 = 100;

/// A file to which a backup is written. Unless it was kept, dropping this removes what was written.
struct Partial {
    path: PathBuf,
}

/// Writes a backup to `target`, in a file that exists only once it is whole and on the disk.
pub(crate) fn write(connection: &Guarded, target: &Path) -> Result<(), Failure> {
    let doing = format!("cannot back up to {}", target.display());
    let failure =
        |error: io::Error| Failure::plain(kind(&error), format!("{doing}: {error}")).because(error.into());
    if target.symlink_metadata().is_ok() {
        return Err(failure(io::ErrorKind::AlreadyExists.into()));
    }
    let partial = Partial::new(target).map_err(failure)?;
    let text = partial.path.to_str().ok_or_else(|| {
        Failure::plain(ErrorKind::Invalid, format!("{doing}: SQLite needs a path in UTF-8"))
    })?;
    // The connections of readers are closed to writes. This one is dropped after the backup.
    connection
        .pragma_update(None, "query_only", false)
        .and_then(|()| connection.execute("VACUUM INTO ?1", [text]))
        .map_err(|error| Failure::new(&doing, error))?;
    partial.keep(target).map_err(failure)
}

impl Partial {
    /// A new, empty file next to `target`.
    fn new(target: &Path) -> io::Result<Self> {
        let names = (0..ATTEMPTS).map(|number| {
            let mut path = target.as_os_str().to_owned();
            path.push(format!("-partial-{}-{number}", process::id()));
            PathBuf::from(path)
        });
        let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
        for path in names {
            match File::create_new(&path) {
                Ok(_) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
                Err(error) => return Err(error),
            }
        }
        Err(taken)
    }

    /// Syncs the file, and gives it its name, which no other file may have.
    fn keep(self, target: &Path) -> io::Result<()> {
        // On some systems only a handle that can write can sync.
        File::options().read(true).write(true).open(&self.path)?.sync_all()?;
        // A second name, because renaming replaces a file.
        match fs::hard_link(&self.path, target) {
            Err(error) if has_no_links(&error) => {
                // Such a file system has no other way. The name was free a moment ago.
                drop(File::create_new(target)?);
                fs::rename(&self.path, target)?;
            }
            linked => linked?,
        }
        drop(self);
        sync_directory(target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It may have its last name by now, and SQLite removes its journal itself.
        let _ = fs::remove_file(&self.path);
    }
}

/// True if the file system has no hard links.
fn has_no_links(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

#[cfg(unix)]
fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Other systems cannot sync a directory.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

fn kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Refused,
    }
}

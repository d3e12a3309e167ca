//! A private ministack is started and stopped as requested.

use std::net::TcpStream;

use eventsrc_test_servers::{self as servers, Ministack};

use super::tables::{Tables, each_key_has_tables_of_its_own};

#[tokio::test]
async fn each_access_key_has_tables_of_its_own() {
    let server = servers::ministack().await;
    each_key_has_tables_of_its_own(&server.endpoint(), [&server.access_key(), &server.access_key()]).await;
}

#[tokio::test]
async fn a_restarted_server_is_empty() {
    let mut server = Ministack::start().await.unwrap();
    let (endpoint, address) = (server.endpoint(), server.address());
    let tables = Tables::new(&server.endpoint(), &server.access_key());
    tables.create("kept").await;

    server.kill().await.unwrap();
    assert!(TcpStream::connect(address).is_err(), "it is gone");
    server.restart().await.unwrap();
    assert_eq!((tables.names().await, server.endpoint()), (Vec::new(), endpoint));

    tables.create("kept").await;
    server.stop().await.unwrap();
    assert!(TcpStream::connect(address).is_err(), "it is gone");
    server.restart().await.unwrap();
    assert_eq!(tables.names().await, [""; 0]);

    drop(server);
    assert!(TcpStream::connect(address).is_err());
}

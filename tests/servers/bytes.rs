//! Faults of a proxy that can stand in front of any server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::{Injected, Proxy, Way};
use futures::poll;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{connect, rows, until, within};

#[tokio::test]
async fn all_bytes_and_the_end_of_the_connection_are_forwarded_both_ways() {
    let (address, mut received) = server(300_000).await;
    let proxy = Proxy::before(address).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(&[7; 200_000]).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(within(received.recv()).await, Some(200_000));
    assert_eq!(read_all(&mut client).await, 300_000);
    assert_eq!(proxy.injected(), Injected::default());
}

#[tokio::test]
async fn connections_are_cut_and_new_ones_are_served() {
    let server = servers::postgres().await;
    let proxy = Proxy::before(server.address()).await.unwrap();
    let url = proxy.url(&server.url());
    let clients = [connect(&url).await.unwrap(), connect(&url).await.unwrap()];
    proxy.cut();
    for client in clients {
        client.batch_execute("SELECT 1").await.unwrap_err();
    }
    connect(&url).await.unwrap().batch_execute("SELECT 1").await.unwrap();
    assert_eq!(proxy.injected(), Injected { cut: 2, ..Injected::default() });
}

#[tokio::test]
async fn new_connections_are_refused_until_they_are_accepted_again() {
    let server = servers::postgres().await;
    let proxy = Proxy::before(server.address()).await.unwrap();
    let url = proxy.url(&server.url());
    let client = connect(&url).await.unwrap();
    proxy.refuse().await;
    proxy.refuse().await;
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    client.batch_execute("SELECT 1").await.unwrap();
    proxy.accept().await.unwrap();
    proxy.accept().await.unwrap();
    connect(&url).await.unwrap();
}

#[tokio::test]
async fn a_dropped_proxy_closes_its_connections() {
    let server = servers::postgres().await;
    let proxy = Proxy::before(server.address()).await.unwrap();
    let (url, address) = (proxy.url(&server.url()), proxy.address());
    let client = connect(&url).await.unwrap();
    drop(proxy);
    client.batch_execute("SELECT 1").await.unwrap_err();
    until(async || TcpStream::connect(address).await.is_err()).await;
}

#[tokio::test]
async fn a_stalled_reply_was_executed_and_arrives_after_the_stall() {
    let (proxy, url, direct) = table().await;
    let client = connect(&url).await.unwrap();
    proxy.stall(Way::ToClient);
    let mut insert = Box::pin(client.batch_execute("INSERT INTO kept VALUES (1)"));
    assert!(poll!(&mut insert).is_pending());
    until(async || rows(&direct).await == 1).await;
    assert!(poll!(&mut insert).is_pending());
    proxy.resume();
    insert.await.unwrap();
}

#[tokio::test]
async fn a_stalled_request_is_executed_after_the_stall() {
    let (proxy, url, direct) = table().await;
    let client = connect(&url).await.unwrap();
    proxy.stall(Way::ToServer);
    let mut insert = Box::pin(client.batch_execute("INSERT INTO kept VALUES (1)"));
    assert!(poll!(&mut insert).is_pending());
    assert_eq!(rows(&direct).await, 0);
    assert!(poll!(&mut insert).is_pending());
    proxy.resume();
    insert.await.unwrap();
    assert_eq!(rows(&direct).await, 1);
}

#[tokio::test]
async fn a_stalled_connection_can_be_cut() {
    let (proxy, url, direct) = table().await;
    let client = connect(&url).await.unwrap();
    proxy.stall(Way::ToServer);
    let mut insert = Box::pin(client.batch_execute("INSERT INTO kept VALUES (1)"));
    assert!(poll!(&mut insert).is_pending());
    proxy.cut();
    insert.await.unwrap_err();
    assert_eq!(rows(&direct).await, 0);
}

#[tokio::test]
async fn a_connection_is_cut_behind_a_byte_on_its_way_to_the_server() {
    let (address, mut received) = server(0).await;
    let proxy = Proxy::before(address).await.unwrap();
    proxy.cut_after(Way::ToServer, 10);
    for expected in [10, 64] {
        send(&proxy).await;
        assert_eq!(within(received.recv()).await, Some(expected), "only the first is cut");
    }
    assert_eq!(proxy.injected(), Injected { cut_after_bytes: 1, ..Injected::default() });
}

#[tokio::test]
async fn a_connection_is_cut_behind_a_byte_on_its_way_to_the_client() {
    let (address, _received) = server(64).await;
    let proxy = Proxy::before(address).await.unwrap();
    proxy.cut_after(Way::ToClient, 64 + 10);
    for expected in [64, 10, 64] {
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(read_all(&mut client).await, expected, "only the second is cut");
    }
    assert_eq!(proxy.injected(), Injected { cut_after_bytes: 1, ..Injected::default() });
}

#[tokio::test]
async fn random_cuts_are_those_of_their_seed() {
    /// For each of several connections, the number of 64 bytes that arrive.
    async fn arrived(seed: u64, cuts: RangeInclusive<u64>) -> Vec<usize> {
        let (address, mut received) = server(0).await;
        let proxy = Proxy::before(address).await.unwrap();
        proxy.cut_randomly(seed, cuts);
        let mut arrived = Vec::new();
        for _ in 0..30 {
            send(&proxy).await;
            arrived.push(within(received.recv()).await.unwrap());
        }
        let cut = arrived.iter().filter(|bytes| **bytes < 64).count() as u64;
        assert_eq!(proxy.injected(), Injected { cut_after_bytes: cut, ..Injected::default() });
        arrived
    }
    let first = arrived(7, 5..=20).await;
    assert_eq!(first, arrived(7, 5..=20).await);
    assert_ne!(first, arrived(8, 5..=20).await);
    assert!(first.contains(&64), "connections to be cut on the way to the client send everything: {first:?}");
    assert!(first.iter().any(|bytes| *bytes < 64), "{first:?}");
    assert!(first.iter().all(|bytes| (5..=20).contains(bytes) || *bytes == 64), "{first:?}");
}

/// A proxy in front of Postgres, and a database with an empty table through it and directly.
async fn table() -> (Proxy, String, String) {
    let server = servers::postgres().await;
    let direct = server.database("bytes").await;
    connect(&direct).await.unwrap().batch_execute("CREATE TABLE kept (n int)").await.unwrap();
    let proxy = Proxy::before(server.address()).await.unwrap();
    let url = proxy.url(&direct);
    (proxy, url, direct)
}

/// A server that sends `bytes` to each of its clients and then reads to the end. It reports the number of bytes
/// from each client.
async fn server(bytes: usize) -> (SocketAddr, UnboundedReceiver<usize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, received) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let (mut from, mut to) = client.split();
                let sent = async { to.write_all(&vec![7; bytes]).await.and(to.shutdown().await) };
                let (_, read) = tokio::join!(sent, read_all(&mut from));
                let _ = heard.send(read);
            });
        }
    });
    (address, received)
}

/// Sends 64 bytes through a proxy, as far as they get.
async fn send(proxy: &Proxy) {
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let _ = client.write_all(&[7; 64]).await;
    let _ = client.shutdown().await;
    read_all(&mut client).await;
}

/// Number of bytes until the connection ends in any way.
async fn read_all(from: &mut (impl AsyncRead + Unpin)) -> usize {
    let mut read = Vec::new();
    let _ = within(from.read_to_end(&mut read)).await;
    read.len()
}

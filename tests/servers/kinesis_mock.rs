//! A private kinesis-mock is started and stopped as requested. It reports some things that ferrokinesis does not.

use std::net::TcpStream;

use eventsrc_kinesis::aws_sdk_kinesis::Client;
use eventsrc_test_servers::{self as servers, KinesisMock};
use eventsrc_tests::kinesis::config;

use super::streams::{Stream, middle};
use super::until;

#[tokio::test]
async fn shards_can_be_split_and_merged() {
    stream(servers::kinesis_mock().await, 4).await.can_be_split_and_merged().await;
}

#[tokio::test]
async fn the_delay_of_a_reader_is_reported() {
    let stream = stream(servers::kinesis_mock().await, 1).await;
    stream.put([(0, "first".to_owned())]).await;
    let iterator = stream.oldest(stream.shards().await[0].shard_id()).await;
    // The delay counts from the record that is read to the newest one.
    until(async || {
        stream.put([(0, "later".to_owned())]).await;
        stream.read(&iterator, 1).await.millis_behind_latest > Some(0)
    })
    .await;
    assert_eq!(stream.read(&iterator, 100).await.millis_behind_latest, Some(0));
}

#[tokio::test]
async fn the_end_of_a_closed_shard_names_its_children() {
    let stream = stream(servers::kinesis_mock().await, 1).await;
    let shard = stream.shards().await.remove(0);
    stream.put([(middle(&shard), "only".to_owned())]).await;
    stream.split(&shard).await;
    let end = stream.read(&stream.oldest(shard.shard_id()).await, 10).await;
    assert_eq!((end.records().len(), end.next_shard_iterator()), (1, None));
    let children = end.child_shards().iter().map(|child| child.parent_shards());
    assert_eq!(children.collect::<Vec<_>>(), [[shard.shard_id()]; 2]);
}

#[tokio::test]
async fn a_restarted_server_is_empty() {
    let mut server = KinesisMock::start().await.unwrap();
    let (endpoint, address) = (server.endpoint(), server.address());
    let client = stream(&server, 1).await.client;
    let names = async || client.list_streams().send().await.unwrap().stream_names;
    assert_eq!(names().await.len(), 1);

    server.kill().await.unwrap();
    assert!(TcpStream::connect(address).is_err(), "it is gone");
    server.restart().await.unwrap();
    assert_eq!((names().await, server.endpoint()), (Vec::new(), endpoint));

    server.stop().await.unwrap();
    assert!(TcpStream::connect(address).is_err(), "it is gone");
    server.restart().await.unwrap();
    assert_eq!(names().await, [""; 0]);

    drop(server);
    assert!(TcpStream::connect(address).is_err());
}

/// A new stream at a server.
async fn stream(server: &KinesisMock, shards: i32) -> Stream {
    let client = Client::from_conf(config(&server.endpoint()).build());
    Stream::create(client, server.stream_name("stream"), shards).await
}

//! A private ferrokinesis is started, stopped and killed as requested.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use eventsrc_kinesis::aws_sdk_kinesis::Client;
use eventsrc_kinesis::aws_sdk_kinesis::primitives::Blob;
use eventsrc_kinesis::aws_sdk_kinesis::types::{
    ConsumerStatus, PutRecordsRequestEntry, ShardIteratorType, StartingPosition, SubscribeToShardEventStream,
};
use eventsrc_test_servers::{self as servers, Ferrokinesis, FerrokinesisSettings};
use eventsrc_tests::kinesis::{client, config, stream};
use futures::future::join_all;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::streams::{Stream, middle};
use super::{until, within};

#[tokio::test]
async fn shards_can_be_split_and_merged() {
    let stream = Stream { client: client().await, name: stream(4).await };
    stream.can_be_split_and_merged().await;
}

#[tokio::test]
async fn an_iterator_expires_when_its_life_is_over() {
    let settings = FerrokinesisSettings { iterator_life: Duration::from_secs(1), ..Default::default() };
    let (_server, stream) = start(settings).await;
    let iterator = stream.oldest(stream.shards().await[0].shard_id()).await;
    let read = || stream.client.get_records().shard_iterator(&iterator).send();
    until(async || {
        read().await.is_err_and(|error| error.into_service_error().is_expired_iterator_exception())
    })
    .await;
}

#[tokio::test]
async fn a_shard_with_limits_refuses_a_part_of_a_request() {
    let (_server, stream) = start(FerrokinesisSettings { limited: true, ..Default::default() }).await;
    let record = PutRecordsRequestEntry::builder().partition_key("key").data(Blob::new("text"));
    let records = vec![record.build().unwrap(); 300];
    let put = || stream.client.put_records().stream_name(&stream.name).set_records(Some(records.clone()));
    until(async || {
        let answer = put().send().await.unwrap();
        let refused = answer.records().iter().filter_map(|record| record.error_code());
        let refused = refused.filter(|code| *code == "ProvisionedThroughputExceededException").count();
        assert_eq!(answer.failed_record_count, Some(refused.try_into().unwrap()));
        (1..300).contains(&refused)
    })
    .await;
}

#[tokio::test]
async fn several_writers_and_a_reader_do_not_block_it() {
    let (_server, stream) = start(FerrokinesisSettings::default()).await;
    let shard = stream.shards().await.remove(0);
    let write = async || {
        for _ in 0..60 {
            stream.put((0..20).map(|n| (0, n.to_string()))).await;
        }
    };
    let reading = async {
        let mut iterator = stream.oldest(shard.shard_id()).await;
        loop {
            iterator = stream.read(&iterator, 10_000).await.next_shard_iterator.unwrap();
        }
    };
    within(async {
        tokio::select! {
            _ = join_all((0..8).map(|_| write())) => (),
            () = reading => (),
        }
    })
    .await;
    let all = stream.read(&stream.oldest(shard.shard_id()).await, 10_000).await;
    assert_eq!(all.records().len(), 8 * 60 * 20);
}

#[tokio::test]
async fn a_subscriber_is_sent_what_is_put() {
    let stream = Stream { client: client().await, name: stream(1).await };
    let (client, shards) = (&stream.client, stream.shards().await);
    let summary = client.describe_stream_summary().stream_name(&stream.name).send().await.unwrap();
    let arn = summary.stream_description_summary.unwrap().stream_arn;
    client.register_stream_consumer().stream_arn(&arn).consumer_name("fan").send().await.unwrap();
    let describe = || client.describe_stream_consumer().stream_arn(&arn).consumer_name("fan").send();
    until(async || {
        let consumer = describe().await.unwrap().consumer_description.unwrap();
        consumer.consumer_status == ConsumerStatus::Active
    })
    .await;
    let consumer = describe().await.unwrap().consumer_description.unwrap();
    let start = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build().unwrap();
    let subscribe = client.subscribe_to_shard().consumer_arn(consumer.consumer_arn);
    let subscribe = subscribe.shard_id(shards[0].shard_id()).starting_position(start);
    let mut events = subscribe.send().await.unwrap().event_stream;
    stream.put([(middle(&shards[0]), "sent".to_owned())]).await;
    let sent = within(async {
        loop {
            let event = events.recv().await.unwrap().expect("it goes on");
            if let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event
                && let Some(record) = event.records.into_iter().next()
            {
                return record.data.into_inner();
            }
        }
    });
    assert_eq!(sent.await, b"sent");
}

#[tokio::test]
async fn stored_data_survives_a_kill_and_a_stop_and_is_removed_on_drop() {
    let (mut server, stream) = start(FerrokinesisSettings { kept: true, ..Default::default() }).await;
    let (endpoint, address, folder) = (server.endpoint(), server.address(), server.data_folder());
    let shard = stream.shards().await.remove(0);
    let count = async || stream.read(&stream.oldest(shard.shard_id()).await, 10).await.records().len();
    stream.put([(0, "first".to_owned())]).await;

    server.kill().await.unwrap();
    assert!(TcpStream::connect(address).is_err(), "it is gone");
    server.restart().await.unwrap();
    assert_eq!(count().await, 1);
    stream.put([(0, "second".to_owned())]).await;

    server.stop().await.unwrap();
    assert!(TcpStream::connect(address).is_err(), "it is gone");
    server.restart().await.unwrap();
    assert_eq!((count().await, server.endpoint()), (2, endpoint));

    drop(server);
    assert!(TcpStream::connect(address).is_err());
    assert!(!folder.parent().unwrap().exists(), "{} is still there", folder.display());
}

/// The process to kill is this test binary again. An environment variable makes this test do the other part.
#[tokio::test]
async fn it_ends_with_the_process_that_started_it_even_if_that_is_killed() {
    if std::env::var_os(KEEP).is_some() {
        let server = servers::kinesis().await;
        println!("\n{SERVER}{} {}", server.address(), server.data_folder().parent().unwrap().display());
        return std::future::pending().await;
    }
    let this = "servers::kinesis::it_ends_with_the_process_that_started_it_even_if_that_is_killed";
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
    assert!(TcpStream::connect(address).is_ok() && Path::new(folder).exists());
    process.kill().await.unwrap();
    until(async || TcpStream::connect(address).is_err() && !Path::new(folder).exists()).await;
}

/// A private server with a stream of one shard.
async fn start(settings: FerrokinesisSettings) -> (Ferrokinesis, Stream) {
    let server = Ferrokinesis::start_with(settings).await.unwrap();
    let client = Client::from_conf(config(&server.endpoint()).build());
    let name = server.stream_name("stream");
    let stream = Stream::create(client, name, 1).await;
    (server, stream)
}

const KEEP: &str = "EVENTSRC_KEEP_A_SERVER";

const SERVER: &str = "the server is at ";

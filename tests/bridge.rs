//! The program `eventsrc-bridge`.

use std::process::Stdio;
use std::sync::Arc;

use eventsrc_core::codec::{Codec, CodecError, Json};
use eventsrc_core::commit::vec1;
use eventsrc_core::feed::{Change, ChangeFeed};
use eventsrc_core::lease::MemoryLeases;
use eventsrc_core::storage::Put;
use eventsrc_core::{Commit, CommitId, EventStorage, Metadata, StreamName, Timestamp};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::types::{StreamSpecification, StreamViewType};
use eventsrc_dynamo::{Dynamo, DynamoStorage};
use eventsrc_kinesis::{Consumer, ConsumerSettings, Envelope, KinesisStream};
use eventsrc_test_servers as servers;
use eventsrc_tests::{HANG, dynamo, kinesis};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use uuid::Uuid;

/// Tables for one test, and the AWS SDK configuration for them.
struct Location {
    access_key: String,
    endpoint: String,
}

impl Location {
    async fn new(name: &str) -> Self {
        let server = servers::dynamo().await;
        Self { access_key: server.access_key(name), endpoint: server.endpoint() }
    }

    fn client(&self) -> Client {
        Client::from_conf(dynamo::config(&self.endpoint, &self.access_key).build())
    }

    async fn bridge(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bridge"));
        command.args(arguments).kill_on_drop(true);
        command
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.endpoint)
            .env("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", &self.endpoint)
            .env("AWS_ENDPOINT_URL_KINESIS", servers::kinesis().await.endpoint())
            .env("AWS_ACCESS_KEY_ID", &self.access_key)
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_REGION", "eu-west-1")
            // The user who runs the tests may have a configuration file.
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command
    }

    /// The error message of the program.
    async fn refused(&self, arguments: &[&str]) -> String {
        let output = self.bridge(arguments).await.output().await.unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }
}

/// JSON whose version is 3.
#[derive(Debug, Clone, Copy)]
struct Third;

impl Codec<String> for Third {
    fn version(&self) -> u32 {
        3
    }

    fn is_text(&self) -> bool {
        true
    }

    fn encode(&self, value: &String, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        Json.encode(value, bytes)
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<String, CodecError> {
        assert_eq!(version, 3, "it is carried along");
        Json.decode(1, bytes)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_copies_payloads_of_any_version_until_it_is_stopped() {
    let place = Location::new("bridge").await;
    let tables = Dynamo::new(place.client(), "events");
    tables.create_tables().await.unwrap();
    let storage = DynamoStorage::<StreamName, u64, String, _>::with_codec(&tables, Third);
    let commit = Arc::new(Commit {
        key: "user/ada".parse::<StreamName>().unwrap(),
        first: 1,
        previous: None,
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new(CommitId(Uuid::from_u128(7))),
        payloads: vec1!["Ada".to_owned(), "Lovelace".to_owned()].into(),
    });
    assert!(matches!(storage.put(Arc::clone(&commit)).await, Ok(Put::Stored)));

    let stream = servers::kinesis().await.stream_name("bridge");
    let arguments = ["--table", "events", "--stream", &stream, "--create", "2"];
    let mut bridge = place.bridge(&arguments).await.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(bridge.stdout.take().unwrap()).lines();
    let told = lines.next_line().await.unwrap().unwrap();
    let begin = format!(
        "Copying commits from table events to stream {stream}. Leases: table events-bridge. Worker: "
    );
    assert!(told.starts_with(&begin), "{told}");

    let source = KinesisStream::new(kinesis::client().await, &stream);
    let envelope = Envelope::<StreamName, u64, String, _>::with_codec(Third);
    let feed = Consumer::start(source, MemoryLeases::default(), envelope, ConsumerSettings::default()).await;
    let mut feed = feed.unwrap();
    let delivery = timeout(HANG, feed.next()).await.expect("it comes").unwrap().unwrap();
    let [Change::Commit(carried)] = &delivery.changes[..] else {
        panic!("there is one commit: {delivery:?}")
    };
    assert_eq!(carried, &commit);

    let id = bridge.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let mut told = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        told.push(line);
    }
    assert!(bridge.wait().await.unwrap().success());
    assert_eq!(told, ["Draining in-flight records. Press Ctrl-C again to stop immediately.", "Stopped."]);
}

#[tokio::test]
async fn wrong_settings_are_reported_at_the_start() {
    let place = Location::new("bridgerefused").await;
    let stream = kinesis::stream(1).await;
    let err = place.refused(&["--table", "events", "--stream", &stream]).await;
    assert_eq!(err, "error: the table events has no stream: enable it with the view type NEW_IMAGE\n");

    Dynamo::new(place.client(), "events").create_tables().await.unwrap();
    let err = place.refused(&["--table", "events", "--stream", "nowhere"]).await;
    assert!(
        err.starts_with("error: cannot describe the stream nowhere: ResourceNotFoundException\n"),
        "{err}"
    );

    let keys = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::KeysOnly);
    let off = StreamSpecification::builder().stream_enabled(false).build().unwrap();
    for specification in [off, keys.build().unwrap()] {
        let update = place.client().update_table().table_name("events").stream_specification(specification);
        update.send().await.unwrap();
    }
    let err = place.refused(&["--table", "events", "--stream", &stream]).await;
    assert!(err.contains("has no new images: enable it with the view type NEW_IMAGE"), "{err}");

    let err = place.refused(&["--table", "events", "--stream", &stream, "--create", "0"]).await;
    assert!(err.contains("invalid value '0'"), "{err}");
}

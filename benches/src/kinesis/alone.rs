//! The servers on the path of events, each measured alone with raw calls.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::StreamName;
use eventsrc_kinesis::Envelope;
use eventsrc_kinesis::aws_sdk_kinesis::primitives::Blob;
use eventsrc_kinesis::aws_sdk_kinesis::types::PutRecordsRequestEntry;
use eventsrc_kinesis::dynamodb::aws_sdk_dynamodbstreams::types::ShardIteratorType;
use eventsrc_kinesis::dynamodb::aws_sdk_dynamodbstreams::{Client as Streams, config};
use eventsrc_kinesis::record::partition_key;
use futures::future::try_join_all;

use super::by_hand::Shard;
use super::{Stream, change};
use crate::dynamo::{Database, EVENTS, Transfer, command, key};
use crate::measure::paired;
use crate::postgres::totals;

/// Number of concurrent tasks that put into the table, each to its own stream.
pub(super) const WRITERS: u64 = 16;

/// Number of records of a call, and of deposits of a transaction.
const BATCH: u64 = 500;

/// Puts `events` items into a streamed table.
pub(super) async fn put_items(database: &Database, events: u64) -> Result<Duration> {
    database.tables().await?;
    let client = database.client();
    let puts = (0..WRITERS).map(|writer| {
        let client = client.clone();
        tokio::spawn(async move {
            for number in 1..=events / WRITERS {
                command::put(&client, key(writer).as_str(), number, true).await?;
            }
            anyhow::Ok(())
        })
    });
    let puts: Vec<_> = puts.collect();
    let (time, done) = paired::time(try_join_all(puts)).await;
    done?.into_iter().collect::<Result<()>>()?;
    Ok(time)
}

/// Reads the stream of that table.
pub(super) async fn get_changes(database: &Database, events: u64) -> Result<Duration> {
    let client = streams(database);
    let listed = client.list_streams().table_name(EVENTS).send().await?;
    let stream = listed.streams.unwrap_or_default().pop().context("the table has no stream")?;
    let arn = stream.stream_arn.context("the stream has no ARN")?;
    let described = client.describe_stream().stream_arn(&arn).send().await?;
    let description = described.stream_description.context("the response has no description")?;
    let shard = description.shards.unwrap_or_default().pop().context("the stream has no shard")?;
    let begin = client.get_shard_iterator().stream_arn(arn).set_shard_id(shard.shard_id);
    let begun = begin.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
    let mut iterator = begun.shard_iterator.context("the response has no iterator")?;
    let read = async {
        let mut read = 0;
        while read < events {
            let answer = client.get_records().shard_iterator(iterator).limit(1000).send().await?;
            read += answer.records().len() as u64;
            iterator = answer.next_shard_iterator.context("the shard has ended")?;
        }
        ensure!(read == events, "{events} items were put, but {read} changes were read");
        Ok(())
    };
    let (time, done) = paired::time(read).await;
    done.map(|()| time)
}

/// Puts `events` records to a stream.
pub(super) async fn put_records(stream: &Stream, events: u64) -> Result<Duration> {
    let envelope = Envelope::<StreamName, u64, Transfer>::new();
    let entry = |number| {
        let data = Blob::new(envelope.encode(&change(number)?)?);
        let partition = partition_key(&key(number)).into_owned();
        anyhow::Ok(PutRecordsRequestEntry::builder().partition_key(partition).data(data).build()?)
    };
    let entries = (1..=events).map(entry).collect::<Result<Vec<_>>>()?;
    let put = async {
        for call in entries.chunks(BATCH as usize) {
            let call = stream.client.put_records().stream_name(&stream.name).set_records(Some(call.to_vec()));
            ensure!(call.send().await?.failed_record_count.unwrap_or(0) == 0, "the server rejected records");
        }
        Ok(())
    };
    let (time, done) = paired::time(put).await;
    done.map(|()| time)
}

/// Reads that stream.
pub(super) async fn get_records(stream: &Stream, events: u64) -> Result<Duration> {
    let mut shard = Shard::of(stream).await?;
    let read = async {
        let mut read = 0;
        while read < events {
            read += shard.next().await?.len() as u64;
        }
        ensure!(read == events, "{events} records were put, but {read} were read");
        Ok(())
    };
    let (time, done) = paired::time(read).await;
    done.map(|()| time)
}

/// Adds up `events` deposits in transactions of [`BATCH`].
pub(super) async fn add_up(client: tokio_postgres::Client, events: u64) -> Result<Duration> {
    let mut by_hand = totals::ByHand::create(client).await?;
    let deposits: Vec<_> = (0..events).map(|number| Arc::new(totals::deposit(number))).collect();
    let apply = async {
        for page in deposits.chunks(BATCH as usize) {
            by_hand.apply_all(page).await?;
        }
        Ok(())
    };
    let (time, done) = paired::time(apply).await;
    done.map(|()| time)
}

/// Returns a client of DynamoDB Streams.
pub(super) fn streams(database: &Database) -> Streams {
    let credentials = config::Credentials::new(&database.access_key, "secret", None, None, "benches");
    let config = config::Config::builder()
        .behavior_version(config::BehaviorVersion::latest())
        .region(config::Region::new("eu-west-1"))
        .endpoint_url(&database.endpoint)
        .credentials_provider(credentials)
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Streams::from_conf(config.build())
}

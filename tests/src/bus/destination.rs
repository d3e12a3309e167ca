//! The records that DynamoDB itself would put onto a Kinesis stream, made from the records of the table's own
//! stream.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context as _, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eventsrc_kinesis::dynamodb::aws_sdk_dynamodbstreams::Client;
use eventsrc_kinesis::dynamodb::aws_sdk_dynamodbstreams::types::{AttributeValue, Record, ShardIteratorType};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Bus, TABLE};

/// A record of DynamoDB's Kinesis destination.
#[derive(Debug, Clone)]
pub(super) struct DestinationRecord {
    /// The stream of events to which it belongs.
    pub(super) stream: String,
    /// Number of earlier records of that stream.
    pub(super) number: usize,
    /// The item's key in DynamoDB's JSON.
    key: String,
    pub(super) data: String,
}

/// Distribution of the records over shards. AWS does not document the partition keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionKeys {
    /// All records of one stream of events have one partition key.
    OfStreams,
    /// All records of one item have one partition key: those of one stream are spread over all shards.
    OfItems,
}

impl DestinationRecord {
    /// A partition key in the format of AWS.
    pub(super) fn partition_key(&self, keys: PartitionKeys) -> String {
        let mut hasher = DefaultHasher::new();
        match keys {
            PartitionKeys::OfStreams => self.stream.hash(&mut hasher),
            PartitionKeys::OfItems => self.key.hash(&mut hasher),
        }
        let hash = hasher.finish();
        format!("{hash:016X}{:016X}", hash.rotate_left(32))
    }
}

/// The changes of the table, in order.
pub(super) struct Changes {
    client: Client,
    iterator: String,
    count: u128,
    numbers: HashMap<String, usize>,
}

impl Changes {
    /// All changes from the first one on.
    pub(super) async fn of(bus: &Bus) -> Result<Self> {
        let client = bus.streams_client();
        let streams = client.list_streams().table_name(TABLE).send().await?;
        let arn = streams.streams().first().and_then(|stream| stream.stream_arn()).context("a stream")?;
        let described = client.describe_stream().stream_arn(arn).send().await?;
        let shards = described.stream_description.context("a description")?.shards.unwrap_or_default();
        let [shard] = &shards[..] else { bail!("the local server has one shard a stream") };
        let iterator =
            client.get_shard_iterator().stream_arn(arn).shard_id(shard.shard_id().unwrap_or_default());
        let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
        let iterator = iterator.shard_iterator.context("an iterator")?;
        Ok(Self { client, iterator, count: 0, numbers: HashMap::new() })
    }

    /// The next `count` changes.
    pub(super) async fn next(&mut self, count: usize) -> Result<Vec<DestinationRecord>> {
        let mut next = Vec::new();
        while next.len() < count {
            let limit = i32::try_from((count - next.len()).min(1000))?;
            let read = self.client.get_records().shard_iterator(&self.iterator).limit(limit).send().await?;
            for record in read.records() {
                next.push(self.destination_record(record)?);
            }
            self.iterator = read.next_shard_iterator.context("the shard is open")?;
        }
        Ok(next)
    }

    fn destination_record(&mut self, record: &Record) -> Result<DestinationRecord> {
        self.count += 1;
        let change = record.dynamodb.as_ref().context("a change")?;
        let time = change.approximate_creation_date_time.context("a time")?;
        let (keys, image) = (change.keys.as_ref(), change.new_image.as_ref());
        let keys = item(keys.context("a key")?)?;
        let data = json!({
            "awsRegion": "eu-west-1",
            "eventID": Uuid::from_u128(self.count).to_string(),
            "eventName": record.event_name.as_ref().context("the event name")?.as_str(),
            "userIdentity": null,
            "recordFormat": "application/json",
            "tableName": TABLE,
            "dynamodb": {
                "ApproximateCreationDateTime": time.as_nanos() / 1000,
                "ApproximateCreationDateTimePrecision": "MICROSECOND",
                "Keys": keys,
                "NewImage": item(image.context("a new image")?)?,
                "SizeBytes": change.size_bytes.unwrap_or_default(),
            },
            "eventSource": "aws:dynamodb",
        });
        let stream = keys["k"]["S"].as_str().context("the name of a stream")?.to_owned();
        let count = self.numbers.entry(stream.clone()).or_default();
        *count += 1;
        Ok(DestinationRecord { stream, number: *count - 1, key: keys.to_string(), data: data.to_string() })
    }
}

/// An item in DynamoDB's JSON.
fn item(item: &HashMap<String, AttributeValue>) -> Result<Value> {
    let value = |value: &AttributeValue| {
        Ok(match value {
            AttributeValue::S(text) => json!({ "S": text }),
            AttributeValue::N(digits) => json!({ "N": digits }),
            AttributeValue::B(bytes) => json!({ "B": STANDARD.encode(bytes) }),
            other => bail!("no item of events has {other:?}"),
        })
    };
    item.iter().map(|(name, given)| Ok((name.clone(), value(given)?))).collect()
}

//! Kinesis for eventsrc: what is stored becomes rows of views, through DynamoDB Streams and Kinesis Data Streams.

mod consumer;
mod dynamo_stream;
mod finding;
mod forward;
mod kinesis;
mod lease_table;
mod outbox;
mod polling;
mod publisher;
mod record;
mod shard;
mod source;

pub use aws_sdk_dynamodbstreams;
pub use aws_sdk_kinesis;
pub use consumer::{
    Consumer, ConsumerHandle, ConsumerSettings, ConsumerStatus, Initial, ShardStatus, Surroundings,
};
pub use dynamo_stream::DynamoStream;
pub use finding::Finding;
pub use forward::forward;
pub use kinesis::KinesisStream;
pub use lease_table::LeaseTable;
pub use outbox::Outbox;
pub use polling::PollingSettings;
pub use publisher::{Publisher, PublisherSettings};
pub use record::{
    Aggregate, Aggregated, BadPart, Decoded, Decoder, DestinationRecords, Envelope, NotAggregated, Part,
    Record, StreamRecords, partition_key,
};
pub use shard::{Shard, compare_sequence_numbers};
pub use source::{Batch, Numbered, ReadError, ShardSource, Start};

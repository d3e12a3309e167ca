#![doc = include_str!("../README.md")]

mod anomaly;
mod consumer;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
mod fan_out;
mod forward;
mod kinesis;
mod named_stream;
mod outbox;
mod polling;
pub mod publisher;
pub mod record;
mod shard;
pub mod source;

pub use aws_sdk_kinesis;

pub use anomaly::Anomaly;
pub use consumer::{
    Consumer, ConsumerEnvironment, ConsumerHandle, ConsumerSettings, ConsumerStatus, InitialPosition,
    ShardStatus,
};
pub use fan_out::{FanOutSettings, FanOutStream};
pub use forward::forward;
pub use kinesis::KinesisStream;
pub use outbox::Outbox;
pub use polling::PollingSettings;
pub use publisher::{Publisher, PublisherSettings};
pub use record::Envelope;

//! Kinesis for eventsrc: what is stored becomes rows of views, through DynamoDB Streams and Kinesis Data Streams.
//!
//! Commands are saved to DynamoDB, a [`Bridge`] carries the table's [`DynamoStream`] onto a stream of Kinesis, and each service that
//! is interested follows that stream with a [`Consumer`], which is a change feed for its synchronizers. A service of one
//! process may follow the table's stream itself.
//!
//! ```no_run
//! use eventsrc_core::{StreamName, Synchronizer};
//! use eventsrc_core::synchronizer::SynchronizerSettings;
//! use eventsrc_kinesis::{Consumer, ConsumerSettings, Envelope, KinesisStream};
//! # async fn follow<V, St>(storage: St, view: V, leases: eventsrc_core::lease::MemoryLeases) -> Result<(), Box<dyn std::error::Error>>
//! # where
//! #     V: eventsrc_core::view::ViewStore<Key = StreamName, Sequence = u64, Payload = String>,
//! #     St: eventsrc_core::storage::ScanStorage<Key = StreamName, Sequence = u64, Payload = String>,
//! # {
//!
//! let config = aws_config::load_from_env().await;
//! let stream = KinesisStream::new(aws_sdk_kinesis::Client::new(&config), "names");
//! stream.check().await?;
//! // `leases` are what the processes of this service share: `PostgresLeases`, or a `LeaseTable` of DynamoDB.
//! let feed = Consumer::start(stream, leases, Envelope::<StreamName, u64, String>::new(), ConsumerSettings::default()).await?;
//! let handle = feed.handle();
//! tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| handle.drain()) });
//! Synchronizer::start(storage, view, SynchronizerSettings::default()).follow(feed).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What can be relied on
//!
//! Nothing of what a bus says has to be right. A view applies a commit right after the one before it, in one transaction with its
//! position, and reads from the storage what the bus leaves out. So a record may come twice, late, in another order, or not at
//! all; two workers may read one shard; a checkpoint may be lost. That costs reads. What the bus says of no stream at all, because it was lost at the
//! stream's end, is found by the synchronizer's [sweeps](eventsrc_core::synchronizer::SynchronizerSettings::sweep_every).
//!
//! | what happens | what is done |
//! |---|---|
//! | a worker dies | others take its shards over after [`expiry`](ConsumerSettings::expiry), and read on after the last checkpoint |
//! | a worker is paused, and wakes up | its leases are refused, and its view finds every commit applied |
//! | a shard is split or merged | it is read to its end, and then what was made of it |
//! | an iterator is too old | another one goes on after the last record read |
//! | a subscription breaks off, or falls silent | another one goes on where it was |
//! | the service throttles or fails | it is asked again with back-off; after a minute another worker tries |
//! | nothing is said of a shard at all | it is read anew, and then by another worker |
//! | a record cannot be read | a [`Anomaly`], and its stream is read from the storage |
//! | a stored commit is changed or removed | a [`Anomaly`]; it is not applied |
//! | what comes after the checkpoint is not there any more | a [`Anomaly`], and all heads are compared with positions |
//!
//! # Ways to read
//!
//! A [`KinesisStream`] is asked again and again, five times a second at most, which all readers of a shard share; what is put is
//! read within about a quarter of a second. To a group that is registered for it, a [`FanOutStream`] sends what comes at once, at 2 MB a second
//! of its own, and at its own price. Both read records as they were put by whomever; a [`DynamoStream`] reads those of a table.
//!
//! # Records
//!
//! [`Envelope`] are our own: JSON, with one commit each, and read from plain and from aggregated records alike. [`DestinationRecords`] are
//! those that DynamoDB itself puts onto a stream of Kinesis, [`StreamRecords`] those of its own stream. Of DynamoDB's own way to Kinesis its
//! documentation says that records come in another order, several times, and that some do not come.

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

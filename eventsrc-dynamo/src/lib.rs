//! DynamoDB for eventsrc: events and snapshots.
//!
//! A commit is one item and one conditional `PutItem`: whatever its number of events, it costs one request, and one write unit
//! for each KB. What is in the way of a commit comes back with the refusal, so that the next try needs no read, and a commit that
//! meets itself, after a reply was lost, is recognised.
//!
//! ```
//! use eventsrc_core::{Operation, SaveApi, StreamName};
//! use eventsrc_dynamo::{Dynamo, DynamoStorage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = eventsrc_test_servers::dynamo().await;
//! # let config = aws_config::from_env().endpoint_url(server.endpoint()).region("eu-west-1")
//! #     .test_credentials().load().await;
//! # /*
//! let config = aws_config::load_from_env().await;
//! # */
//! let dynamo = Dynamo::new(aws_sdk_dynamodb::Client::new(&config), "names");
//! dynamo.create_tables().await?;
//! let storage: DynamoStorage<StreamName, u64, String> = DynamoStorage::new(&dynamo);
//!
//! let ada = "user/1".parse()?;
//! let saves = SaveApi::new(storage);
//! let before = dynamo.usage();
//! saves.save(&ada, Operation::if_absent("Ada Lovelace".to_owned())).await?;
//! // A cold command reads where the stream ends, and writes.
//! let used = dynamo.usage() - before;
//! assert_eq!((used.requests, used.write_units), (2, 1.0));
//! # Ok(())
//! # }
//! ```
//!
//! # What it costs
//!
//! | call | requests | units |
//! |---|---|---|
//! | a save that remembers its stream, or has a token | 1 | a write unit a KB of the whole commit |
//! | a save that does not | 2 | and a read unit for 4 KB of the last commit |
//! | a conflict | 1 | a write unit a KB, and no read |
//! | a load | 1 a MB | a read unit for 4 KB |
//! | a load with a snapshot | 2 | those of the snapshot, and of what came after it |
//! | a scan, and [`heads`](eventsrc_core::storage::ScanStorage::heads) of short streams | 1 a MB | a read unit for 4 KB of the table |
//!
//! Reads take half of that without [consistency](Settings::consistent_reads). A synchronizer's sweep reads heads: let it come seldom
//! on a large table ([`sweep_every`](eventsrc_core::synchronizer::SynchronizerSettings::sweep_every)). [`Dynamo::usage`] and the metrics
//! `eventsrc_dynamo_requests_total`, `eventsrc_dynamo_half_read_units_total` and `eventsrc_dynamo_half_write_units_total` (in
//! halves, the least that is charged) tell what was used.
//!
//! # Limits
//!
//! The name of a stream, `category/id`, has at most 2,048 bytes. A commit takes at most 400 KB, as an item does, after it was
//! [compressed](Settings::compress_from): a larger one is refused before anything is sent. It is never split, because its events
//! are stored together or not at all.
//!
//! The number of a commit's first event is its key, so a writer that missed a commit collides with it. What the service cannot
//! see without reading is not checked: a commit that begins inside another or leaves a hole. No writer of `eventsrc-core` puts
//! one; [`Token::vouched`](eventsrc_core::Token::vouched) says what is asked of who brings sequences from elsewhere.
//!
//! Writers of one stream belong in one region, or in a global table with strong consistency: in one that replicates later, two
//! regions may acknowledge different commits under one key, of which the service keeps one.

mod append;
mod chunk;
mod commits;
mod cost;
mod dynamo;
mod failure;
mod item;
mod item_decoder;
mod layout;
mod pace;
mod payloads;
mod reading;
mod scan;
mod settings;
mod snapshot_layout;
mod snapshots;
mod storage;
mod table;
mod usage;

pub use aws_sdk_dynamodb;
pub use dynamo::Dynamo;
pub use item_decoder::ItemDecoder;
pub use scan::{InvalidScanCursor, ScanCursor};
pub use settings::Settings;
pub use snapshots::DynamoSnapshots;
pub use storage::DynamoStorage;
pub use usage::Usage;

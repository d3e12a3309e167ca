#![doc = include_str!("../README.md")]

mod append;
mod chunk;
mod commits;
mod cost;
mod dynamo;
mod failure;
mod item;
mod item_decoder;
mod layout;
mod payloads;
mod predecessor;
mod rate_limiter;
mod reading;
mod request;
mod scan;
mod seen;
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

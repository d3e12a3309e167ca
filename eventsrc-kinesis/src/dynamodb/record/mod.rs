//! Records that DynamoDB itself makes of a table's changes.

mod attribute;
mod destination_records;
mod image;
mod native;
mod stream_records;

pub use destination_records::DestinationRecords;
pub use stream_records::StreamRecords;

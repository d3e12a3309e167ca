//! Decoders of the records in which DynamoDB publishes the changes of a table.

mod attribute;
mod destination_records;
mod image;
mod native;
mod stream_records;

pub use destination_records::DestinationRecords;
pub use stream_records::StreamRecords;

//! Kinesis for eventsrc: what is stored becomes rows of views, through DynamoDB Streams and Kinesis Data Streams.

mod finding;
mod lease_table;
mod record;

pub use aws_sdk_dynamodbstreams;
pub use aws_sdk_kinesis;
pub use finding::Finding;
pub use record::{Decoded, Decoder, Record};

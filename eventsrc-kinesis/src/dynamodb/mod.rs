//! DynamoDB as a bus and as a lease store: streams of tables, the bridge to Kinesis, and the lease table.

mod bridge;
mod lease_table;
mod record;
mod stream;

pub use aws_sdk_dynamodbstreams;

pub use bridge::Bridge;
pub use lease_table::LeaseTable;
pub use record::{DestinationRecords, StreamRecords};
pub use stream::DynamoStream;

//! Commits that Kinesis and DynamoDB Streams carry to views.

mod fan_out;
mod kpl;
mod outbox;
mod path;
mod publishing;
mod silent_shards;
mod truncated_replies;

//! What is stored, carried by Kinesis and DynamoDB Streams to views.

mod kpl;
mod outbox;
mod path;

//! What is stored, carried by Kinesis and DynamoDB Streams to views.

mod cut_off;
mod kpl;
mod outbox;
mod path;
mod publishing;

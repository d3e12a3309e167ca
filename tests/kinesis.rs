//! What is stored, carried by Kinesis and DynamoDB Streams to views.

mod cut_off;
mod fan_out;
mod kpl;
mod outbox;
mod path;
mod publishing;
mod silence;

//! Carries what eventsrc stores in a table of DynamoDB onto a stream of Kinesis; `--help` tells how.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    eventsrc_bridge::run().await
}

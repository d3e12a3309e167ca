//! Carries what eventsrc stores in a table of DynamoDB onto a stream of Kinesis; `--help` tells how.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let (out, err) = (&mut std::io::stdout(), &mut std::io::stderr());
    eventsrc_bridge::run(std::env::args_os(), out, err).await
}

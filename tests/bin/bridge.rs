//! The program `eventsrc-bridge` as one of this package, so that tests can run it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    eventsrc_bridge::run().await
}

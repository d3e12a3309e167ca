//! The program `eventsrc-bridge`; `--help` describes its options.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    eventsrc_bridge::run().await
}

//! The program `eventsrc-bridge` as one of this package, so that tests can run it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let (out, err) = (&mut std::io::stdout(), &mut std::io::stderr());
    eventsrc_bridge::run(std::env::args_os(), out, err).await
}

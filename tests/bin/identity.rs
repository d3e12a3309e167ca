//! The example `identity` as a program of this package, so that tests can run and kill it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let (out, err) = (&mut std::io::stdout(), &mut std::io::stderr());
    eventsrc_examples::identity::run(std::env::args_os(), out, err).await
}

//! Users, groups and memberships, event-sourced: the first program to run and to read.
//!
//! Without arguments it runs a scenario on a database and keeps the data for the next run. With `--serve` it is a service
//! over HTTP; `README.md` in this folder shows its requests. The code is in `examples/src/identity`; start with
//! `service.rs`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let (out, err) = (&mut std::io::stdout(), &mut std::io::stderr());
    eventsrc_examples::identity::run(std::env::args_os(), out, err).await
}

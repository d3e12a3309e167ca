//! Users, groups and memberships, event-sourced: the first program to run, and to read.
//!
//! Without arguments it plays a story on a database and leaves it for the next run; with `--serve` it is a service over HTTP,
//! as `README.md` beside this file shows. The service is in `examples/src/identity`; begin with `service.rs`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let (out, err) = (&mut std::io::stdout(), &mut std::io::stderr());
    eventsrc_examples::identity::run(std::env::args_os(), out, err).await
}

//! The whole way of an event through AWS, on servers of this machine, told as a story; `./demo-aws` builds and runs it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    eventsrc_examples::demo_aws::run(&mut std::io::stdout()).await
}

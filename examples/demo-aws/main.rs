//! The whole path of an event through AWS, on local servers. `./demo-aws` builds and runs it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    eventsrc_examples::demo_aws::run(&mut std::io::stdout()).await
}

//! The example `demo-aws` as a program of this package, so that tests can run it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    eventsrc_examples::demo_aws::run(&mut std::io::stdout()).await
}

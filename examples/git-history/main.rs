//! A git repository as events: `cargo run --example git-history -- REPO`, and `--help` for more.

use std::process::ExitCode;

fn main() -> ExitCode {
    eventsrc_examples::git_history::main()
}

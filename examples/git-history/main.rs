//! A git repository as events. Run `cargo run --example git-history -- REPO`, or with `--help` for all commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    eventsrc_examples::git_history::main()
}

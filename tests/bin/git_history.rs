//! The example `git-history` as a program of this package, so that tests can run and kill it.

use std::process::ExitCode;

fn main() -> ExitCode {
    eventsrc_examples::git_history::main()
}

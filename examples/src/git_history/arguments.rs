//! The command line of `git-history`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, value_parser};

/// Imports the history of a git repository as events, shows its files at any point of it, and counts their changes.
///
/// Every command first imports the commits that are new since the last one. An import that is interrupted or killed
/// continues where it stopped.
#[derive(Debug, Parser)]
#[command(name = "git-history")]
pub(super) struct Arguments {
    /// The top of a work tree, or a bare repository.
    #[arg(value_name = "REPO")]
    pub(super) repository: PathBuf,
    /// Database file [default: one for each repository, in target/git-history].
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) db: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Only import new commits.
    Import,
    /// Print the files as `git ls-tree -r` does.
    Tree {
        /// A commit in any notation of git, or a time: `2024-02-29T12:00:00Z`, or in UTC `2024-02-29 12:00` or
        /// `2024-02-29`. A time selects the last commit, in the order of the history, that was not made later
        /// [default: the head].
        #[arg(value_name = POINT)]
        point: Option<OsString>,
    },
    /// Print every change of one file, oldest first.
    Log {
        /// Path from the top of the repository, unquoted or quoted as git prints it.
        file: OsString,
    },
    /// Print how often each file was changed, most often first.
    ///
    /// Columns: number of first-parent commits that changed the file; `deleted` if the last of them deleted it; that
    /// commit; its author time; the path. The counts come from a view, which every call brings up to date.
    Churn(Selection),
    /// Print the number of changes and files of each author, most changes first.
    ///
    /// Columns: number of changes, each of one file; number of files; author times of the first and the last change; the
    /// author. The counts come from a view, which every call brings up to date.
    Authors(Selection),
    /// Rebuild the counts of `churn` and `authors` from all events.
    ///
    /// Builds the next version of the view while the current one stays in use, compares both, and lets the new one take
    /// over. The old version is kept until the next rebuild. A rebuild that is interrupted or killed continues where it
    /// stopped when it is run again.
    Rebuild {
        /// Build the counts as of a commit or a time (see `tree`) in a separate file, and leave the current version
        /// unchanged. `churn --at` and `authors --at` read that file.
        #[arg(long, value_name = POINT)]
        up_to: Option<OsString>,
        /// Build nothing; remove the versions that no longer serve.
        #[arg(long, conflicts_with = "up_to")]
        retire_old: bool,
    },
}

/// Selection of the rows to print.
#[derive(Debug, Clone, Args)]
pub(super) struct Selection {
    /// Maximum number of rows.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub(super) top: Option<u32>,
    /// Counts as of a commit or a time (see `tree`). They are built in a separate file next to the database.
    #[arg(long, value_name = POINT)]
    pub(super) at: Option<OsString>,
}

const POINT: &str = "COMMIT | TIME";

impl Command {
    /// Message for a command that was interrupted.
    pub(super) fn interrupted(command: Option<&Self>) -> &'static str {
        match command {
            Some(Self::Churn(_) | Self::Authors(_) | Self::Rebuild { .. }) => {
                "interrupted: the counts so far are kept; run the command again to continue"
            }
            _ => "interrupted",
        }
    }
}

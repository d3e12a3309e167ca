//! What `git-history` is told on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, value_parser};

/// Imports the history of a git repository as events, shows its files at any point of it, and counts their changes.
///
/// Every command imports first what is new since the last one. An import that is interrupted, or killed, goes on from
/// where it was.
#[derive(Debug, Parser)]
#[command(name = "git-history")]
pub(super) struct Arguments {
    /// The top of a work tree, or a bare repository.
    #[arg(value_name = "REPO")]
    pub(super) repository: PathBuf,
    /// The database [default: one for each repository, in target/git-history].
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) db: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Import what is new, and no more.
    Import,
    /// Print the files as `git ls-tree -r` does.
    Tree {
        /// A commit, in any way that git understands, or a time: `2024-02-29T12:00:00Z`, or in UTC `2024-02-29 12:00`
        /// or `2024-02-29`. A time means the last commit, in the order of the history, not made later
        /// [default: the head].
        #[arg(value_name = POINT)]
        point: Option<OsString>,
    },
    /// Print every change of one file, oldest first.
    Log {
        /// The path from the top of the repository, as it is or as git prints it.
        file: OsString,
    },
    /// Print how often each file was changed, most often first.
    ///
    /// The columns are: how many first-parent commits changed the file, `deleted` if the last of them took it away, that
    /// commit, when its author made it, and the path. The counts come from a view, which every call brings up to date.
    Churn(Which),
    /// Print who changed files, and how many, most changes first.
    ///
    /// The columns are: how many changes of a file the author made, how many files that were, when the first and the last
    /// change were made, and the author. The counts come from a view, which every call brings up to date.
    Authors(Which),
    /// Build the counts of `churn` and `authors` anew from all events, and use them from then on.
    ///
    /// They are built beside those that are in use, as the next version of the view; then both are compared, and the new
    /// one takes over. The old one is kept until the next rebuild. A rebuild that is interrupted, or killed, goes on from
    /// where it was when it is run again.
    Rebuild {
        /// Build them in a file of their own as they were at a commit or a time, as for `tree`, and leave those that are
        /// in use alone. `churn --at` and `authors --at` read that file.
        #[arg(long, value_name = POINT)]
        up_to: Option<OsString>,
        /// Build nothing, and remove the versions that are not in use any more.
        #[arg(long, conflicts_with = "up_to")]
        retire_old: bool,
    },
}

/// Which rows to print.
#[derive(Debug, Clone, Args)]
pub(super) struct Which {
    /// No more than the first so many.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub(super) top: Option<u32>,
    /// As it was at a commit or a time, as for `tree`. The counts are built in a file of their own, beside the database.
    #[arg(long, value_name = POINT)]
    pub(super) at: Option<OsString>,
}

const POINT: &str = "COMMIT | TIME";

impl Command {
    /// What to say of an answer that was interrupted.
    pub(super) fn interrupted(command: Option<&Self>) -> &'static str {
        match command {
            Some(Self::Churn(_) | Self::Authors(_) | Self::Rebuild { .. }) => {
                "interrupted: what was counted is kept; run it again to go on from there"
            }
            _ => "interrupted",
        }
    }
}

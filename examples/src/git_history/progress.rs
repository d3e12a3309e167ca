//! Showing how far an import is: a bar where a person looks on, a line now and then elsewhere.

use std::io::{IsTerminal, stderr};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::import::Progress;

/// Shows the progress of an import on standard error.
#[derive(Debug)]
pub(super) enum Display {
    Bar(ProgressBar),
    Lines { next: Option<u64> },
}

/// So many lines are written where there is no terminal.
const LINES: u64 = 10;

impl Display {
    pub(super) fn new() -> Self {
        if !stderr().is_terminal() {
            return Self::Lines { next: None };
        }
        let template = "{bar:40} {human_pos} of {human_len} commits, {msg}, {elapsed}, {eta} to go";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self::Bar(ProgressBar::no_length().with_style(style))
    }

    pub(super) fn show(&mut self, progress: Progress) {
        let Progress { commits, total, changes } = progress;
        match self {
            Self::Bar(bar) => {
                if bar.length().is_none() {
                    bar.set_length(total);
                    bar.set_position(commits);
                    bar.reset_eta();
                }
                bar.set_position(commits);
                bar.set_message(format!("{} changes", HumanCount(changes)));
            }
            Self::Lines { next: None } => eprintln!("{} commits to import", HumanCount(total - commits)),
            Self::Lines { next: Some(next) } if commits >= *next => {
                let (done, all) = (HumanCount(commits), HumanCount(total));
                eprintln!("{done} of {all} commits, {} changes", HumanCount(changes));
            }
            Self::Lines { .. } => return,
        }
        if let Self::Lines { next } = self {
            *next = Some(commits + (total / LINES).max(1));
        }
    }

    pub(super) fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

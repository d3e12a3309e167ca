//! Progress display: a bar on a terminal, a few lines elsewhere.

use std::fmt;
use std::io::{IsTerminal, stderr};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// Formats a number with its unit: "1 commit", "1,000 commits".
pub(super) fn count(number: u64, unit: &str) -> String {
    format!("{} {unit}{}", HumanCount(number), if number == 1 { "" } else { "s" })
}

/// Shows progress on standard error until it is dropped.
#[derive(Debug)]
pub(super) struct Display {
    /// Name of one counted item.
    unit: &'static str,
    /// Verb for what is done with the items.
    action: &'static str,
    /// Errors that were reported since the last success.
    reported_errors: Vec<String>,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    /// Count at which the next line is printed.
    Lines {
        next: Option<u64>,
    },
}

/// Number of lines that are printed if standard error is not a terminal.
const LINES: u64 = 10;

impl Display {
    /// Creates a display for, say, "300 commits to import", with the unit `commit` and the action `import`.
    pub(super) fn new(unit: &'static str, action: &'static str) -> Self {
        let shown = if stderr().is_terminal() {
            let template = format!(
                "{{bar:40}} {{human_pos}} of {{human_len}} {unit}s{{msg}}, {{elapsed}}, {{eta}} to go"
            );
            let style =
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
            Shown::Bar(ProgressBar::no_length().with_style(style))
        } else {
            Shown::Lines { next: None }
        };
        Self { unit, action, reported_errors: Vec::new(), shown }
    }

    /// Reports each error that is being retried once, and its end.
    pub(super) fn set_last_error(&mut self, last_error: Option<String>) {
        let line = match last_error {
            Some(error) if self.reported_errors.contains(&error) => return,
            Some(error) => {
                let line = format!("Retrying after an error: {error}");
                self.reported_errors.push(error);
                line
            }
            None if self.reported_errors.is_empty() => return,
            None => {
                self.reported_errors.clear();
                "Resumed.".into()
            }
        };
        match &self.shown {
            Shown::Bar(bar) => bar.println(line),
            Shown::Lines { .. } => eprintln!("{line}"),
        }
    }

    /// Shows that `done` of `total` items are done, followed by `suffix`.
    pub(super) fn show(&mut self, done: u64, total: u64, suffix: impl fmt::Display) {
        let unit = self.unit;
        match &mut self.shown {
            Shown::Bar(bar) => {
                if bar.length().is_none() {
                    bar.set_length(total);
                    bar.set_position(done);
                    bar.reset_eta();
                }
                bar.set_position(done);
                bar.set_message(suffix.to_string());
            }
            Shown::Lines { next } => {
                match next {
                    None if done < total => {
                        eprintln!("{} to {}", count(total - done, unit), self.action);
                    }
                    Some(next) if done >= *next => {
                        eprintln!("{} of {}{suffix}", HumanCount(done), count(total, unit));
                    }
                    _ => return,
                }
                *next = Some(done + (total / LINES).max(1));
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

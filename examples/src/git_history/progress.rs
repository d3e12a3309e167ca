//! Showing how far something is: a bar where a person looks on, a line now and then elsewhere.

use std::fmt;
use std::io::{IsTerminal, stderr};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// "1 commit", "1,000 commits".
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", HumanCount(number), if number == 1 { "" } else { "s" })
}

/// Shows on standard error how far something is, until it is dropped.
#[derive(Debug)]
pub(super) struct Display {
    /// What one of those is called that are counted.
    unit: &'static str,
    /// What happens to it.
    doing: &'static str,
    /// What was said to be in the way, since something is.
    trouble: Vec<String>,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    /// The next line is due at this count.
    Lines {
        next: Option<u64>,
    },
}

/// So many lines are written where there is no terminal.
const LINES: u64 = 10;

impl Display {
    /// "1 `commit` to `import`", or "300 commits to import", and then how far that is.
    pub(super) fn new(unit: &'static str, doing: &'static str) -> Self {
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
        Self { unit, doing, trouble: Vec::new(), shown }
    }

    /// Says what is in the way, once, and when it is over.
    pub(super) fn trouble(&mut self, trouble: Option<String>) {
        let line = match trouble {
            Some(trouble) if self.trouble.contains(&trouble) => return,
            Some(trouble) => {
                let line = format!("waiting, and trying again: {trouble}");
                self.trouble.push(trouble);
                line
            }
            None if self.trouble.is_empty() => return,
            None => {
                self.trouble.clear();
                "going on".into()
            }
        };
        match &self.shown {
            Shown::Bar(bar) => bar.println(line),
            Shown::Lines { .. } => eprintln!("{line}"),
        }
    }

    /// `done` of `total` are done, and there is something to add to that.
    pub(super) fn show(&mut self, done: u64, total: u64, more: impl fmt::Display) {
        let unit = self.unit;
        match &mut self.shown {
            Shown::Bar(bar) => {
                if bar.length().is_none() {
                    bar.set_length(total);
                    bar.set_position(done);
                    bar.reset_eta();
                }
                bar.set_position(done);
                bar.set_message(more.to_string());
            }
            Shown::Lines { next } => {
                match next {
                    None if done < total => {
                        eprintln!("{} to {}", count(total - done, unit), self.doing);
                    }
                    Some(next) if done >= *next => {
                        eprintln!("{} of {}{more}", HumanCount(done), count(total, unit));
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

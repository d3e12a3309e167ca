//! Showing how far something is: a bar where a person looks on, a line now and then elsewhere.

use std::fmt;
use std::io::{IsTerminal, stderr};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// Shows on standard error how far something is, until it is dropped.
#[derive(Debug)]
pub(super) struct Display {
    /// What is counted.
    unit: &'static str,
    /// What happens to it.
    doing: &'static str,
    /// What was in the way when somebody last asked.
    trouble: Option<String>,
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
    /// "300 `commits` to `import`", and then how far that is.
    pub(super) fn new(unit: &'static str, doing: &'static str) -> Self {
        let shown = if stderr().is_terminal() {
            let template = format!(
                "{{bar:40}} {{human_pos}} of {{human_len}} {unit}{{msg}}, {{elapsed}}, {{eta}} to go"
            );
            let style =
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
            Shown::Bar(ProgressBar::no_length().with_style(style))
        } else {
            Shown::Lines { next: None }
        };
        Self { unit, doing, trouble: None, shown }
    }

    /// Says what is in the way when it comes, and when it is over.
    pub(super) fn trouble(&mut self, trouble: Option<String>) {
        if self.trouble == trouble {
            return;
        }
        let line = match &trouble {
            Some(trouble) => format!("waiting, and trying again: {trouble}"),
            None => "going on".into(),
        };
        match &self.shown {
            Shown::Bar(bar) => bar.println(line),
            Shown::Lines { .. } => eprintln!("{line}"),
        }
        self.trouble = trouble;
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
                        eprintln!("{} {unit} to {}", HumanCount(total - done), self.doing);
                    }
                    Some(next) if done >= *next => {
                        eprintln!("{} of {} {unit}{more}", HumanCount(done), HumanCount(total));
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

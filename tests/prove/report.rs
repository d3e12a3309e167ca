//! The table of the runs.

use anyhow::Result;
use serde::Serialize;

use crate::runs::{Findings, Run};

/// The result of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: &'static str,
    attempted: u64,
    violations: u64,
    goal: String,
    pub(crate) met: bool,
    seed: u64,
    /// Further results, such as the number of injected faults.
    note: String,
    #[serde(skip)]
    found: Vec<String>,
}

/// Maximum number of violations of a run that are printed.
const MOST_PRINTED: usize = 10;

pub(crate) fn print_head() {
    println!("| run | attempted | violations | goal | met | seed | seconds | note |");
    println!("|---|---:|---:|---|---|---:|---:|---|");
}

impl Row {
    pub(crate) fn new(run: &Run, attempts: u64, seed: u64, found: Result<Findings>) -> Self {
        let Findings { attempted, violations: found, note } = found.unwrap_or_else(|error| Findings {
            attempted: 0,
            violations: vec![format!("the run itself failed: {error:#}")],
            note: String::new(),
        });
        let met = found.is_empty() && attempted >= attempts;
        let goal = format!("no violation in {attempts} {}", run.unit);
        let violations = found.len() as u64;
        Self { name: run.name, attempted, violations, goal, met, seed, note, found }
    }

    pub(crate) fn print(&self, seconds: f64) {
        let Self { name, attempted, violations, goal, seed, note, .. } = self;
        let met = if self.met { "yes" } else { "NO" };
        println!("| {name} | {attempted} | {violations} | {goal} | {met} | {seed} | {seconds:.1} | {note} |");
    }

    /// Prints the violations, and the command that repeats the run.
    pub(crate) fn print_failure(&self, repeat: &str) {
        eprintln!("{} is not met, with seed {}", self.name, self.seed);
        for violation in self.found.iter().take(MOST_PRINTED) {
            eprintln!("  {violation}");
        }
        let more = self.found.len().saturating_sub(MOST_PRINTED);
        if more > 0 {
            eprintln!("  and {more} more");
        }
        eprintln!("  repeat it with: {repeat}");
    }
}

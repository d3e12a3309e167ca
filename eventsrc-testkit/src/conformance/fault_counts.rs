//! Check that a run under faults injected faults of every kind.

use super::report::{Report, Row, Verdict};
use super::violation::Violation;
use crate::faulty::Injected;

/// Adds the seed and the counts to the report, and a violation unless `has_every_kind`.
pub(super) fn with_fault_counts(
    mut report: Report,
    seed: u64,
    injected: Injected,
    has_every_kind: bool,
) -> Report {
    let verdict = if has_every_kind {
        Verdict::Kept
    } else {
        Verdict::Violated(Violation::new(format!("no fault of some kind was injected: {injected}")))
    };
    let sentence = "A run under faults injects faults of every kind.";
    report.rows.push(Row { sentence, rule: "faults_of_every_kind_were_injected", verdict });
    report.notes.push(format!("seed {seed}, {injected}"));
    report
}

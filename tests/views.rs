//! Views: every store against every rule of the contract, and the view harness against defective views.

mod backends;
mod faulty;
mod harness;
mod proved;
mod sentences;
mod wrong;

use std::sync::Arc;

use eventsrc_core::stream::ZonedSequence;
use eventsrc_testkit::conformance::{self, Report, Verdict, ViewBackend};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_views_keep_every_rule() {
    views("memory", backends::memory::<u64>()).await;
    views("memory, zoned", backends::memory::<ZonedSequence>()).await;
    views("faulty at rate zero", backends::faulty_without_faults::<ZonedSequence>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_recover_after_faults() {
    for seed in [1, 2, 3, 4] {
        under_faults("memory", backends::memory::<ZonedSequence>(), seed).await;
    }
}

async fn views<B: ViewBackend>(name: &str, backend: B) {
    shown(name, "views", &conformance::views(&Arc::new(backend)).await);
}

async fn under_faults<B: ViewBackend>(name: &str, backend: B, seed: u64) {
    let report = conformance::views_under_faults(&Arc::new(backend), seed).await;
    shown(name, "views under faults", &report);
}

/// Prints the result in one line, and asserts that no rule is violated.
fn shown(name: &str, what: &str, report: &Report) {
    let (rules, kept) = (report.rows().len(), report.kept());
    let undeclared = report.rows().iter().filter(|row| row.verdict == Verdict::Undeclared).count();
    println!(
        "{name}, {what}: {kept} of {rules} rules kept, {undeclared} undeclared {}",
        report.notes().join("; ")
    );
    report.assert_kept();
}

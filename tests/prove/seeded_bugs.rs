//! Proof that the races and the checker detect the bugs that they are for.

use std::sync::Arc;

use anyhow::Result;
use eventsrc_testkit::history::{Checked, Load, Recorded, Violation, hammer};
use eventsrc_tests::seeded_bugs::{Bug, Seeded};

use crate::runs::{Findings, Trial};

/// Runs each wrong storage, and the sound one that they are made of.
pub(crate) async fn detected(trial: Trial) -> Result<Findings> {
    let mut found = Findings::default();
    if let Err(violation) = race(None, trial.seed).await {
        found.violations.push(format!("a false alarm: {violation}"));
    }
    let mut shown = Vec::new();
    for bug in Bug::ALL {
        found.attempted += 1;
        match race(Some(bug), trial.seed).await {
            Ok(checked) => found.violations.push(format!("{bug:?} was not found: {checked:?}")),
            Err(violation) if bug.shows_as().contains(&violation.kind) => {
                shown.push(format!("{bug:?} as {:?}", violation.kind));
            }
            Err(violation) => {
                found.violations.push(format!("{bug:?} showed as {:?}: {violation}", violation.kind));
            }
        }
    }
    found.note = shown.join(", ");
    Ok(found)
}

async fn race(bug: Option<Bug>, seed: u64) -> Result<Checked, Violation> {
    let storage = Arc::new(Seeded::new(bug));
    let recorded = Arc::new(Recorded::new(Arc::clone(&storage)));
    hammer(&recorded, Load { seed, tasks: 64, streams: 8, operations: 5_000 }).await;
    recorded.check(&storage).await
}

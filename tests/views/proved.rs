//! Each rule about views is proved by stores that violate just that rule.
//!
//! The clock of these tests stands still, so that a rule that waits forever is ended at once.

use std::sync::Arc;

use eventsrc_core::clock::SystemClock;
use eventsrc_testkit::conformance::{FaultyViewBackend, versioned_view_suite, view_fault_suite, view_suite};
use eventsrc_testkit::{FaultSource, Faults};

use super::wrong::{Defect, WrongBackend, applying, places, quarantine, trouble, versions};
use crate::conformance::proved::proved;

fn wrong(defect: Option<Defect>) -> WrongBackend {
    WrongBackend(defect.unwrap_or(Defect::None))
}

#[tokio::test(start_paused = true)]
async fn every_rule_about_views_is_proved() {
    let proofs = [applying::proofs(), trouble::proofs(), places::proofs(), quarantine::proofs()].concat();
    proved("views", view_suite, proofs, wrong).await;
}

#[tokio::test(start_paused = true)]
async fn every_rule_about_versions_of_views_is_proved() {
    proved("versions of views", versioned_view_suite, versions::proofs(), wrong).await;
}

#[tokio::test(start_paused = true)]
async fn every_rule_about_views_under_faults_is_proved() {
    let backend = |defect| {
        let source = FaultSource::new(Faults::seeded(11), Arc::new(SystemClock));
        FaultyViewBackend::new(Arc::new(wrong(defect)), Arc::new(source))
    };
    proved("views under faults", view_fault_suite, trouble::proofs_under_faults(), backend).await;
}

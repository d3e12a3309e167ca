//! Each rule about leases is proved by stores that violate just that rule.
//!
//! The clock of this test stands still, so that a rule that waits forever is ended at once.

use eventsrc_testkit::conformance::lease_suite;

use super::wrong::{Defect, WrongBackend, claiming, creating, releasing, renewing, taking, visibility};
use crate::conformance::proved::proved;

#[tokio::test(start_paused = true)]
async fn every_rule_about_leases_is_proved() {
    let proofs = [
        creating::proofs(),
        taking::proofs(),
        claiming::proofs(),
        renewing::proofs(),
        releasing::proofs(),
        visibility::proofs(),
    ];
    let backend = |defect: Option<Defect>| WrongBackend(defect.unwrap_or(Defect::None));
    proved("leases", lease_suite, proofs.concat(), backend).await;
}

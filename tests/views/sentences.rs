//! The suites and the documentation of the traits have the same sentences.

use std::collections::BTreeSet;

use eventsrc_testkit::conformance::{Rule, versioned_view_suite, view_fault_suite, view_suite};

use super::wrong::WrongBackend;
use crate::conformance::sentences::{same, sentences};

#[test]
fn every_sentence_of_the_view_contract_has_its_rules() {
    let contract = sentences(include_str!("../../eventsrc-core/src/view/contract.rs"));
    let mut ruled: BTreeSet<&str> = view_suite::<WrongBackend>().rules().iter().map(Rule::sentence).collect();
    ruled.extend(versioned_view_suite::<WrongBackend>().rules().iter().map(Rule::sentence));
    ruled.extend(view_fault_suite::<WrongBackend>().rules().iter().map(Rule::sentence));
    same(&contract, &ruled);
}

//! The suite and the documentation of the trait have the same sentences.

use std::collections::BTreeSet;

use eventsrc_testkit::conformance::{Rule, lease_suite};

use super::wrong::WrongBackend;
use crate::conformance::sentences::{same, sentences};

#[test]
fn every_sentence_of_the_lease_contract_has_its_rules() {
    let contract = sentences(include_str!("../../eventsrc-core/src/lease/contract.rs"));
    let ruled: BTreeSet<&str> = lease_suite::<WrongBackend>().rules().iter().map(Rule::sentence).collect();
    same(&contract, &ruled);
}

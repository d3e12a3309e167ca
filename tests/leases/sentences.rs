//! The suite and the documentation of the trait say the same.

use std::collections::BTreeSet;

use eventsrc_core::MemoryLeases;
use eventsrc_testkit::conformance::{LeaseBackend, Rule, lease_suite};

use crate::conformance::sentences::{same, sentences};

struct Memory;

impl LeaseBackend for Memory {
    type Store = MemoryLeases;
    type Place = MemoryLeases;

    async fn create(&self) -> MemoryLeases {
        MemoryLeases::default()
    }

    async fn open(&self, place: &MemoryLeases) -> MemoryLeases {
        place.clone()
    }
}

#[test]
fn every_sentence_of_the_lease_contract_has_its_rules() {
    let contract = sentences(include_str!("../../eventsrc-core/src/lease/mod.rs"));
    let ruled: BTreeSet<&str> = lease_suite::<Memory>().rules().iter().map(Rule::sentence).collect();
    same(&contract, &ruled);
}

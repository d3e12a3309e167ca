//! The suites and the documentation of the traits agree: every sentence of a contract has its rules, and every
//! rule its sentence.

use std::collections::BTreeSet;

use eventsrc_testkit::conformance::{
    Rule, fault_suite, number_suite, scan_suite, snapshot_fault_suite, snapshot_suite, storage_suite,
};

use super::wrong::WrongBackend;
use super::wrong::numbers::WrongNumberBackend;
use super::wrong::snapshots::WrongSnapshotBackend;

#[test]
fn every_sentence_of_the_storage_contract_has_its_rules() {
    let contract = sentences(include_str!("../../eventsrc-core/src/storage/contract.rs"));
    let mut ruled: BTreeSet<&str> =
        storage_suite::<WrongBackend>().rules().iter().map(Rule::sentence).collect();
    ruled.extend(scan_suite::<WrongBackend>().rules().iter().map(Rule::sentence));
    ruled.extend(fault_suite::<WrongBackend>().rules().iter().map(Rule::sentence));
    ruled.extend(number_suite::<WrongNumberBackend>().rules().iter().map(Rule::sentence));
    same(&contract, &ruled);
}

#[test]
fn every_sentence_of_the_snapshot_contract_has_its_rules() {
    let contract = sentences(include_str!("../../eventsrc-core/src/snapshot/contract.rs"));
    let mut ruled: BTreeSet<&str> =
        snapshot_suite::<WrongSnapshotBackend>().rules().iter().map(Rule::sentence).collect();
    ruled.extend(snapshot_fault_suite::<WrongSnapshotBackend>().rules().iter().map(Rule::sentence));
    same(&contract, &ruled);
}

pub(crate) fn same(contract: &[String], ruled: &BTreeSet<&str>) {
    let without_rules: Vec<_> =
        contract.iter().filter(|point| !ruled.iter().any(|sentence| point.contains(sentence))).collect();
    assert!(without_rules.is_empty(), "sentences that nothing checks: {without_rules:#?}");
    let without_sentence: Vec<_> =
        ruled.iter().filter(|sentence| !contract.iter().any(|point| point.contains(**sentence))).collect();
    assert!(without_sentence.is_empty(), "rules for sentences that are not there: {without_sentence:#?}");
}

/// The list items of the documentation, each on one line.
pub(crate) fn sentences(source: &str) -> Vec<String> {
    let mut points: Vec<String> = Vec::new();
    let mut inside = false;
    for line in source.lines() {
        let text = line.strip_prefix("///");
        if let Some(point) = text.and_then(|text| text.strip_prefix(" - ")) {
            points.push(point.to_owned());
            inside = true;
        } else if let Some(more) = text.and_then(|text| text.strip_prefix("   ")).filter(|_| inside) {
            let point = points.last_mut().expect("a list has begun");
            point.push(' ');
            point.push_str(more);
        } else {
            inside = false;
        }
    }
    assert!(points.len() > 5, "the documentation has a list");
    points
}

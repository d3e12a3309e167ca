//! Each rule is proved by storages that violate just that rule.
//!
//! The clock of these tests stands still, so that a rule that waits forever is ended at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use eventsrc_core::clock::SystemClock;
use eventsrc_core::storage::{Conflict, Put};
use eventsrc_testkit::conformance::{
    FaultyBackend, FaultySnapshotBackend, Report, Rule, Suite, Verdict, fault_suite, number_suite,
    scan_suite, snapshot_fault_suite, snapshot_suite, storage_suite,
};
use eventsrc_testkit::{FaultSource, Faults};

use super::wrong::numbers::{NumberDefect, WrongNumberBackend};
use super::wrong::snapshots::{SnapshotDefect, WrongSnapshotBackend};
use super::wrong::{
    Defect, WrongBackend, cut, diverging, fields, heads, numbers, places, puts, reads, recent, scans,
    snapshot_proofs, store,
};

#[tokio::test(start_paused = true)]
async fn every_rule_about_event_storages_is_proved() {
    let reads = [reads::proofs(), recent::proofs(), fields::proofs()].concat();
    let proofs = [puts::proofs(), places::proofs(), diverging::proofs(), reads].concat();
    proved("events", storage_suite, proofs, |defect| WrongBackend(defect.unwrap_or(Defect::None))).await;
}

#[tokio::test(start_paused = true)]
async fn every_rule_about_numbers_is_proved() {
    let backend = |defect: Option<NumberDefect>| WrongNumberBackend(defect.unwrap_or(NumberDefect::None));
    proved("numbers", number_suite, numbers::proofs(), backend).await;
}

#[tokio::test(start_paused = true)]
async fn every_rule_about_scans_is_proved() {
    let backend = |defect: Option<Defect>| WrongBackend(defect.unwrap_or(Defect::None));
    proved("scans", scan_suite, [scans::proofs(), heads::proofs()].concat(), backend).await;
}

#[tokio::test(start_paused = true)]
async fn every_rule_about_snapshots_is_proved() {
    let backend =
        |defect: Option<SnapshotDefect>| WrongSnapshotBackend(defect.unwrap_or(SnapshotDefect::None));
    proved("snapshots", snapshot_suite, snapshot_proofs::proofs(), backend).await;
}

#[tokio::test(start_paused = true)]
async fn every_rule_under_faults_is_proved() {
    let proofs = vec![
        ("putting_again_settles_every_error", "a lost reply is a conflict", conflicting()),
        (
            "a_commit_whose_put_failed_is_stored_whole_or_not_at_all",
            "a part of the commit is stored",
            Defect::Keep(|commit| *commit = (*cut(commit, 3)).clone()),
        ),
        (
            "a_writer_who_was_restarted_settles_its_puts",
            "a handle recognises its own commits",
            Defect::OwnRepeats,
        ),
        (
            "writers_of_many_streams_store_every_commit_once",
            "a put again is appended again",
            Defect::Put(|streams, commit| {
                let stream = streams.get(&commit.key)?;
                stream.iter().any(|stored| stored.is(commit)).then(|| {
                    store(streams, commit.key.clone(), Arc::clone(commit));
                    Ok(Put::Repeated { last: commit.last() })
                })
            }),
        ),
        (
            "racing_writers_store_every_commit_once",
            "a put looks first and stores later",
            Defect::CheckThenStore,
        ),
        (
            "a_reader_that_resumes_after_errors_reads_everything",
            "a read from a sequence begins with the commit after",
            Defect::Read(|commits, from| {
                let skip = from.map_or(0, |from| commits.iter().filter(|c| c.last() < from).count() + 1);
                (commits.into_iter().skip(skip).collect(), from)
            }),
        ),
    ];
    let backend = |defect: Option<Defect>| {
        FaultyBackend::new(Arc::new(WrongBackend(defect.unwrap_or(Defect::None))), source())
    };
    proved("events under faults", fault_suite, proofs, backend).await;
    let proofs = vec![
        (
            "the_cache_ends_at_the_greatest",
            "the last to cache wins",
            SnapshotDefect::Put(snapshot_proofs::last_wins),
        ),
        (
            "retried_epochs_are_all_kept",
            "there are 20 epochs at most",
            snapshot_proofs::proofs()
                .into_iter()
                .find_map(|(rule, _, defect)| (rule == "epochs_are_kept").then_some(defect))
                .expect("epochs are proved to be kept"),
        ),
    ];
    let backend = |defect: Option<SnapshotDefect>| {
        let wrong = WrongSnapshotBackend(defect.unwrap_or(SnapshotDefect::None));
        FaultySnapshotBackend::new(Arc::new(wrong), source())
    };
    proved("snapshots under faults", snapshot_fault_suite, proofs, backend).await;
}

fn source() -> Arc<FaultSource> {
    Arc::new(FaultSource::new(Faults::seeded(11), Arc::new(SystemClock)))
}

fn conflicting() -> Defect {
    Defect::Answer(|_, _, answer| match answer {
        Ok(Put::Repeated { .. }) => Ok(Put::Conflict(Conflict { existing: None, head: None })),
        answer => answer,
    })
}

/// Asserts that the sound storage keeps all rules, that each wrong one violates its rule, and that no rule is
/// left unproved.
pub(crate) async fn proved<B: Send + Sync + 'static, D: Copy>(
    what: &str,
    suite: fn() -> Suite<B>,
    proofs: Vec<(&'static str, &'static str, D)>,
    backend: impl Fn(Option<D>) -> B,
) {
    let sound: Report = suite().run(&Arc::new(backend(None))).await;
    sound.assert_kept();
    let rules: BTreeSet<&str> = suite().rules().iter().map(Rule::name).collect();
    assert_eq!(sound.kept(), rules.len(), "the sound storage keeps every rule:\n{sound}");
    let mut caught = BTreeSet::new();
    for (rule, wrong, defect) in &proofs {
        let report = suite().only(rule).run(&Arc::new(backend(Some(*defect)))).await;
        let [row] = report.rows() else { panic!("there is no rule {rule}") };
        match &row.verdict {
            Verdict::Violated(violation) => println!("{rule}\n    caught: {wrong}\n    by:     {violation}"),
            verdict => panic!("{rule} does not catch that {wrong}: {verdict:?}"),
        }
        caught.insert(*rule);
    }
    let unproved: Vec<_> = rules.difference(&caught).collect();
    assert!(unproved.is_empty(), "rules without a proof: {unproved:#?}");
    println!("{what}: {} rules proved against {} wrong storages", rules.len(), proofs.len());
}

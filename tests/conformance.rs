//! Every backend, against every rule of the contract.

mod backends;
mod either;
mod persistent;
pub(crate) mod proved;
mod refused_payloads;
pub(crate) mod sentences;
mod wrong;

use std::sync::Arc;

use eventsrc_core::EventStorage;
use eventsrc_core::storage::ScanStorage;
use eventsrc_core::stream::ZonedSequence;
use eventsrc_testkit::conformance::{self, Backend, Report, SnapshotBackend, Verdict};
use eventsrc_tests::faulty_http::{FaultyHttp, HttpFault};

type Numbers = u64;
type Zoned = ZonedSequence;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_every_rule() {
    event_storage("memory", backends::memory::<Numbers>()).await;
    event_storage("memory, zoned", backends::memory::<Zoned>()).await;
    numbers("memory", backends::memory::<Numbers>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_keeps_every_rule() {
    event_storage("sqlite", backends::sqlite::<Numbers>()).await;
    event_storage("sqlite, zoned, postcard", backends::sqlite_with_postcard::<Zoned>()).await;
    numbers("sqlite", backends::sqlite::<Numbers>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_keeps_every_rule() {
    event_storage("postgres", backends::postgres::<Numbers>()).await;
    event_storage("postgres, zoned, postcard", backends::postgres_with_postcard::<Zoned>()).await;
    numbers("postgres", backends::postgres::<Numbers>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dynamo_keeps_every_rule() {
    event_storage("dynamo", backends::dynamo::<Numbers>()).await;
    event_storage("dynamo, zoned, postcard", backends::dynamo_with_postcard::<Zoned>()).await;
    numbers("dynamo", backends::dynamo::<Numbers>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_implementation_of_dynamo_keeps_every_rule() {
    event_storage("ministack", backends::ministack::<Numbers>()).await;
    snapshot_storage("ministack", backends::ministack::<Numbers>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dynamo_keeps_every_rule_through_a_faulty_network() {
    // Nine kinds of faults: one in six requests fails.
    let faulty = FaultyHttp::random(1, 1.0 / 54.0);
    event_storage("dynamo, faulty", backends::dynamo_through::<Numbers>(&faulty)).await;
    snapshot_storage("dynamo, faulty", backends::dynamo_through::<Zoned>(&faulty)).await;
    let injected = faulty.injected();
    println!("{} requests, {injected}", faulty.requests());
    assert_eq!(injected.kinds(), HttpFault::ANY_TIME.len(), "{injected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn combinators_are_storages() {
    event_storage("counted", backends::counted::<Numbers>()).await;
    event_storage("counted, zoned", backends::counted::<Zoned>()).await;
    event_storage("faulty at rate zero", backends::faulty_without_faults::<Zoned>()).await;
    event_storage("under another key", backends::mapped_key::<Numbers>()).await;
    event_storage("under another key, zoned", backends::mapped_key::<Zoned>()).await;
    event_storage("under another sequence", backends::mapped_sequence()).await;
    numbers("under another sequence", backends::mapped_sequence()).await;
    event_storage("published", backends::published::<Numbers>()).await;
    event_storage("three side by side", backends::three_side_by_side::<Numbers>()).await;
    event_storage("three side by side, zoned", backends::three_side_by_side::<Zoned>()).await;
    event_storage("merged with an empty one", backends::merged_with_an_empty_one::<Numbers>()).await;
    event_storage("merged with an empty one, zoned", backends::merged_with_an_empty_one::<Zoned>()).await;
    event_storage("merged with itself", backends::merged_with_itself::<Numbers>()).await;
    event_storage("merged with itself, zoned", backends::merged_with_itself::<Zoned>()).await;
    event_storage("a migration that copies", backends::migration_that_copies::<Numbers>()).await;
    event_storage("a migration that switches, zoned", backends::migration_that_switches::<Zoned>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn snapshot_storages_keep_every_rule() {
    snapshot_storage("memory", backends::memory_snapshots::<Numbers>()).await;
    snapshot_storage("memory, zoned", backends::memory_snapshots::<Zoned>()).await;
    snapshot_storage("faulty at rate zero", backends::faulty_snapshots_without_faults::<Zoned>()).await;
    snapshot_storage("sqlite", backends::sqlite::<Numbers>()).await;
    snapshot_storage("sqlite, zoned, postcard", backends::sqlite_with_postcard::<Zoned>()).await;
    snapshot_storage("postgres", backends::postgres::<Numbers>()).await;
    snapshot_storage("postgres, zoned, postcard", backends::postgres_with_postcard::<Zoned>()).await;
    snapshot_storage("dynamo", backends::dynamo::<Numbers>()).await;
    snapshot_storage("dynamo, zoned, postcard", backends::dynamo_with_postcard::<Zoned>()).await;
}

/// Each seed injects other faults.
const SEEDS: [u64; 4] = [1, 2, 3, 4];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_leave_no_partial_commits() {
    for seed in SEEDS {
        under_faults("memory", backends::memory::<Numbers>(), seed).await;
        under_faults("memory, zoned", backends::memory::<Zoned>(), seed).await;
        under_faults("merged with itself", backends::merged_with_itself::<Zoned>(), seed).await;
        snapshots_under_faults("memory", backends::memory_snapshots::<Numbers>(), seed).await;
    }
    under_faults("sqlite", backends::sqlite::<Numbers>(), 1).await;
    under_faults("sqlite, zoned, postcard", backends::sqlite_with_postcard::<Zoned>(), 2).await;
    snapshots_under_faults("sqlite", backends::sqlite::<Numbers>(), 3).await;
    under_faults("postgres", backends::postgres::<Numbers>(), 1).await;
    under_faults("postgres, zoned, postcard", backends::postgres_with_postcard::<Zoned>(), 2).await;
    snapshots_under_faults("postgres", backends::postgres::<Numbers>(), 3).await;
    under_faults("dynamo", backends::dynamo::<Numbers>(), 1).await;
    under_faults("dynamo, zoned, postcard", backends::dynamo_with_postcard::<Zoned>(), 2).await;
    snapshots_under_faults("dynamo", backends::dynamo::<Numbers>(), 3).await;
}

async fn event_storage<B: Backend<Storage: ScanStorage>>(name: &str, backend: B) {
    let backend = Arc::new(backend);
    shown(name, "events", &conformance::storage(&backend).await);
    shown(name, "scans", &conformance::scan(&backend).await);
}

async fn numbers<B: Backend<Storage: EventStorage<Sequence = u64>>>(name: &str, backend: B) {
    shown(name, "numbers", &conformance::numbers(&Arc::new(backend)).await);
}

async fn snapshot_storage<B: SnapshotBackend>(name: &str, backend: B) {
    shown(name, "snapshots", &conformance::snapshots(&Arc::new(backend)).await);
}

async fn under_faults<B: Backend>(name: &str, backend: B, seed: u64) {
    shown(name, "events under faults", &conformance::under_faults(&Arc::new(backend), seed).await);
}

async fn snapshots_under_faults<B: SnapshotBackend>(name: &str, backend: B, seed: u64) {
    let report = conformance::snapshots_under_faults(&Arc::new(backend), seed).await;
    shown(name, "snapshots under faults", &report);
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

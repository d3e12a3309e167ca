//! Processes that are killed while they store and apply, alone and in pairs.

use std::path::Path;

use eventsrc_tests::view_kills::kill_view_worker;

const WORKER: &str = env!("CARGO_BIN_EXE_view-worker");

/// P9 and P15.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_consistent_rows_and_positions() {
    let seed = 1;
    let report = kill_view_worker(Path::new(WORKER), 20, seed).await.unwrap();
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.kills >= 20, "{report:?}");
    assert!(report.in_the_middle >= 5 && report.applied > 0, "{report:?}");
}

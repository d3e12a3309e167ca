//! Concurrent writes of snapshots.

use std::sync::Arc;

use eventsrc_core::snapshot::{SnapshotAt, SnapshotMode, SnapshotStorage};
use eventsrc_core::{Head, Snapshot, Timestamp};
use eventsrc_postgres::{Postgres, PostgresSnapshots};
use futures::future::join_all;

use super::{client, database};

fn snapshot(sequence: u64) -> Snapshot<u64, String> {
    let head = Head { sequence, time: Timestamp::UNIX_EPOCH, commit_id: None };
    Snapshot::new(Some(sequence.to_string()), Some(head))
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_race_for_one_cached_snapshot_leave_one_row_and_the_latest() {
    let url = database().await;
    let handles = join_all((0..2).map(|_| Postgres::connect(&url))).await;
    let handles: Vec<Arc<PostgresSnapshots<u32, u64, String>>> = handles
        .into_iter()
        .map(|handle| Arc::new(PostgresSnapshots::new(&handle.unwrap(), "names")))
        .collect();
    let writers = (1..=60_u64).map(|sequence| {
        let snapshots = Arc::clone(&handles[sequence as usize % 2]);
        // Later snapshots come first, and earlier ones after them.
        tokio::spawn(async move {
            snapshots.put(&1, 1, &snapshot(61 - sequence), SnapshotMode::Cache).await.unwrap();
        })
    });
    for done in join_all(writers).await {
        done.unwrap();
    }
    for handle in &handles {
        assert_eq!(handle.get(&1, 1, SnapshotAt::Latest).await.unwrap(), Some(snapshot(60)));
        assert_eq!(handle.get(&1, 1, SnapshotAt::Earliest).await.unwrap(), Some(snapshot(60)));
    }
    let rows = client(&url).await.query_one("SELECT count(*) FROM eventsrc.cached", &[]).await.unwrap();
    assert_eq!(rows.get::<_, i64>(0), 1);
}

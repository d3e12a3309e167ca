//! Size of the write-ahead log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::bounded;
use eventsrc_core::EventStorage;
use eventsrc_core::storage::Put;
use futures::future::join_all;
use tokio::task::JoinHandle;

use super::fixture::{Folder, Storage, commit};
use crate::guard::Guarded;
use crate::log::LOG_LIMIT;
use crate::{Database, Settings, SqliteStorage, layout};

/// Reads without a break: each of two tasks ends its transaction when the other one has begun the next.
fn read_without_break(database: &Database) -> (Arc<AtomicBool>, Vec<JoinHandle<()>>) {
    let done = Arc::new(AtomicBool::new(false));
    let (first_begins, first_begun) = bounded::<()>(1);
    let (second_begins, second_begun) = bounded::<()>(1);
    let ends = [(first_begins, second_begun, false), (second_begins, first_begun, true)];
    let tasks = ends.map(|(begins, other_begun, is_second)| {
        let (database, done) = (database.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut waits = is_second;
            while !done.load(Ordering::Relaxed) {
                let (begins, other_begun) = (begins.clone(), other_begun.clone());
                let read = move |connection: &Guarded| {
                    if waits {
                        let _ = other_begun.recv();
                    }
                    let _transaction = connection.read_transaction()?;
                    drop(layout::last_stream(connection));
                    let _ = begins.send(());
                    let _ = other_begun.recv();
                    Ok(())
                };
                database.read_guarded(read).await.unwrap();
                waits = false;
            }
        })
    });
    (done, tasks.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_short_while_reads_overlap() {
    let folder = Folder::new();
    let database = folder.open(Settings::default()).await;
    let storage: Storage = SqliteStorage::new(&database);
    let (done, tasks) = read_without_break(&database);
    let text = "x".repeat(256 << 10);
    let mut log = folder.path().into_os_string();
    log.push("-wal");
    let mut largest = 0;
    for round in 1..=16 {
        let puts = (0..16).map(|stream| storage.put(commit(&format!("text/{stream}"), round, None, &text)));
        for put in join_all(puts).await {
            assert!(matches!(put.unwrap(), Put::Stored));
        }
        largest = largest.max(std::fs::metadata(&log).unwrap().len());
    }
    done.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    assert!(largest <= LOG_LIMIT + (8 << 20), "the log has {largest} bytes");
}

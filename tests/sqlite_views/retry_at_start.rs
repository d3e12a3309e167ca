//! Streams that older code has put in quarantine.

use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::ViewStore;
use eventsrc_core::{Operation, SaveApi, StreamName, Synchronizer};
use eventsrc_sqlite::{Database, SqliteStorage, SqliteView};

use super::{Lines, LinesView, Storage, lines_of};

#[tokio::test(flavor = "multi_thread")]
async fn what_older_code_rejected_is_applied_by_newer_code_that_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let database = Database::open(&path).await.unwrap();
    let storage: Storage = SqliteStorage::new(&database);
    let saves = SaveApi::new(storage.clone());
    for number in 0..40 {
        let stream: StreamName = format!("line/{number:02}").parse().unwrap();
        for event in ["a", if number < 12 { "action" } else { "b" }, "c"] {
            saves.save(&stream, Operation::insert(event.to_owned())).await.unwrap().saved().unwrap();
        }
    }
    let old = SqliteView::open(&database, Lines::with_action(1, |_| Err("not yet".into()))).await.unwrap();
    swept(&storage, &old).await;
    let first = old.quarantined().await.unwrap();
    assert_eq!(first.len(), 12);
    swept(&storage, &old).await;
    let second = old.quarantined().await.unwrap();
    assert!(second.len() == 12 && second.iter().zip(&first).all(|(second, first)| second.time > first.time));

    let new = SqliteView::open(&database, Lines::with_action(1, |_| Ok(()))).await.unwrap();
    swept(&storage, &new).await;
    assert_eq!(new.quarantined().await.unwrap(), []);
    for number in 0..40 {
        let stream = format!("line/{number:02}");
        let (_, line) =
            new.read(&[], move |connection| lines_of(connection, "lines", &stream)).await.unwrap();
        assert_eq!(line.as_deref(), Some(if number < 12 { "a action c" } else { "a b c" }));
    }
}

/// Lets a new synchronizer sweep.
async fn swept(storage: &Storage, view: &LinesView) {
    let settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
    let synchronizer = Synchronizer::start(storage.clone(), view.clone(), settings);
    synchronizer.sweep().await.unwrap();
    synchronizer.stop().await;
}

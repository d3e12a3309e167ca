//! Streams that older code has put in quarantine.

use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::ViewStore;
use eventsrc_core::{Operation, SaveApi, StreamName, Synchronizer};
use eventsrc_postgres::PostgresStorage;

use super::{Lines, LinesView, Location, line, name};

type Storage = PostgresStorage<StreamName, u64, String>;

#[tokio::test(flavor = "multi_thread")]
async fn what_older_code_rejected_is_applied_by_newer_code_that_starts() {
    let place = Location::new().await;
    let storage: Storage = PostgresStorage::new(&place.connect().await);
    let saves = SaveApi::new(storage.clone());
    for number in 0..40 {
        for event in ["a", if number < 12 { "action" } else { "b" }, "c"] {
            let stream = name(&format!("line/{number:02}"));
            saves.save(&stream, Operation::insert(event.to_owned())).await.unwrap().saved().unwrap();
        }
    }
    let rejects = Lines::with_action(1, |_| Box::pin(async { Err("not yet".into()) }));
    let old = place.open(rejects).await;
    swept(&storage, &old).await;
    let first = old.quarantined().await.unwrap();
    assert_eq!(first.len(), 12);
    swept(&storage, &old).await;
    let second = old.quarantined().await.unwrap();
    assert!(second.len() == 12 && second.iter().zip(&first).all(|(second, first)| second.time > first.time));

    let new = place.open(Lines::with_action(1, |_| Box::pin(async { Ok(()) }))).await;
    swept(&storage, &new).await;
    assert_eq!(new.quarantined().await.unwrap(), []);
    for number in 0..40 {
        let text = if number < 12 { "a action c" } else { "a b c" };
        assert_eq!(line(&new, &format!("line/{number:02}")).await, (Some(text.into()), Some(3)));
    }
}

/// Lets a new synchronizer sweep.
async fn swept(storage: &Storage, view: &LinesView) {
    let settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
    let synchronizer = Synchronizer::start(storage.clone(), view.clone(), settings);
    synchronizer.sweep().await.unwrap();
    synchronizer.stop().await;
}

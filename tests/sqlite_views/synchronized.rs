//! Views that a synchronizer keeps, in the file of the events and in another one.

use std::sync::Arc;

use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::{Operation, SaveApi, StreamName, Synchronizer};
use eventsrc_sqlite::{Database, SqliteStorage, SqliteView};
use eventsrc_tests::HANG;
use futures::future::join_all;

use super::{Lines, LinesView, Storage, lines_of};

/// P11: a writer that reads with its token sees its save, in whichever way the view gets it.
async fn every_save_is_seen(storage: Storage, view: LinesView) {
    let synchronizer = Synchronizer::start(storage.clone(), view, SynchronizerSettings::default());
    let saves = Arc::new(SaveApi::new(storage));
    let tasks = (0..4).map(|task| {
        let (synchronizer, saves) = (synchronizer.clone(), Arc::clone(&saves));
        tokio::spawn(async move {
            let stream: StreamName = format!("line/{task}").parse().unwrap();
            let mut text = Vec::new();
            for number in 0..15 {
                text.push(number.to_string());
                let event = number.to_string();
                let saved = saves.save(&stream, Operation::insert(event)).await.unwrap();
                let token = saved.saved().unwrap().token.clone();
                let read = |streams: Arc<[StreamName]>| {
                    let (view, stream) = (synchronizer.view().clone(), stream.to_string());
                    async move { view.read(&streams, move |c| lines_of(c, "lines", &stream)).await }
                };
                let line = synchronizer.at_least(&token, HANG, read).await.unwrap();
                assert_eq!(line, Some(text.join(" ")));
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    synchronizer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_save_is_seen_in_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("events.db")).await.unwrap();
    let view = SqliteView::open(&database, Lines::new(1)).await.unwrap();
    every_save_is_seen(SqliteStorage::new(&database), view).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_save_is_seen_in_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let events = Database::open(folder.path().join("events.db")).await.unwrap();
    let views = Database::open(folder.path().join("views.db")).await.unwrap();
    let view = SqliteView::open(&views, Lines::new(1)).await.unwrap();
    every_save_is_seen(SqliteStorage::new(&events), view).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_save_is_seen_where_the_view_follows_in_the_append() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("events.db")).await.unwrap();
    let view = SqliteView::open(&database, Lines::new(1)).await.unwrap();
    let storage = SqliteStorage::new(&database).with_view(&view).unwrap();
    every_save_is_seen(storage, view).await;
}

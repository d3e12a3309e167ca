//! Views that a synchronizer keeps.

use std::sync::Arc;

use eventsrc_core::storage::ScanStorage;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::ViewStore;
use eventsrc_core::{MemoryStorage, Operation, SaveApi, StreamName, Synchronizer};
use eventsrc_postgres::PostgresStorage;
use eventsrc_tests::HANG;
use futures::future::join_all;

use super::{Lines, LinesView, Location, line, line_of, name};

type Storage = Arc<MemoryStorage<StreamName, u64, String>>;

/// P11: a writer that reads with its token sees its save.
async fn every_save_is_seen<St>(storage: St, view: LinesView)
where
    St: ScanStorage<Key = StreamName, Sequence = u64, Payload = String> + Clone,
{
    let synchronizer = Synchronizer::start(storage.clone(), view, SynchronizerSettings::default());
    let saves = Arc::new(SaveApi::new(storage));
    let tasks = (0..4).map(|task| {
        let (synchronizer, saves) = (synchronizer.clone(), Arc::clone(&saves));
        tokio::spawn(async move {
            let stream = name(&format!("line/{task}"));
            let mut text = Vec::new();
            for number in 0..15 {
                text.push(number.to_string());
                let saved = saves.save(&stream, Operation::insert(number.to_string())).await.unwrap();
                let token = saved.saved().unwrap().token.clone();
                let read = |streams: Arc<[StreamName]>| {
                    let (view, stream) = (synchronizer.view(), stream.as_str());
                    async move { view.read(&streams, |transaction| line_of(transaction, stream)).await }
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
async fn every_save_is_seen_in_the_same_database() {
    let place = Location::new().await;
    let postgres = place.connect().await;
    let view = LinesView::open(&postgres, Lines::new(1)).await.unwrap();
    every_save_is_seen(PostgresStorage::new(&postgres), view).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_save_is_seen_from_another_storage() {
    let storage: Storage = Arc::default();
    every_save_is_seen(storage, Location::new().await.open(Lines::new(1)).await).await;
}

/// P13: a payload that Postgres cannot hold stops its own stream, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_with_a_zero_character_stops_only_its_own_stream() {
    let storage: Storage = Arc::default();
    let view = Location::new().await.open(Lines::new(1)).await;
    let saves = SaveApi::new(Arc::clone(&storage));
    let mut texts = vec!["a"; 20];
    texts[7] = "a\0b";
    for (id, text) in texts.into_iter().enumerate() {
        let stream = name(&format!("line/{id:02}"));
        for text in [text, "after"] {
            let saved = saves.save(&stream, Operation::insert(text.to_owned())).await.unwrap();
            assert!(saved.saved().is_some(), "the save succeeds");
        }
    }
    let synchronizer = Synchronizer::start(storage, view.clone(), SynchronizerSettings::default());
    synchronizer.sweep().await.unwrap();
    let quarantined = view.quarantined().await.unwrap();
    assert_eq!(quarantined.len(), 1, "{quarantined:?}");
    let poison = &quarantined[0];
    assert_eq!((poison.stream.as_str(), poison.position, poison.sequence), ("line/07", None, 1));
    assert!(poison.error.contains("invalid byte sequence"), "{}", poison.error);
    for id in (0..20).filter(|id| *id != 7) {
        let row = line(&view, &format!("line/{id:02}")).await;
        assert_eq!(row, (Some("a after".into()), Some(2)), "stream {id}");
    }
    synchronizer.skip(&name("line/07"), "it is of no use").await.unwrap();
    synchronizer.sweep().await.unwrap();
    assert_eq!(line(&view, "line/07").await, (Some("after".into()), Some(2)));
    synchronizer.stop().await;
}

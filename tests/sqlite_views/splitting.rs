//! Events that an upcaster drops or splits, in everything that reads them.

use std::sync::Arc;

use eventsrc_core::codec::{Kind, Kinds, RawCodec, RawPayload};
use eventsrc_core::commit::{Vec1, vec1};
use eventsrc_core::query::SnapshotPolicy;
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::snapshot::MemorySnapshots;
use eventsrc_core::storage::{Merged, Migration, ScanStorage, Segment};
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::{Batch, ViewError, ViewStore};
use eventsrc_core::{
    Consistency, Decider, Decision, ErrorKind, Event, EventStorage, Fold, MemoryStorage, Operation, Outcome,
    Query, QueryApi, SaveApi, Snapshot, StreamName, Synchronizer, ViewDefinition,
};
use eventsrc_sqlite::{Database, SqliteStorage, SqliteView, View};
use eventsrc_tests::HANG;
use futures::TryStreamExt;
use rusqlite::Connection;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::time::timeout;

/// Events as the old process wrote them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Old {
    Registered { name: String, town: String },
    Pinged,
    Named(String),
}

/// Events of today: `Registered` became two of them, and `Pinged` is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum New {
    Named(String),
    Moved(String),
}

#[derive(Deserialize)]
struct Registered {
    name: String,
    town: String,
}

fn codec() -> Kinds<New> {
    Kinds::new().with("Pinged", Kind::retired(1).split(|_: IgnoredAny| Ok(vec![]))).with(
        "Registered",
        Kind::retired(1).split(|old: Registered| Ok(vec![New::Named(old.name), New::Moved(old.town)])),
    )
}

type Storage = SqliteStorage<StreamName, u64, New, Kinds<New>>;

/// Fold that appends the text of each event.
struct Text {
    version: u32,
}

impl Fold<StreamName, u64, New> for Text {
    type Key = StreamName;
    type Value = String;

    fn apply(&self, _: &StreamName, text: &mut Option<String>, event: Event<'_, StreamName, u64, New>) {
        text.get_or_insert_default().push_str(&text_of(event));
    }

    fn version(&self) -> u32 {
        self.version
    }
}

/// `1 named Ada;` for an event at sequence 1.
fn text_of(event: Event<'_, StreamName, u64, New>) -> String {
    match event.payload {
        New::Named(name) => format!("{} named {name};", event.sequence()),
        New::Moved(town) => format!("{} moved to {town};", event.sequence()),
    }
}

/// View that appends the text of each event to the row of its stream.
struct Texts;

impl View<StreamName, u64, New> for Texts {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("texts", ["person"]).unwrap()
    }

    fn tables(&self) -> &[&str] {
        &["texts"]
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch("CREATE TABLE texts_v1 (stream TEXT PRIMARY KEY, text TEXT NOT NULL)")
    }

    fn apply(&self, transaction: &Connection, batch: &Batch<StreamName, u64, New>) -> Result<(), ViewError> {
        let add = "INSERT INTO texts_v1 VALUES (?1, ?2)
                   ON CONFLICT (stream) DO UPDATE SET text = text || excluded.text";
        for event in batch.events() {
            transaction.prepare_cached(add)?.execute((event.key().as_str(), text_of(event)))?;
        }
        Ok(())
    }
}

const ADA: &str = "person/ada";
const TEXT: &str = "1 named Ada;1 moved to London;4 named Countess;6 named A.;6 moved to Ockham;";

fn ada() -> StreamName {
    ADA.parse().unwrap()
}

fn registered(name: &str, town: &str) -> Old {
    Old::Registered { name: name.into(), town: town.into() }
}

/// A file in which the old process stored a stream whose first, middle and last events are dropped or split. `person/idle`
/// has only an event that is dropped.
async fn written_before() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("events.db")).await.unwrap();
    let saves = SaveApi::new(SqliteStorage::<StreamName, u64, Old>::new(&database));
    for (stream, payloads) in [
        (ADA, vec1![registered("Ada", "London"), Old::Pinged, Old::Pinged, Old::Named("Countess".into())]),
        (ADA, vec1![Old::Pinged]),
        (ADA, vec1![registered("A.", "Ockham"), Old::Pinged]),
        ("person/idle", vec1![Old::Pinged]),
    ] {
        let operation: Operation<Old, PreconditionFailed> =
            Operation::new(move |_| Decision::Save(payloads.clone()));
        saves
            .save(&stream.parse().unwrap(), operation)
            .await
            .unwrap()
            .saved()
            .expect("no other writer is active");
    }
    (folder, database)
}

fn named(name: &str) -> Operation<New, PreconditionFailed, Snapshot<u64, String>> {
    let payloads = Vec1::new(New::Named(name.into()));
    Operation::new(move |_: &Snapshot<u64, String>| Decision::Save(payloads.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_begin_and_end_at_each_sequence() {
    let (_folder, database) = written_before().await;
    let storage = Storage::with_codec(&database, codec());
    let all = [
        (1, "1 named Ada;"),
        (1, "1 moved to London;"),
        (4, "4 named Countess;"),
        (6, "6 named A.;"),
        (6, "6 moved to Ockham;"),
    ];
    let merged = Merged::new(storage.clone(), MemoryStorage::default());
    for from in 1..=8 {
        let pages: Vec<_> = storage.events(&ada(), Some(from)).try_collect().await.unwrap();
        let read: Vec<_> = pages.iter().flat_map(|page| page.events().map(text_of)).collect();
        let expected: Vec<_> = all.iter().filter(|(at, _)| *at >= from).map(|(_, text)| *text).collect();
        assert_eq!(read, expected, "from {from}");
        let pages: Vec<_> = merged.events(&ada(), Some(from)).try_collect().await.unwrap();
        let read: Vec<_> = pages.iter().flat_map(|page| page.events().map(text_of)).collect();
        assert_eq!(read, expected, "merged, from {from}");
    }
    assert_eq!(storage.latest(&ada()).await.unwrap().map(|head| head.sequence), Some(7));

    let query = QueryApi::new(storage.clone(), Text { version: 1 });
    for until in 1..=9 {
        let expected: String = all.iter().filter(|(at, _)| *at <= until).map(|(_, text)| *text).collect();
        let snapshot = query.at_sequence(&ada(), until).await.unwrap();
        assert_eq!(
            (snapshot.sequence(), snapshot.value),
            (Some(until.min(7)), Some(expected)),
            "until {until}"
        );
    }
    let history: Vec<_> = query.history(ada(), None).try_collect().await.unwrap();
    assert_eq!(
        history.iter().map(|snapshot| snapshot.sequence().unwrap()).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6, 7]
    );
    assert_eq!(history[2].value.as_deref(), Some("1 named Ada;1 moved to London;"));
    assert_eq!(history[6].value.as_deref(), Some(TEXT));

    let scanned: Vec<_> = storage.scan(Segment::ALL).try_collect().await.unwrap();
    let commits: usize = scanned.iter().map(|page| page.commits().len()).sum();
    let events: Vec<_> = scanned.iter().flat_map(|page| page.events().map(text_of)).collect();
    assert_eq!((commits, events.concat().as_str()), (4, TEXT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_goes_on_after_an_event_that_is_dropped() {
    let (_folder, database) = written_before().await;
    let decider = Decider::new(Storage::with_codec(&database, codec()), Text { version: 1 });
    for (stream, first) in [(ADA, 8), ("person/idle", 2)] {
        for next in [first, first + 1] {
            let Ok(Outcome::Saved(saved)) = decider.save(&stream.parse().unwrap(), named("Lady")).await
            else {
                panic!("it is saved");
            };
            assert_eq!(saved.sequence, next, "{stream}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_passes_events_that_are_dropped() {
    let (_folder, database) = written_before().await;
    let storage = Storage::with_codec(&database, codec());
    let view = SqliteView::open(&database, Texts).await.unwrap();
    let synchronizer = Synchronizer::start(storage, view.clone(), SynchronizerSettings::default());
    let swept = timeout(HANG, synchronizer.sweep()).await.expect("it ends").unwrap();
    assert_eq!(swept.streams, 2);
    synchronizer.stop().await;
    let streams = [ada(), "person/idle".parse().unwrap()];
    let query = |connection: &Connection| {
        connection.query_row("SELECT group_concat(stream || ': ' || text) FROM texts", [], |row| {
            row.get::<_, String>(0)
        })
    };
    let (positions, rows) = view.read(&streams, query).await.unwrap();
    assert_eq!(positions.iter().map(|of| of.position).collect::<Vec<_>>(), [Some(7), Some(1)]);
    assert_eq!(rows, format!("{ADA}: {TEXT}"));
    assert!(view.quarantined().await.unwrap().is_empty());
}

/// An upcaster is a part of the fold: a snapshot made with another one belongs to another version of the fold.
#[tokio::test(flavor = "multi_thread")]
async fn a_fold_with_a_new_version_reads_no_snapshot_of_an_older_upcaster() {
    let (_folder, database) = written_before().await;
    let snapshots = Arc::new(MemorySnapshots::default());
    let query = |codec, version| {
        QueryApi::new(Storage::with_codec(&database, codec), Text { version })
            .with_snapshots(Arc::clone(&snapshots), SnapshotPolicy::Every(1))
    };
    let shouting = Kinds::new()
        .with("Pinged", Kind::retired(1).split(|_: IgnoredAny| Ok(vec![New::Named("ping".into())])))
        .with(
            "Registered",
            Kind::retired(1).upcast(|old: Registered| Ok(New::Named(old.name.to_uppercase()))),
        );
    let before = query(shouting, 1);
    let value = before.get(&ada(), Consistency::LatestEvent).await.unwrap().unwrap();
    assert!(value.starts_with("1 named ADA;2 named ping;"), "{value}");
    before.flush().await;
    let value = query(codec(), 2).get(&ada(), Consistency::LatestEvent).await.unwrap();
    assert_eq!(value.as_deref(), Some(TEXT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_copied_only_as_it_was_written() {
    let (_folder, database) = written_before().await;
    let to = Arc::new(MemoryStorage::default());
    let typed = Migration::copying(Storage::with_codec(&database, codec()), Arc::clone(&to));
    let copied = typed.copy(Segment::ALL).await.unwrap();
    assert_eq!((copied.streams, copied.commits), (2, 0));
    let (_, error) = copied.failed.iter().find(|(stream, _)| *stream == ada()).unwrap();
    assert_eq!((error.kind(), error.stream()), (ErrorKind::Invalid, Some(ADA)), "{error:?}");
    assert!(error.to_string().contains("RawCodec"), "{error}");
    assert_eq!(to.latest(&ada()).await.unwrap(), None);

    let raw = SqliteStorage::<StreamName, u64, RawPayload, RawCodec>::with_codec(&database, RawCodec::TEXT);
    let to = Arc::new(MemoryStorage::default());
    Migration::copying(raw, Arc::clone(&to)).copy(Segment::ALL).await.unwrap();
    let pages: Vec<_> = to.events(&ada(), None).try_collect().await.unwrap();
    let bytes: Vec<_> =
        pages.iter().flat_map(|page| page.events()).map(|event| &event.payload.bytes[..]).collect();
    assert_eq!(bytes.len(), 7);
    assert_eq!(bytes[1], br#""Pinged""#);
}

//! A deployment in which an old and a new process run side by side on one file and one view. One kind of event has a new
//! version, which the old process does not know.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::codec::{Codec, Kind, Kinds};
use eventsrc_core::commit::Vec1;
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::storage::CountingStorage;
use eventsrc_core::synchronizer::{Environment, StallReason, SynchronizerSettings};
use eventsrc_core::view::{Batch, ViewError, ViewStore};
use eventsrc_core::{
    Consistency, Decider, Decision, ErrorKind, Event, Fold, Operation, Outcome, Query, QueryApi, Snapshot,
    StreamName, Synchronizer, Timestamp, ViewDefinition, fold_fn,
};
use eventsrc_sqlite::{Database, SqliteStorage, SqliteView, View};
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Events as the old process knows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Old {
    Opened,
    Moved(String),
    Noted { text: String },
}

/// Events as the new process knows them: `Moved` is at version 2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum New {
    Opened,
    Moved { street: String, city: String },
    Noted { text: String },
}

fn new_codec() -> Kinds<New> {
    let moved = |line: String| {
        let (street, city) = line.split_once(", ").ok_or("an address without a city")?;
        Ok(New::Moved { street: street.into(), city: city.into() })
    };
    Kinds::new().with("Moved", Kind::at(2).upcast(moved))
}

/// Text of an event, by which the view and the folds of both processes are compared.
trait AsText {
    fn as_text(&self) -> String;
}

impl AsText for Old {
    fn as_text(&self) -> String {
        match self {
            Self::Opened => "opened;".into(),
            Self::Moved(line) => format!("{line};"),
            Self::Noted { text } => format!("{text};"),
        }
    }
}

impl AsText for New {
    fn as_text(&self) -> String {
        match self {
            Self::Opened => "opened;".into(),
            Self::Moved { street, city } => format!("{street}, {city};"),
            Self::Noted { text } => format!("{text};"),
        }
    }
}

/// View that appends the text of each event to the row of its stream.
struct Histories;

impl<E: AsText> View<StreamName, u64, E> for Histories {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("histories", ["person"]).unwrap()
    }

    fn tables(&self) -> &[&str] {
        &["histories"]
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch("CREATE TABLE histories_v1 (stream TEXT PRIMARY KEY, text TEXT NOT NULL)")
    }

    fn apply(&self, transaction: &Connection, batch: &Batch<StreamName, u64, E>) -> Result<(), ViewError> {
        let add = "INSERT INTO histories_v1 VALUES (?1, ?2)
                   ON CONFLICT (stream) DO UPDATE SET text = text || excluded.text";
        for event in batch.events() {
            transaction.prepare_cached(add)?.execute((event.key().as_str(), event.payload.as_text()))?;
        }
        Ok(())
    }
}

/// One process: a writer, and a synchronizer of the view, which both have.
struct Process<E: AsText + Clone + Debug + Send + Sync + 'static, C> {
    storage: SqliteStorage<StreamName, u64, E, C>,
    view: SqliteView<StreamName, u64, E, Histories>,
}

impl<E, C> Process<E, C>
where
    E: AsText + Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static,
    C: Codec<E>,
{
    async fn start(path: &std::path::Path, codec: C) -> Self {
        let database = Database::open(path).await.unwrap();
        let view = SqliteView::open(&database, Histories).await.unwrap();
        Self { storage: SqliteStorage::with_codec(&database, codec), view }
    }

    fn follow(&self) -> Synchronizer<SqliteView<StreamName, u64, E, Histories>> {
        let sweep_every = Some(Duration::from_millis(20));
        let settings = SynchronizerSettings { sweep_every, ..SynchronizerSettings::default() };
        Synchronizer::start(self.storage.clone(), self.view.clone(), settings)
    }

    fn history() -> impl Fold<StreamName, u64, E, Key = StreamName, Value = String> {
        fold_fn(|_: &StreamName, text: &mut Option<String>, event: Event<'_, StreamName, u64, E>| {
            text.get_or_insert_default().push_str(&event.payload.as_text());
        })
    }

    /// Saves commits of ten events on random streams. The streams with odd numbers have events of all kinds. Returns the
    /// number of commits that are saved, and that are refused because the stream has events that are too new.
    async fn save_many(
        &self,
        seed: u64,
        commits: u64,
        moved: fn(String) -> E,
        noted: fn(String) -> E,
    ) -> (u64, u64) {
        let decider = Decider::new(self.storage.clone(), Self::history());
        let mut draws = StdRng::seed_from_u64(seed);
        let (mut saved, mut refused) = (0, 0);
        for number in 0..commits {
            let stream = draws.random_range(0..STREAMS);
            let name: StreamName = format!("person/{stream}").parse().unwrap();
            let save: Operation<E, PreconditionFailed, Snapshot<u64, String>> =
                Operation::new(move |known: &Snapshot<u64, String>| {
                    let length = known.value.as_ref().map_or(0, String::len);
                    let event = |index| match index {
                        0 if stream % 2 == 1 => moved(format!("Castle {number}, Bern")),
                        _ => noted(format!("{seed} {number} {index} after {length}")),
                    };
                    Decision::Save(Vec1::try_from_vec((0..10).map(event).collect()).unwrap())
                });
            match decider.save(&name, save).await {
                Ok(Outcome::Saved(_)) => saved += 1,
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    assert_eq!(error.source.kind(), ErrorKind::Unsupported, "{error:?}");
                    assert_eq!((error.source.stream(), error.unknown), (Some(name.as_str()), false));
                    assert!(stream % 2 == 1, "an unchanged kind was not understood: {error:?}");
                    refused += 1;
                }
            }
        }
        (saved, refused)
    }

    /// The rows of the view, and what a fold of all events gives.
    async fn rows_and_folds(&self) -> [BTreeMap<String, String>; 2] {
        let query = |connection: &Connection| {
            let mut rows = connection.prepare("SELECT stream, text FROM histories")?;
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let (_, rows) = self.view.read(&[], query).await.unwrap();
        let mut folds = BTreeMap::new();
        for stream in 0..STREAMS {
            let name: StreamName = format!("person/{stream}").parse().unwrap();
            let query = QueryApi::new(self.storage.clone(), Self::history());
            let value = query.get(&name, Consistency::LatestEvent).await;
            folds.extend(value.unwrap().map(|text| (name.to_string(), text)));
        }
        [rows, folds]
    }
}

const STREAMS: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn an_old_and_a_new_process_work_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let old = Process::start(&path, Kinds::<Old>::new()).await;
    let new = Process::start(&path, new_codec()).await;
    let (saved, _) = old.save_many(1, 500, Old::Moved, |text| Old::Noted { text }).await;
    assert_eq!(saved, 500, "before the deployment");
    let followers = (old.follow(), new.follow());
    let move_to = |line: String| {
        let (street, city) = line.split_once(", ").unwrap();
        New::Moved { street: street.into(), city: city.into() }
    };
    let ((old_saved, refused), (new_saved, _)) = futures::join!(
        old.save_many(2, 1_000, Old::Moved, |text| Old::Noted { text }),
        new.save_many(3, 500, move_to, |text| New::Noted { text }),
    );
    assert_eq!((old_saved + refused, new_saved), (1_000, 500));
    assert!(refused > 50 && old_saved > 500, "{refused} of 1000 refused");
    followers.1.sweep().await.unwrap();
    assert_eq!(followers.0.view().quarantined().await.unwrap(), []);
    let [rows, folds] = new.rows_and_folds().await;
    assert_eq!(rows.len() as u64, STREAMS);
    assert!(rows == folds, "the view differs from the folds");
    futures::join!(followers.0.stop(), followers.1.stop());
}

/// A clock that runs 600 times as fast as that of the machine.
struct Fast;

const PACE: u32 = 600;

impl Clock for Fast {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SystemClock.elapsed() * PACE
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(duration / PACE)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_that_is_alone_for_an_hour_waits_for_a_newer_one() {
    const PEOPLE: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let old = Process::start(&path, Kinds::<Old>::new()).await;
    let new = Process::start(&path, new_codec()).await;
    let decider = Decider::new(new.storage.clone(), Process::<New, Kinds<New>>::history());
    for stream in 0..PEOPLE {
        let name: StreamName = format!("person/{stream}").parse().unwrap();
        let event = match stream % 2 {
            0 => New::Opened,
            _ => New::Moved { street: "Castle 1".into(), city: "Bern".into() },
        };
        let operation = Operation::<_, PreconditionFailed, _>::insert(event);
        let _ = decider.save(&name, operation).await.unwrap().saved().unwrap();
    }
    let counted = Arc::new(CountingStorage::new(old.storage.clone()));
    let mut environment = Environment::default();
    environment.clock = Arc::new(Fast);
    let settings = SynchronizerSettings::default();
    let follower = Synchronizer::start_with(Arc::clone(&counted), old.view.clone(), settings, environment);
    Fast.sleep(Duration::from_secs(3_600)).await;
    let status = follower.status().await.unwrap();
    let reads = counted.take().reads;
    follower.stop().await;
    assert_eq!(status.quarantined, []);
    let too_new = status.stalled.iter().filter(|stalled| {
        matches!(&stalled.reason, StallReason::Unreadable(error) if error.kind() == ErrorKind::Unsupported)
    });
    assert_eq!(too_new.count() as u64, PEOPLE / 2, "each of them is shown as waiting");
    assert!(reads < 3_600 * PEOPLE / 2, "{reads} reads in an hour: more than one a second for each stream");
    let [rows, _] = new.rows_and_folds().await;
    assert_eq!(rows.len() as u64, PEOPLE / 2, "the unchanged kinds are applied");
    let newer = new.follow();
    newer.sweep().await.unwrap();
    let [rows, folds] = new.rows_and_folds().await;
    assert!(rows.len() as u64 == PEOPLE && rows == folds);
    newer.stop().await;
}

//! The view harness: sound views pass, and views with common defects do not.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::stream::ZonedSequence;
use eventsrc_core::view::{Applied, Batch, MemoryView, ViewError};
use eventsrc_core::{Commit, Event, Sequence, StreamName, ViewDefinition};
use eventsrc_sqlite::{Database, SqliteView, View};
use eventsrc_testkit::conformance::{SampleKey, ViewBackend, ViewSample};
use eventsrc_testkit::view_harness::{Checked, Disturbance, Finding, ViewHarness};
use eventsrc_tests::HANG;
use rusqlite::Connection;
use tempfile::TempDir;

use super::wrong::{Defect, WrongBackend};

type Totals = BTreeMap<String, u64>;
type Memory<T> = MemoryView<StreamName, u64, u64, T>;
type E<'a> = Event<'a, StreamName, u64, u64>;

fn definition() -> ViewDefinition {
    ViewDefinition::new("totals", ["account"]).unwrap()
}

fn account(id: u64) -> StreamName {
    StreamName::new("account", &id.to_string()).unwrap()
}

/// 60 commits of 1 to 3 events on 6 streams, and some that the view does not follow.
fn commits() -> Vec<(StreamName, Vec<u64>)> {
    let mut commits = Vec::new();
    for at in 0..60 {
        commits.push((account(at * at % 6), (0..=at % 3).map(|event| at + event).collect()));
        if at % 10 == 0 {
            commits.push((StreamName::new("other", "1").unwrap(), vec![1_000_000]));
        }
    }
    commits
}

fn add(totals: &mut Totals, event: E<'_>) -> Result<(), ViewError> {
    *totals.entry(event.key().to_string()).or_default() += event.payload;
    Ok(())
}

/// Checks an in-memory view with this code.
async fn memory<T>(
    apply: impl Fn(&mut T, E<'_>) -> Result<(), ViewError> + Clone + Send + Sync + 'static,
) -> Result<Checked, Finding>
where
    T: Clone + Default + PartialEq + std::fmt::Debug + Send + 'static,
{
    harness(apply).check(commits()).await
}

fn harness<T>(
    apply: impl Fn(&mut T, E<'_>) -> Result<(), ViewError> + Clone + Send + Sync + 'static,
) -> ViewHarness<'static, Memory<T>, T>
where
    T: Clone + Default + PartialEq + std::fmt::Debug + Send + 'static,
{
    ViewHarness::new(
        async move || MemoryView::new(definition(), apply.clone()),
        async |view: &Memory<T>| view.read(&[], T::clone).1,
    )
}

#[tokio::test]
async fn a_sound_view_passes_every_schedule() {
    let checked = memory(add).await.unwrap();
    println!("{checked:?}");
    assert_eq!(checked.schedules, 27);
    assert!(checked.crashes > 50 && checked.racing > 10, "{checked:?}");
    assert!(checked.repeated > 50 && checked.reordered > 50 && checked.lost > 50, "{checked:?}");
    assert!(checked.failed > 20, "{checked:?}");
}

#[tokio::test]
async fn a_view_that_reads_a_clock_is_detected() {
    // A clock that advances at each reading, so that no two readings are equal.
    let now = Arc::new(AtomicU64::new(0));
    let found = memory(move |rows: &mut Vec<String>, event: E<'_>| {
        let later = now.fetch_add(1, Ordering::Relaxed);
        let time = SystemClock.now() + Duration::from_secs(later);
        rows.push(format!("{} at {time}", event.payload));
        Ok(())
    });
    let found = found.await.unwrap_err();
    assert!(matches!(found, Finding::NotAFunction { .. }), "{found}");
}

#[tokio::test]
async fn a_view_that_counts_in_a_static_is_detected() {
    static EVENTS: AtomicU64 = AtomicU64::new(0);
    let found = memory(|rows: &mut Totals, event: E<'_>| {
        rows.insert(event.key().to_string(), EVENTS.fetch_add(1, Ordering::Relaxed));
        Ok(())
    });
    let found = found.await.unwrap_err();
    assert!(matches!(found, Finding::NotAFunction { .. }), "{found}");
    assert!(found.to_string().contains("account/"), "the difference is shown: {found}");
}

#[tokio::test]
async fn a_view_whose_rows_depend_on_the_order_of_streams_is_detected() {
    // The last write wins, whatever its stream.
    let found = memory(|last: &mut Option<u64>, event: E<'_>| {
        *last = Some(*event.payload);
        Ok(())
    });
    let found = found.await.unwrap_err();
    let Finding::Rows { schedule, .. } = &found else { panic!("{found}") };
    assert_eq!(schedule.seed % 9, schedule.disturbance as u64, "{found}");
    let text = found.to_string();
    assert!(text.contains(&format!("seed {}: ", schedule.seed)), "{text}");
}

#[tokio::test]
async fn the_seed_of_a_failure_reproduces_it() {
    let first_come = |rows: &mut Vec<String>, event: E<'_>| {
        let stream = event.key().to_string();
        if !rows.contains(&stream) {
            rows.push(stream);
        }
        Ok(())
    };
    let found = memory(first_come).await.unwrap_err();
    let Finding::Rows { schedule, .. } = &found else { panic!("{found}") };
    let again = harness(first_come).seeds([schedule.seed]).check(commits()).await.unwrap_err();
    assert_eq!(found.to_string(), again.to_string());
}

#[tokio::test]
async fn a_rejected_event_is_reported_with_its_sequence() {
    let found = memory(
        |_: &mut Totals, event: E<'_>| {
            if *event.payload == 17 { Err("17 is out of range".into()) } else { Ok(()) }
        },
    );
    let found = found.await.unwrap_err();
    assert!(matches!(found, Finding::Refused { .. }), "{found}");
    assert!(found.to_string().contains("17 is out of range"), "{found}");
}

#[tokio::test]
async fn a_view_that_needs_another_stream_first_is_detected() {
    // Account 1 must exist before all others.
    let found = memory(|rows: &mut Totals, event: E<'_>| {
        if event.key() != &account(0) && !rows.contains_key("account/0") {
            return Err("there is no account 0".into());
        }
        add(rows, event)
    });
    let found = found.await.unwrap_err();
    assert!(matches!(found, Finding::Quarantined { .. }), "{found}");
    assert!(found.to_string().contains("there is no account 0"), "{found}");
}

/// Variants of a view of totals in SQLite.
#[derive(Clone, Copy)]
enum Variant {
    /// Without a defect.
    Sound,
    /// It keeps the totals in memory, and writes them to the rows.
    Remembers,
    /// It adds one event of each stream in a batch.
    OneOfABatch,
    /// It numbers rows in the order of application.
    Numbers,
}

struct InSqlite {
    way: Variant,
    totals: Mutex<Totals>,
}

impl View<StreamName, u64, u64> for InSqlite {
    fn definition(&self) -> ViewDefinition {
        definition()
    }

    fn tables(&self) -> &[&str] {
        &["totals"]
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .execute_batch("CREATE TABLE totals_v1 (id TEXT PRIMARY KEY, total INT NOT NULL, place INT)")
    }

    fn apply(&self, transaction: &Connection, batch: &Batch<StreamName, u64, u64>) -> Result<(), ViewError> {
        let mut add = transaction.prepare_cached(
            "INSERT INTO totals_v1 (id, total) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET total = total + excluded.total",
        )?;
        let mut write = transaction.prepare_cached("REPLACE INTO totals_v1 (id, total) VALUES (?1, ?2)")?;
        let mut number = transaction.prepare_cached(
            "UPDATE totals_v1 SET place = (SELECT count(*) FROM totals_v1) WHERE id = ?1 AND place IS NULL",
        )?;
        for event in batch.events() {
            let id = event.key().id();
            match self.way {
                Variant::Sound => drop(add.execute((id, *event.payload as i64))?),
                Variant::Remembers => {
                    let mut totals = self.totals.lock().unwrap();
                    let total = totals.entry(id.to_owned()).or_default();
                    *total += event.payload;
                    write.execute((id, *total as i64))?;
                }
                Variant::OneOfABatch => {
                    let last = batch.events().filter(|other| other.key() == event.key()).last();
                    if last.is_some_and(|last| last.sequence() == event.sequence()) {
                        add.execute((id, *event.payload as i64))?;
                    }
                }
                Variant::Numbers => {
                    add.execute((id, *event.payload as i64))?;
                    number.execute([id])?;
                }
            }
        }
        Ok(())
    }
}

type Sqlite = SqliteView<StreamName, u64, u64, InSqlite>;

/// Checks this variant of the view in SQLite. Each schedule has its own file, which is reopened after a crash.
async fn sqlite(way: Variant, seeds: impl IntoIterator<Item = u64>) -> Result<Checked, Finding> {
    let folder = tempfile::tempdir().unwrap();
    let files = Cell::new(0);
    let harness = ViewHarness::new(
        async || {
            files.set(files.get() + 1);
            open(&folder, files.get(), way).await
        },
        async |view: &Sqlite| {
            let rows = |connection: &Connection| {
                let mut rows = connection.prepare("SELECT id, total, place FROM totals ORDER BY id")?;
                rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
            };
            let rows: rusqlite::Result<Vec<(String, i64, Option<i64>)>> =
                view.read(&[], move |connection| Ok(rows(connection))).await.unwrap().1;
            rows.unwrap()
        },
    );
    // The file that was made last is the one that is kept.
    let harness = harness.reopening(async |_: &Sqlite| open(&folder, files.get(), way).await);
    harness.seeds(seeds).check(commits()).await
}

async fn open(folder: &TempDir, file: u32, way: Variant) -> Sqlite {
    let database = Database::open(folder.path().join(format!("{file}.db"))).await.unwrap();
    SqliteView::open(&database, InSqlite { way, totals: Mutex::default() }).await.unwrap()
}

#[tokio::test]
async fn a_sound_view_in_sqlite_passes_every_schedule() {
    let checked = sqlite(Variant::Sound, 0..9).await.unwrap();
    println!("{checked:?}");
    assert!(checked.crashes > 10 && checked.racing > 2, "{checked:?}");
}

#[tokio::test]
async fn a_view_with_state_outside_of_its_rows_is_detected() {
    for disturbance in [Disturbance::Crashes, Disturbance::Races] {
        let seeds = (0..3).map(|round| disturbance as u64 + 9 * round);
        let found = sqlite(Variant::Remembers, seeds).await.unwrap_err();
        let Finding::Rows { schedule, .. } = &found else { panic!("{found}") };
        assert_eq!(schedule.disturbance, disturbance);
    }
}

#[tokio::test]
async fn a_view_that_applies_one_event_of_a_batch_is_detected() {
    let found = sqlite(Variant::OneOfABatch, 0..9).await.unwrap_err();
    assert!(matches!(found, Finding::Rows { .. }), "{found}");
}

#[tokio::test]
async fn a_view_that_numbers_its_rows_in_order_of_arrival_is_detected() {
    let found = sqlite(Variant::Numbers, [Disturbance::StreamsReordered as u64]).await.unwrap_err();
    assert!(matches!(found, Finding::Rows { .. }), "{found}");
}

/// Checks a view store with this defect, under schedules with one kind of disturbance.
async fn wrong(defect: Defect, disturbance: Disturbance) -> Result<Checked, Finding> {
    wrong_within(HANG, defect, disturbance).await
}

/// The same check. A schedule that does not end within `limit` is a failure.
async fn wrong_within(limit: Duration, defect: Defect, disturbance: Disturbance) -> Result<Checked, Finding> {
    let backend = WrongBackend(defect);
    let harness = ViewHarness::new(
        async || {
            let definition = ViewDefinition::new("ledger", ["sample"]).unwrap();
            backend.open(&backend.create().await, &definition).await
        },
        async |view| backend.rows(view).await.unwrap(),
    );
    let streams =
        (0..40).map(|at| (SampleKey::from(["a", "b", "c"][at % 3]), vec![ViewSample::Write; 1 + at % 2]));
    let seeds = (0..5).map(|round| disturbance as u64 + 9 * round);
    harness.seeds(seeds).within(limit).check(streams).await
}

#[tokio::test]
async fn view_stores_that_apply_a_commit_twice_are_detected() {
    wrong(Defect::None, Disturbance::Races).await.unwrap();
    let found = wrong(Defect::CheckThenApply, Disturbance::Races).await.unwrap_err();
    let Finding::Rows { schedule, .. } = &found else { panic!("{found}") };
    assert_eq!(schedule.disturbance, Disturbance::Races);
}

/// A store that acknowledges and forgets the end of a stream, unless it is one commit by itself.
const FORGETS_ENDS: Defect = Defect::Apply(|kept, batch| {
    let is_end = |commits: &[Arc<Commit<_, ZonedSequence, _>>]| {
        commits.len() > 1 && commits[commits.len() - 1].last().number() >= 19
    };
    if batch.streams().any(is_end) { Ok(Applied::Done) } else { kept.apply(batch) }
});

#[tokio::test]
async fn view_stores_that_lose_acknowledged_commits_are_detected() {
    let found = wrong(FORGETS_ENDS, Disturbance::Holes).await.unwrap_err();
    assert!(matches!(found, Finding::Behind { .. }), "{found}");
    // A wait for a commit that the store only claims to have never ends, so a short limit is enough.
    let limit = Duration::from_millis(700);
    let found = wrong_within(limit, FORGETS_ENDS, Disturbance::Nothing).await.unwrap_err();
    assert!(matches!(found, Finding::Stuck { .. }), "{found}");
}

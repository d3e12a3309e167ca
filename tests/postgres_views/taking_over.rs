//! Take-overs in parallel with workers and readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventsrc_core::storage::Put;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::{
    Applied, Batch, CatchUp, CommitRun, TakeOver, VersionedStore, ViewError, ViewStore,
};
use eventsrc_core::{
    ErrorKind, EventStorage, MemoryStorage, StreamName, Synchronizer, Token, ViewDefinition,
};
use eventsrc_postgres::{PostgresView, Settings, Transaction, View, tokio_postgres};
use eventsrc_tests::HANG;
use futures::FutureExt;
use futures::future::join_all;
use tokio::time::timeout;

use super::{Draft, Lines, LinesView, Location, apply, assert_says, batch, commit, line, line_of, name};

/// A catch-up that brings nothing, for versions that are not behind.
fn nothing() -> CatchUp<LinesView> {
    Box::new(|_| async { Ok(Batch::new(Vec::new())) }.boxed())
}

/// A catch-up that brings the missing ones of these commits of a stream.
fn from(commits: Vec<Draft>) -> CatchUp<LinesView> {
    Box::new(move |moves| {
        let runs = moves.into_iter().map(|moved| {
            let commits = commits[moved.from.unwrap_or(0) as usize..moved.to as usize].to_vec();
            CommitRun { stream: moved.stream, from: moved.from, commits }
        });
        let batch = Batch::new(runs.collect());
        async move { Ok(batch) }.boxed()
    })
}

async fn take_over<V>(view: &V, catch_up: CatchUp<LinesView>)
where
    V: VersionedStore<Key = StreamName, Sequence = u64, Payload = String>,
{
    let applied = timeout(HANG, view.take_over(catch_up)).await.expect("it has to end").unwrap();
    assert!(matches!(applied, TakeOver::Done), "{applied:?}");
}

/// The process of version 1 that runs again after a take-over. No process keeps version 2, which readers see.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_read_after_a_downgrade_names_the_version_that_was_read() {
    let place = Location::new().await;
    let first = place.open(Lines::new(1)).await;
    take_over(&place.open(Lines::new(2)).await, nothing()).await;
    let storage = MemoryStorage::<StreamName, u64, String>::default();
    assert!(matches!(storage.put(commit("line/1", 1, &["a"])).await.unwrap(), Put::Stored));
    let synchronizer = Synchronizer::start(storage, first.clone(), SynchronizerSettings::default());
    let token = Token::claimed(&name("line/1"), 1_u64).unwrap();
    let read = |streams: Arc<[StreamName]>| {
        let view = first.clone();
        async move { view.read(&streams, |transaction| line_of(transaction, "line/1")).await }
    };
    let stale = synchronizer.at_least(&token, Duration::from_secs(1), read).await.unwrap_err();
    let text = stale.to_string();
    for words in ["lines v2 is still behind", "line/1", "this process keeps lines v1 up to date"] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    synchronizer.stop().await;
}

/// Readers with a client of their own never miss the public name, nor see less than before, while versions take
/// over and workers go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_miss_a_public_name_nor_see_older_rows() {
    const COMMITS: usize = 60;
    let place = Location::new().await;
    let commits: Vec<_> = (1..=COMMITS as u64).map(|number| commit("line/1", number, &["x"])).collect();
    let versions = [place.open(Lines::new(1)).await, place.open(Lines::new(2)).await];
    let ended = Arc::new(AtomicBool::new(false));
    let works = |view: LinesView| {
        let commits = commits.clone();
        tokio::spawn(async move {
            loop {
                let at =
                    view.positions_of(&[name("line/1")]).await.unwrap()[0].position.unwrap_or(0) as usize;
                if at == COMMITS {
                    break;
                }
                let run = CommitRun {
                    stream: name("line/1"),
                    from: (at > 0).then_some(at as u64),
                    commits: vec![Arc::clone(&commits[at])],
                };
                let applied = view.apply(&Batch::new(vec![run])).await.unwrap();
                assert!(!matches!(applied, Applied::Rejected(_)), "{applied:?}");
            }
        })
    };
    let workers = [works(versions[0].clone()), works(versions[1].clone())];
    let readers: Vec<_> = (0..3)
        .map(|reader| {
            let (place, ended, view) = (place.clone(), Arc::clone(&ended), versions[0].clone());
            tokio::spawn(async move {
                let client = place.client().await;
                let find = client.prepare("SELECT text FROM lines WHERE stream = 'line/1'").await.unwrap();
                let mut seen = 0;
                let mut reads = 0;
                while !ended.load(Ordering::Relaxed) {
                    let (text, position) = if reader == 0 {
                        line(&view, "line/1").await
                    } else {
                        // Reader 1 uses a prepared statement, the others plain SQL.
                        let row = match reader {
                            1 => client.query_opt(&find, &[]).await,
                            _ => {
                                client.query_opt("SELECT text FROM lines WHERE stream = 'line/1'", &[]).await
                            }
                        };
                        (row.unwrap().map(|row| row.get(0)), None)
                    };
                    let count = text.map_or(0, |text: String| text.split(' ').count());
                    assert!(count >= seen, "reader {reader} saw {seen} commits, and then {count}");
                    if reader == 0 {
                        assert_eq!(position.unwrap_or(0), count as u64, "position and rows are consistent");
                    }
                    seen = count;
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for turn in 0..10 {
        take_over(&versions[1 - turn % 2], from(commits.clone())).await;
    }
    for worker in workers {
        timeout(HANG, worker).await.unwrap().unwrap();
    }
    take_over(&versions[1], from(commits.clone())).await;
    ended.store(true, Ordering::Relaxed);
    for reads in join_all(readers).await {
        assert!(reads.unwrap() > 10, "there was too little to see");
    }
    assert_eq!(line(&versions[0], "line/1").await.1, Some(COMMITS as u64));
}

/// A long-running reader delays the take-over, which gives up. It changes nothing, and can be repeated later.
#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_gives_up_behind_a_long_running_reader() {
    let place = Location::new().await;
    let versions = [place.open(Lines::new(1)).await, place.open(Lines::new(2)).await];
    let commits = [commit("line/1", 1, &["a"])];
    apply(&versions[0], &[&commits[0]]).await;
    let reader = place.client().await;
    reader.batch_execute("BEGIN; SELECT * FROM lines").await.unwrap();
    let error = timeout(HANG, versions[1].take_over(from(commits.to_vec())))
        .await
        .expect("it does not wait for ever")
        .unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["lines v2", "lock timeout"]);
    assert_eq!(versions[1].serving().await.unwrap(), 1);
    assert_eq!(versions[1].positions(None, 10).await.unwrap(), []);
    apply(&versions[0], &[&commit("line/2", 1, &["b"])]).await;
    drop(reader);
    let all = [commit("line/1", 1, &["a"])];
    let behind = versions[1].take_over(from(all.to_vec())).await;
    assert!(matches!(behind, Ok(TakeOver::Done)), "{behind:?}");
}

/// Workers that wait for a take-over leave connections for its catch-up.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_workers_leave_connections_for_the_catch_up() {
    let place = Location::new().await;
    let few = Settings { connections: 3, ..place.settings() };
    let postgres = place.connect_with(few).await;
    let first: LinesView = PostgresView::open(&postgres, Lines::new(1)).await.unwrap();
    let second: LinesView = PostgresView::open(&postgres, Lines::new(2)).await.unwrap();
    apply(&first, &[&commit("line/0", 1, &["a"])]).await;
    let (worker, other, in_the_way) = (first.clone(), second.clone(), place.clone());
    let (tell, told) = tokio::sync::oneshot::channel();
    let catch_up: CatchUp<LinesView> = Box::new(move |_| {
        async move {
            let works: Vec<_> = (1..=6)
                .map(|id| {
                    let (worker, batch) =
                        (worker.clone(), batch(&[&commit(&format!("line/{id}"), 1, &["a"])]));
                    tokio::spawn(async move { worker.apply(&batch).await })
                })
                .collect();
            let waits = "SELECT count(*) = 1 FROM pg_stat_activity
                         WHERE wait_event_type = 'Lock' AND application_name = ";
            in_the_way.until(&format!("{waits} '{}'", in_the_way.name)).await;
            // The third connection is free.
            for _ in 0..20 {
                other.positions_of(&[name("line/0")]).await?;
            }
            tell.send(works).unwrap();
            let run =
                CommitRun { stream: name("line/0"), from: None, commits: vec![commit("line/0", 1, &["a"])] };
            Ok(Batch::new(vec![run]))
        }
        .boxed()
    });
    take_over(&second, catch_up).await;
    for work in told.await.unwrap() {
        let applied = timeout(HANG, work).await.unwrap().unwrap().unwrap();
        assert!(matches!(applied, Applied::Done), "{applied:?}");
    }
    assert_eq!(first.positions(None, 10).await.unwrap().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_on_a_public_name_are_kept() {
    let place = Location::new().await;
    let versions = [place.open(Lines::new(1)).await, place.open(Lines::new(2)).await];
    let role = format!("reader_of_{}", place.name);
    place
        .execute(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON lines TO {role}",
            place.name
        ))
        .await;
    let reader = place.client().await;
    reader.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
    for turn in [1, 0, 1] {
        take_over(&versions[turn], nothing()).await;
        reader.batch_execute("SELECT * FROM lines").await.unwrap();
        assert!(reader.batch_execute("DELETE FROM lines").await.is_err());
    }
}

/// A view whose tables change from version to version.
struct Changing(u32);

impl View<StreamName, u64, String> for Changing {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("changing", ["line"]).unwrap().at_version(self.0)
    }

    fn tables(&self) -> &[&str] {
        if self.0 == 1 { &["words", "letters"] } else { &["words", "numbers"] }
    }

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        let sql = match self.0 {
            1 => "CREATE TABLE words_v1 (text text); CREATE TABLE letters_v1 (text text)",
            _ => "CREATE TABLE words_v2 (number int, text text); CREATE TABLE numbers_v2 (number int)",
        };
        transaction.batch_execute(sql).await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<StreamName, u64, String>,
    ) -> Result<(), ViewError> {
        for event in batch.events() {
            let sql = match self.0 {
                1 => "INSERT INTO words_v1 VALUES ($1)",
                _ => "INSERT INTO words_v2 VALUES (7, $1)",
            };
            transaction.execute(&transaction.prepare_cached(sql).await?, &[event.payload]).await?;
        }
        Ok(())
    }
}

/// Public names and columns change. Readers through either handle continue with statements that were prepared
/// before.
#[tokio::test(flavor = "multi_thread")]
async fn public_names_and_columns_can_change() {
    let place = Location::new().await;
    let postgres = place.connect().await;
    let first = PostgresView::open(&postgres, Changing(1)).await.unwrap();
    let second = PostgresView::open(&postgres, Changing(2)).await.unwrap();
    for view in [&first, &second] {
        let applied = view.apply(&batch(&[&commit("line/1", 1, &["a"])])).await.unwrap();
        assert!(matches!(applied, Applied::Done), "{applied:?}");
    }
    let columns = async |view: &PostgresView<StreamName, u64, String, Changing>| {
        let words = |transaction: Transaction| async move {
            let all = transaction.prepare_cached("SELECT * FROM words").await?;
            transaction.query(&all, &[]).await.map(|rows| rows[0].len())
        };
        let (places, columns) = view.read(&[name("line/1")], words).await.unwrap();
        assert_eq!(places[0].position, Some(1));
        columns
    };
    for (serving, expected) in [(None, 1), (Some(&second), 2), (Some(&first), 1), (Some(&second), 2)] {
        if let Some(view) = serving {
            take_over(view, nothing()).await;
        }
        for view in [&first, &second] {
            // On several connections.
            for found in join_all((0..4).map(|_| columns(view))).await {
                assert_eq!(found, expected);
            }
        }
        let names = place.client().await;
        let exists = async |name: &str| names.batch_execute(&format!("SELECT * FROM {name}")).await.is_ok();
        assert_eq!((exists("letters").await, exists("numbers").await), (expected == 1, expected == 2));
    }
}

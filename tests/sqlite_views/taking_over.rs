//! Take-overs between versions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventsrc_core::storage::Put;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::{
    Applied, Batch, CatchUp, CommitRun, TakeOver, VersionedStore, ViewError, ViewStore,
};
use eventsrc_core::{ErrorKind, EventStorage, StorageError, StreamName, Synchronizer, Token, ViewDefinition};
use eventsrc_sqlite::{Database, SqliteView, View};
use eventsrc_tests::HANG;
use futures::future::{join_all, join3, poll_immediate};
use futures::{FutureExt, TryStreamExt};
use rusqlite::Connection;

use super::{Lines, LinesView, Location, apply, assert_says, batch, commit, line, lines_of, name};

/// A catch-up that brings the missing commits from the storage in the same file.
fn from_storage(place: &Location) -> CatchUp<LinesView> {
    let storage = place.storage.clone();
    Box::new(move |behind| {
        async move {
            let mut runs = Vec::new();
            for moved in behind {
                let from = moved.from.map(|from| from + 1);
                let pages: Vec<_> = storage.events(&moved.stream, from).try_collect().await?;
                let commits = pages.iter().flat_map(|page| page.commits().to_vec());
                let commits: Vec<_> = commits.filter(|commit| commit.last() <= moved.to).collect();
                runs.push(CommitRun { stream: moved.stream, from: moved.from, commits });
            }
            Ok(Batch::new(runs))
        }
        .boxed()
    })
}

fn nothing() -> CatchUp<LinesView> {
    Box::new(|_| async { Ok(Batch::new(Vec::new())) }.boxed())
}

/// The process of version 1 that runs again after a take-over. No process keeps version 2, which readers see.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_read_after_a_downgrade_names_the_version_that_was_read() {
    let place = Location::new(Lines::new(1)).await;
    let second = SqliteView::open(&place.database, Lines::new(2)).await.unwrap();
    assert!(matches!(second.take_over(nothing()).await.unwrap(), TakeOver::Done));
    drop(second);
    assert!(matches!(place.storage.put(commit("line/1", 1, &["a"])).await.unwrap(), Put::Stored));
    let synchronizer =
        Synchronizer::start(place.storage.clone(), place.view.clone(), SynchronizerSettings::default());
    let token = Token::claimed(&name("line/1"), 1_u64).unwrap();
    let read = |streams: Arc<[StreamName]>| {
        let view = place.view.clone();
        async move { view.read(&streams, |connection| lines_of(connection, "lines", "line/1")).await }
    };
    let stale = synchronizer.at_least(&token, Duration::from_millis(300), read).await.unwrap_err();
    let text = stale.to_string();
    for words in ["lines v2 is still behind", "line/1", "this process keeps lines v1 up to date"] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    synchronizer.stop().await;
}

/// P14: writers and readers go on, and no reader ever sees an older row than before.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_takes_over_while_writers_and_readers_go_on() {
    const STREAMS: usize = 6;
    const COMMITS: u64 = 60;
    let place = Location::new(Lines::new(1)).await;
    let storage = place.storage.clone().with_view(&place.view).unwrap();
    let writers: Vec<_> = (0..STREAMS)
        .map(|stream| {
            let storage = storage.clone();
            tokio::spawn(async move {
                for first in 1..=COMMITS {
                    let draft = commit(&format!("line/{stream}"), first, &[&first.to_string()]);
                    assert!(matches!(storage.put(draft).await.unwrap(), Put::Stored));
                }
            })
        })
        .collect();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (view, done) = (place.view.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut seen = [0; STREAMS];
                while !done.load(Ordering::Relaxed) {
                    for (stream, seen) in seen.iter_mut().enumerate() {
                        let (text, position) = line(&view, &format!("line/{stream}")).await;
                        let position = position.unwrap_or(0);
                        let told: Vec<_> = (1..=position).map(|number| number.to_string()).collect();
                        assert_eq!(text.unwrap_or_default(), told.join(" "));
                        assert!(position >= *seen, "line/{stream} went back from {seen} to {position}");
                        *seen = position;
                    }
                }
            })
        })
        .collect();
    let second = SqliteView::open(&place.database, Lines::new(2)).await.unwrap();
    let synchronizer = Synchronizer::start(storage.clone(), second.clone(), SynchronizerSettings::default());
    synchronizer.take_over().await.unwrap();
    assert_eq!(place.view.serving().await.unwrap(), 2);
    // The first version follows in the transactions of the appends, so the second one is behind from here on.
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    synchronizer.sweep().await.unwrap();
    done.store(true, Ordering::Relaxed);
    for reader in join_all(readers).await {
        reader.unwrap();
    }
    assert_eq!(second.digest().await.unwrap(), place.view.digest().await.unwrap());
    assert_eq!(second.digest().await.unwrap().rows, STREAMS as u64);
    // And back.
    assert!(matches!(place.view.take_over(from_storage(&place)).await.unwrap(), TakeOver::Done));
    assert_eq!(second.serving().await.unwrap(), 1);
    synchronizer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_take_over_releases_the_file() {
    let place = Location::new(Lines::new(1)).await;
    let second = SqliteView::open(&place.database, Lines::new(2)).await.unwrap();
    let (one, two) = (commit("line/1", 1, &["a"]), commit("line/1", 2, &["b"]));
    apply(&place.view, &[&one]).await;
    let (asked, asking) = tokio::sync::oneshot::channel();
    let never: CatchUp<LinesView> = Box::new(|behind| {
        async move {
            let _ = asked.send(behind);
            std::future::pending().await
        }
        .boxed()
    });
    let taking_over = {
        let second = second.clone();
        tokio::spawn(async move { second.take_over(never).await })
    };
    assert_eq!(asking.await.unwrap().len(), 1);
    let next = batch(&[&two]);
    let mut waits = Box::pin(place.view.apply(&next));
    assert!(poll_immediate(&mut waits).await.is_none(), "no position moves during a take-over");
    assert_eq!(line(&place.view, "line/1").await, (Some("a".into()), Some(1)), "readers go on");
    taking_over.abort();
    assert!(taking_over.await.unwrap_err().is_cancelled());
    assert!(matches!(waits.await.unwrap(), Applied::Done));
    assert_eq!(second.serving().await.unwrap(), 1);
    assert_eq!(second.positions(None, 10).await.unwrap(), []);
}

/// A caller that does other work in between waits for the take-over, which must not wait for the caller.
#[tokio::test]
async fn a_take_over_goes_on_while_its_caller_writes_to_the_file() {
    let place = Location::new(Lines::new(1)).await;
    let second = SqliteView::open(&place.database, Lines::new(2)).await.unwrap();
    let (one, two) = (commit("line/1", 1, &["a"]), commit("line/1", 2, &["b"]));
    apply(&place.view, &[&one]).await;
    assert!(matches!(place.storage.put(one).await.unwrap(), Put::Stored));
    let mut take_over = Box::pin(second.take_over(from_storage(&place)));
    assert!(poll_immediate(&mut take_over).await.is_none());
    let put = tokio::time::timeout(HANG, place.storage.put(two)).await;
    assert!(matches!(put.expect("the take-over goes on").unwrap(), Put::Stored));
    assert_eq!(second.serving().await.unwrap(), 2);
    assert!(matches!(take_over.await.unwrap(), TakeOver::Done));
    assert_eq!(line(&second, "line/1").await, (Some("a".into()), Some(1)));
}

#[test]
fn a_version_takes_over_without_a_runtime() {
    futures::executor::block_on(async {
        let place = Location::new(Lines::new(1)).await;
        let second = SqliteView::open(&place.database, Lines::new(2)).await.unwrap();
        let one = commit("line/1", 1, &["a"]);
        apply(&place.view, &[&one]).await;
        assert!(matches!(place.storage.put(one).await.unwrap(), Put::Stored));
        assert!(matches!(second.take_over(from_storage(&place)).await.unwrap(), TakeOver::Done));
        assert_eq!(line(&second, "line/1").await, (Some("a".into()), Some(1)));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_catch_up_changes_nothing() {
    let place = Location::new(Lines::new(1)).await;
    let rejecting = Lines::with_action(2, |_| Err("no such line".into()));
    let second = SqliteView::open(&place.database, rejecting).await.unwrap();
    let bad = commit("line/1", 1, &["a", "action"]);
    let first = Lines::with_action(1, |_| Ok(()));
    let lenient = SqliteView::open(&place.database, first).await.unwrap();
    apply(&lenient, &[&bad]).await;
    assert!(matches!(place.storage.put(bad).await.unwrap(), Put::Stored));

    let answer = second.take_over(from_storage(&place)).await.unwrap();
    assert!(
        matches!(&answer, TakeOver::Rejected(error) if error.to_string() == "no such line"),
        "{answer:?}"
    );
    assert!(matches!(second.take_over(nothing()).await.unwrap(), TakeOver::Behind));
    let fails: CatchUp<LinesView> =
        Box::new(|_| async { Err(StorageError::new(ErrorKind::Unavailable, "out of reach")) }.boxed());
    assert_says(&second.take_over(fails).await.unwrap_err(), ErrorKind::Unavailable, &["out of reach"]);
    let panics: CatchUp<LinesView> = Box::new(|_| async { panic!("out of mind") }.boxed());
    let taking_over = {
        let second = second.clone();
        tokio::spawn(async move { second.take_over(panics).await.map(drop) })
    };
    assert!(taking_over.await.unwrap_err().is_panic());
    assert_eq!(second.serving().await.unwrap(), 1);
    assert_eq!(second.positions(None, 10).await.unwrap(), []);
    assert_eq!(line(&second, "line/1").await, (Some("a action".into()), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_through_one_handle_is_seen_through_all() {
    let place = Location::new(Lines::new(1)).await;
    let elsewhere = Database::open(place.path()).await.unwrap();
    let second = SqliteView::open(&elsewhere, Lines::new(2)).await.unwrap();
    let draft = commit("line/1", 1, &["a"]);
    apply(&place.view, &[&draft]).await;
    assert!(matches!(place.storage.put(draft).await.unwrap(), Put::Stored));
    for (next, serving) in [(&second, 2), (&place.view, 1), (&second, 2)] {
        assert!(matches!(next.take_over(from_storage(&place)).await.unwrap(), TakeOver::Done));
        for view in [&place.view, &second] {
            assert_eq!(view.serving().await.unwrap(), serving);
            assert_eq!(line(view, "line/1").await, (Some("a".into()), Some(1)));
        }
    }
}

/// Readers do not see what a view followed in an append before it is committed, so it must be committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_right_after_an_append_can_read_it() {
    let place = Location::new(Lines::new(1)).await;
    let storage = place.storage.clone().with_view(&place.view).unwrap();
    let second = SqliteView::open(&place.database, Lines::new(2)).await.unwrap();
    let held = place.hold();
    let mut put = Box::pin(storage.put(commit("line/1", 1, &["a"])));
    let mut take_over = Box::pin(second.take_over(from_storage(&place)));
    let mut next = Box::pin(storage.put(commit("line/1", 2, &["b"])));
    assert!(poll_immediate(&mut put).await.is_none());
    assert!(poll_immediate(&mut take_over).await.is_none());
    assert!(poll_immediate(&mut next).await.is_none());
    drop(held);
    let (put, take_over, next) = join3(put, take_over, next).await;
    assert!(matches!(take_over.unwrap(), TakeOver::Done));
    for put in [put, next] {
        assert!(matches!(put.unwrap(), Put::Stored));
    }
    assert_eq!(line(&second, "line/1").await, (Some("a".into()), Some(1)));
}

/// A view whose tables and followed categories change from version to version.
struct Changing(u32);

impl View<StreamName, u64, String> for Changing {
    fn definition(&self) -> ViewDefinition {
        let categories = if self.0 == 1 { vec!["line", "page"] } else { vec!["line"] };
        ViewDefinition::new("changing", categories).unwrap().at_version(self.0)
    }

    fn tables(&self) -> &[&str] {
        if self.0 == 1 { &["both", "old"] } else { &["both", "fresh"] }
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        let own = if self.0 == 1 { "old" } else { "fresh" };
        connection.execute_batch(&format!("CREATE TABLE both_v{0} (a); CREATE TABLE {own}_v{0} (a)", self.0))
    }

    fn apply(&self, _: &Connection, _: &Batch<StreamName, u64, String>) -> Result<(), ViewError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_streams_of_only_one_version_are_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("views.db")).await.unwrap();
    let open = async |version| {
        SqliteView::<StreamName, u64, String, _>::open(&database, Changing(version)).await.unwrap()
    };
    let (first, second) = (open(1).await, open(2).await);
    let page = commit("page/1", 1, &["a"]);
    assert!(matches!(first.apply(&batch(&[&page])).await.unwrap(), Applied::Done));
    for (next, public) in [(&second, ["both", "fresh"]), (&first, ["both", "old"])] {
        let level: CatchUp<SqliteView<StreamName, u64, String, Changing>> =
            Box::new(|behind| panic!("the second version does not follow pages: {behind:?}"));
        assert!(matches!(next.take_over(level).await.unwrap(), TakeOver::Done));
        let names = next.read(&[], |connection| {
            connection
                .prepare("SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name")?
                .query_map([], |row| row.get::<_, String>(0))?
                .collect::<Result<Vec<_>, _>>()
        });
        assert_eq!(names.await.unwrap().1, public);
    }
}

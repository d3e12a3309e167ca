//! Views that are applied in the transaction of the append.

use std::sync::Arc;

use eventsrc_core::storage::Put;
use eventsrc_core::stream::{Zone, ZonedSequence};
use eventsrc_core::view::{StreamPosition as At, ViewStore};
use eventsrc_core::{Commit, ErrorKind, EventStorage, Sequence, StreamName};
use eventsrc_sqlite::{Database, Settings, SqliteStorage, SqliteView};
use futures::future::{join_all, poll_immediate};

use super::{Action, Draft, Lines, Location, Storage, apply, assert_says, commit, line, name};

/// A file whose storage applies the view.
async fn following(view: Lines) -> Location {
    let place = Location::new(view).await;
    let storage = place.storage.clone().with_view(&place.view).unwrap();
    Location { storage, ..place }
}

async fn store(storage: &Storage, commit: &Draft) {
    let put = storage.put(Arc::clone(commit)).await.unwrap();
    assert!(matches!(put, Put::Stored), "{put:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_visible_when_the_put_returns_and_cost_no_sync() {
    let place = following(Lines::new(1)).await;
    let before = place.database.disk_commits();
    let commits =
        [commit("line/1", 1, &["a", "b"]), commit("line/1", 3, &["c"]), commit("user/1", 1, &["x"])];
    store(&place.storage, &commits[0]).await;
    assert_eq!(line(&place.view, "line/1").await, (Some("a b".into()), Some(2)));
    for commit in &commits[1..] {
        store(&place.storage, commit).await;
    }
    assert_eq!(line(&place.view, "line/1").await, (Some("a b c".into()), Some(3)));
    assert_eq!(line(&place.view, "user/1").await, (None, None), "the view does not follow users");
    assert_eq!(place.database.disk_commits() - before, 3);

    // A put that stores nothing changes nothing in the view.
    assert!(matches!(place.storage.put(Arc::clone(&commits[0])).await.unwrap(), Put::Repeated { .. }));
    let late = commit("line/1", 3, &["d"]);
    assert!(matches!(place.storage.put(late).await.unwrap(), Put::Conflict(_)));
    assert_eq!(line(&place.view, "line/1").await, (Some("a b c".into()), Some(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_one_group_are_applied_in_order() {
    let place = following(Lines::new(1)).await;
    let held = place.hold();
    let commits: Vec<_> = (1..=20).map(|first| commit("line/1", first, &[&first.to_string()])).collect();
    let mut puts: Vec<_> =
        commits.iter().map(|commit| Box::pin(place.storage.put(Arc::clone(commit)))).collect();
    for put in &mut puts {
        assert!(poll_immediate(put).await.is_none(), "nothing can be stored yet");
    }
    drop(held);
    for put in join_all(puts).await {
        assert!(matches!(put.unwrap(), Put::Stored));
    }
    let told: Vec<_> = (1..=20).map(|number: u64| number.to_string()).collect();
    assert_eq!(line(&place.view, "line/1").await, (Some(told.join(" ")), Some(20)));
}

/// P13: the commit is stored, its stream is quarantined with the reason, and the others go on.
async fn is_quarantined(action: Action, words: &str) {
    let place = following(Lines::with_action(1, action)).await;
    store(&place.storage, &commit("line/bad", 1, &["a"])).await;
    let held = place.hold();
    let commits = [
        commit("line/good", 1, &["b"]),
        commit("line/bad", 2, &["c", "action"]),
        commit("line/good", 2, &["d"]),
        commit("line/bad", 4, &["e"]),
    ];
    let mut puts: Vec<_> =
        commits.iter().map(|commit| Box::pin(place.storage.put(Arc::clone(commit)))).collect();
    for put in &mut puts {
        assert!(poll_immediate(put).await.is_none(), "nothing can be stored yet");
    }
    drop(held);
    for put in join_all(puts).await {
        assert!(matches!(put.unwrap(), Put::Stored));
    }
    assert_eq!(line(&place.view, "line/bad").await, (Some("a".into()), Some(1)));
    assert_eq!(line(&place.view, "line/good").await, (Some("b d".into()), Some(2)));
    let quarantined = place.view.quarantined().await.unwrap();
    let [poison] = quarantined.as_slice() else { panic!("{quarantined:?}") };
    assert_eq!((poison.stream.as_str(), poison.position, poison.sequence), ("line/bad", Some(1), 2));
    assert_eq!(poison.time, commits[1].time);
    assert!(poison.error.contains(words), "{words:?} is not in {}", poison.error);
    let head = place.storage.latest(&name("line/bad")).await.unwrap();
    assert_eq!(head, Some(commits[3].head()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_view_rejects_is_stored_and_its_stream_is_quarantined() {
    is_quarantined(|_| Err("no such line".into()), "no such line").await;
    is_quarantined(|_| panic!("out of lines"), "out of lines").await;
    is_quarantined(|connection| Ok(Lines::add(connection, 1, "line/x", "forbidden")?), "CHECK").await;
    is_quarantined(|connection| Ok(connection.execute_batch("COMMIT")?), "must not").await;
    is_quarantined(|connection| Ok(connection.execute_batch("DELETE FROM commits")?), "must not").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_rolls_everything_back_loses_no_commit() {
    const ROLLS_BACK: &str = "INSERT OR ROLLBACK INTO lines_v1 (stream, text) VALUES ('x', 'forbidden')";
    is_quarantined(|connection| Ok(connection.execute_batch(ROLLS_BACK)?), "CHECK").await;
    is_quarantined(
        |connection| {
            let _ = connection.execute_batch(ROLLS_BACK);
            Ok(Lines::add(connection, 1, "line/x", "alone")?)
        },
        "must not",
    )
    .await;
}

/// Nothing of one view is committed separately because another view ended the transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_rolls_everything_back_affects_no_other_view() {
    let rolls_back: Action = |connection| {
        let sql = "INSERT OR ROLLBACK INTO lines_v1 (stream, text) VALUES ('x', 'forbidden')";
        let _ = connection.execute_batch(sql);
        Ok(())
    };
    let place = following(Lines::with_action(1, rolls_back)).await;
    let second = SqliteView::open(&place.database, Lines::with_action(2, |_| Ok(()))).await.unwrap();
    let storage = place.storage.clone().with_view(&second).unwrap();
    store(&storage, &commit("line/1", 1, &["a"])).await;
    store(&storage, &commit("line/1", 2, &["b", "action"])).await;
    store(&storage, &commit("line/1", 4, &["c"])).await;
    let quarantined = place.view.quarantined().await.unwrap();
    let [poison] = quarantined.as_slice() else { panic!("{quarantined:?}") };
    assert!(poison.error.contains("rolled back"), "{}", poison.error);
    assert_eq!(line(&place.view, "line/1").await, (Some("a".into()), Some(1)));
    let text =
        second.read(&[], |connection| super::lines_of(connection, "lines_v2", "line/1")).await.unwrap().1;
    assert_eq!(text.as_deref(), Some("a b action c"));
    let places = second.positions_of(&[name("line/1")]).await.unwrap();
    assert_eq!(places, [At { position: Some(4), quarantined: false }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violated_deferred_constraint_loses_no_commit() {
    const ORPHANS: &str = "UPDATE lines_v1 SET parent = 'nobody' WHERE stream = 'line/bad'";
    is_quarantined(|connection| Ok(connection.execute_batch(ORPHANS)?), "FOREIGN KEY").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_stores_neither_the_commit_nor_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { largest_file: Some(256 * 1024), ..Settings::default() };
    let database = Database::open_with(folder.path().join("events.db"), settings).await.unwrap();
    let large: Action = |connection| Ok(Lines::add(connection, 1, "line/1", &"x".repeat(1 << 20))?);
    let view = SqliteView::open(&database, Lines::with_action(1, large)).await.unwrap();
    let storage: Storage = SqliteStorage::new(&database).with_view(&view).unwrap();
    let draft = commit("line/1", 1, &["action"]);
    let error = storage.put(Arc::clone(&draft)).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["full", "lines v1", "line/1", "sequence 1"]);
    assert_eq!(storage.latest(&draft.key).await.unwrap(), None);
    assert_eq!(line(&view, "line/1").await, (None, None));
    store(&storage, &commit("line/1", 1, &["a"])).await;
    assert_eq!(line(&view, "line/1").await, (Some("a".into()), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_added_later_follows_once_it_has_caught_up() {
    let place = Location::new(Lines::new(1)).await;
    let commits: Vec<_> = (1..=4).map(|first| commit("line/1", first, &[&first.to_string()])).collect();
    store(&place.storage, &commits[0]).await;
    let storage = place.storage.clone().with_view(&place.view).unwrap();
    store(&storage, &commits[1]).await;
    assert_eq!(line(&place.view, "line/1").await, (None, None));
    for commit in &commits[..2] {
        apply(&place.view, &[commit]).await;
    }
    store(&storage, &commits[2]).await;
    assert_eq!(line(&place.view, "line/1").await, (Some("1 2 3".into()), Some(3)));
    // Another handle, which does not follow the view.
    store(&place.storage, &commits[3]).await;
    assert_eq!(line(&place.view, "line/1").await.1, Some(3));
    store(&storage, &commit("line/1", 5, &["5"])).await;
    assert_eq!(line(&place.view, "line/1").await.1, Some(3));
    assert_eq!(place.view.quarantined().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_views_follow_until_they_are_retired() {
    use eventsrc_core::view::VersionedStore;

    let place = following(Lines::new(1)).await;
    let second = SqliteView::open(&place.database, Lines::new(2)).await.unwrap();
    let storage = place.storage.clone().with_view(&second).unwrap();
    store(&storage, &commit("line/1", 1, &["a"])).await;
    for view in [&place.view, &second] {
        assert_eq!(view.positions_of(&[name("line/1")]).await.unwrap()[0].position, Some(1));
    }
    second.retire().await.unwrap();
    store(&storage, &commit("line/1", 2, &["b"])).await;
    assert_eq!(line(&place.view, "line/1").await, (Some("a b".into()), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_another_database_cannot_follow() {
    let (place, other) = (Location::new(Lines::new(1)).await, Location::new(Lines::new(1)).await);
    let error = place.storage.clone().with_view(&other.view).unwrap_err();
    assert_says(&error, ErrorKind::Invalid, &["lines v1", "another database"]);
    // Another opening of the file has its own transactions.
    let again = Database::open(place.path()).await.unwrap();
    let error = Storage::new(&again).with_view(&place.view).unwrap_err();
    assert_says(&error, ErrorKind::Invalid, &["another database"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_follows_from_zone_to_zone() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("events.db")).await.unwrap();
    let view: SqliteView<StreamName, ZonedSequence, String, Lines> =
        SqliteView::open(&database, Lines::new(1)).await.unwrap();
    let storage: SqliteStorage<StreamName, ZonedSequence, String> =
        SqliteStorage::new(&database).with_view(&view).unwrap();
    for (number, zone) in [(1, 3), (2, 1), (3, 1), (4, 9)] {
        let commit = commit("line/1", number, &["a"]);
        let first = ZonedSequence::from_parts(number, Zone(zone)).unwrap();
        let zoned = Commit {
            key: commit.key.clone(),
            first,
            previous: None,
            time: commit.time,
            metadata: commit.metadata.clone(),
            payloads: commit.payloads.clone(),
        };
        assert!(matches!(storage.put(Arc::new(zoned)).await.unwrap(), Put::Stored));
        let places = view.positions_of(&[name("line/1")]).await.unwrap();
        assert_eq!(places, [At { position: Some(first), quarantined: false }]);
    }
}

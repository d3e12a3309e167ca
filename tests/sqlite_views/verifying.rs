//! Rows that were changed by hand are found, and others are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::verify::{TableDifference, Verification, VerifyError, verify};
use eventsrc_core::view::ViewStore;
use eventsrc_core::{ErrorKind, Operation, SaveApi, Synchronizer};
use eventsrc_sqlite::SqliteView;
use eventsrc_tests::HANG;
use rusqlite::Connection;
use tokio::time::timeout;

use super::{Lines, LinesView, Location, Storage, apply, commit, line, name};

/// Number of the version that is only for verifications.
const SCRATCH: u32 = 1_000;

/// A file with events and the view.
struct Verified {
    storage: Storage,
    view: LinesView,
    place: Location,
}

impl Verified {
    async fn new(code: Lines) -> Self {
        let place = Location::new(code).await;
        Self { storage: place.storage.clone(), view: place.view.clone(), place }
    }

    async fn open(&self, version: u32) -> LinesView {
        SqliteView::open(&self.place.database, Lines::new(version)).await.unwrap()
    }

    async fn try_verify(&self, scratch: u32) -> Result<Verification, VerifyError> {
        let database = &self.place.database;
        verify(&self.storage, &self.view, || SqliteView::open(database, Lines::new(scratch))).await
    }

    /// Changes rows by hand.
    async fn execute(&self, sql: &str) {
        Connection::open(self.place.path()).unwrap().execute_batch(sql).unwrap();
    }

    async fn has_scratch_table(&self) -> bool {
        let connection = Connection::open(self.place.path()).unwrap();
        let find = format!("SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'lines_v{SCRATCH}'");
        connection.query_row(&find, [], |row| row.get(0)).unwrap()
    }

    /// Saves these texts, one in each commit.
    async fn save(&self, stream: &str, texts: &[&str]) {
        let saves = SaveApi::new(self.storage.clone());
        for text in texts {
            let saved = saves.save(&name(stream), Operation::insert((*text).to_owned())).await.unwrap();
            assert!(saved.saved().is_some());
        }
    }

    /// Lets a synchronizer apply everything.
    async fn keep(&self) -> Synchronizer<LinesView> {
        let settings = SynchronizerSettings { sweep_every: None, ..SynchronizerSettings::default() };
        let synchronizer = Synchronizer::start(self.storage.clone(), self.view.clone(), settings);
        synchronizer.sweep().await.unwrap();
        synchronizer
    }

    async fn verify(&self) -> Verification {
        timeout(HANG, self.try_verify(SCRATCH)).await.expect("it ends").unwrap()
    }

    /// The only table that differs.
    async fn difference(&self) -> TableDifference {
        match self.verify().await {
            Verification::Different(mut tables) if tables.len() == 1 => tables.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

/// A view of 30 streams, all applied.
async fn thirty() -> Verified {
    let verified = Verified::new(Lines::new(1)).await;
    for number in 0..30 {
        verified.save(&format!("line/{number:02}"), &["a", "b"]).await;
    }
    verified.keep().await.stop().await;
    verified
}

fn streams(difference: &TableDifference) -> Vec<&str> {
    difference.streams.iter().map(|stream| stream.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untouched_view_is_equal_and_nothing_is_left_behind() {
    let verified = thirty().await;
    for _ in 0..2 {
        assert_eq!(verified.verify().await, Verification::Equal { rows: 30 });
        assert!(!verified.has_scratch_table().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_changed_is_named() {
    let verified = thirty().await;
    verified.execute("UPDATE lines_v1 SET text = 'forged' WHERE stream = 'line/07'").await;
    let difference = verified.difference().await;
    assert_eq!((difference.table.as_str(), difference.missing, difference.extra), ("lines", 1, 1));
    assert_eq!(difference.missing_rows, ["stream='line/07', text='a b', parent=NULL"]);
    assert_eq!(difference.extra_rows, ["stream='line/07', text='forged', parent=NULL"]);
    assert_eq!(streams(&difference), ["line/07"]);
    assert!(difference.to_string().contains("stream='line/07', text='forged', parent=NULL"), "{difference}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_deleted_is_named() {
    let verified = thirty().await;
    verified.execute("DELETE FROM lines_v1 WHERE stream = 'line/07'").await;
    let difference = verified.difference().await;
    assert_eq!((difference.missing, difference.extra), (1, 0));
    assert_eq!(
        (difference.missing_rows.as_slice(), streams(&difference)),
        (["stream='line/07', text='a b', parent=NULL".to_owned()].as_slice(), vec!["line/07"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_added_is_named() {
    let verified = thirty().await;
    verified.execute("INSERT INTO lines_v1 VALUES ('line/99', 'forged', 'line/07')").await;
    let difference = verified.difference().await;
    assert_eq!((difference.missing, difference.extra), (0, 1));
    assert_eq!(
        (difference.extra_rows.as_slice(), streams(&difference)),
        (["stream='line/99', text='forged', parent='line/07'".to_owned()].as_slice(), vec!["line/99"])
    );
}

/// Another handle keeps the view and others write, while a row is wrong and while none is.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_changes_meanwhile_is_compared_at_its_positions() {
    let verified = Arc::new(thirty().await);
    let done = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (verified, done) = (Arc::clone(&verified), Arc::clone(&done));
        async move {
            let synchronizer = verified.keep().await;
            let mut number = 0;
            while !done.load(Ordering::SeqCst) {
                number += 1;
                verified.save(&format!("line/{:02}", 10 + number % 40), &["c"]).await;
                synchronizer.sweep().await.unwrap();
            }
            synchronizer.stop().await;
            number
        }
    });
    for _ in 0..5 {
        let verification = verified.verify().await;
        assert!(matches!(verification, Verification::Equal { .. }), "{verification:?}");
    }
    verified.execute("UPDATE lines_v1 SET text = 'forged' WHERE stream = 'line/07'").await;
    for _ in 0..3 {
        let difference = verified.difference().await;
        assert_eq!((difference.missing, difference.extra, streams(&difference)), (1, 1, vec!["line/07"]));
    }
    done.store(true, Ordering::SeqCst);
    assert!(writing.await.unwrap() > 5, "others wrote meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_quarantine_and_a_skipped_commit_are_no_difference() {
    let verified = Verified::new(Lines::new(1)).await;
    for number in 0..30 {
        verified.save(&format!("line/{number:02}"), &["a", "b"]).await;
    }
    verified.save("line/07", &["forbidden-free", "action", "d"]).await;
    verified.save("line/08", &["action", "d", "action", "e"]).await;
    let synchronizer = verified.keep().await;
    for _ in 0..2 {
        synchronizer.skip(&name("line/08"), "it is of no use").await.unwrap();
        synchronizer.sweep().await.unwrap();
    }
    assert_eq!(verified.view.quarantined().await.unwrap().len(), 1);
    assert_eq!(line(&verified.view, "line/08").await, (Some("a b d e".into()), Some(6)));
    assert_eq!(verified.verify().await, Verification::Equal { rows: 30 });
    verified.execute("UPDATE lines_v1 SET text = 'a b' WHERE stream = 'line/07'").await;
    assert_eq!(streams(&verified.difference().await), ["line/07"]);
    synchronizer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_verification_left_behind_is_not_used_and_is_removed() {
    let verified = thirty().await;
    let left = verified.open(SCRATCH).await;
    apply(&left, &[&commit("line/07", 1, &["stale"])]).await;
    drop(left);
    assert!(verified.has_scratch_table().await);
    assert_eq!(verified.verify().await, Verification::Equal { rows: 30 });
    assert!(!verified.has_scratch_table().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_that_fails_leaves_nothing_behind() {
    let verified = Verified::new(Lines::with_action(1, |_| Ok(()))).await;
    verified.save("line/07", &["a", "action"]).await;
    verified.save("line/08", &["a"]).await;
    verified.keep().await.stop().await;
    let error = verified.try_verify(SCRATCH).await.unwrap_err();
    assert!(
        matches!(&error, VerifyError::Rejected { stream, .. } if *stream == name("line/07")),
        "{error:?}"
    );
    assert!(!verified.has_scratch_table().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verified_version_is_no_scratch_version() {
    let verified = thirty().await;
    let error = verified.try_verify(1).await.unwrap_err();
    assert!(matches!(&error, VerifyError::Storage(error) if error.kind() == ErrorKind::Invalid), "{error:?}");
    assert_eq!(line(&verified.view, "line/07").await.1, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_the_storage_has_lost_are_an_error() {
    let verified = thirty().await;
    apply(&verified.view, &[&commit("line/50", 1, &["a"])]).await;
    let error = verified.try_verify(SCRATCH).await.unwrap_err();
    assert!(matches!(&error, VerifyError::Storage(error) if error.kind() == ErrorKind::Corrupt), "{error:?}");
    assert!(!verified.has_scratch_table().await);
}

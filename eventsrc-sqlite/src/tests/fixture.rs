//! Files, commits and a view for the tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::commit::Vec1;
use eventsrc_core::view::{Applied, Batch, CommitRun, ViewError, ViewStore};
use eventsrc_core::{Commit, CommitId, Metadata, StreamName, Timestamp, ViewDefinition};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Database, Settings, SqliteStorage, SqliteView, View};

pub(super) type Storage = SqliteStorage<StreamName, u64, String>;
pub(super) type Text = Arc<Commit<StreamName, u64, String>>;
pub(super) type TextView = SqliteView<StreamName, u64, String, Texts>;

/// Limit of a wait that ends at once unless the code is wrong.
pub(super) const HANG: Duration = Duration::from_secs(60);

/// A folder with one file.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.path().join("events.db")
    }

    pub(super) async fn open(&self, settings: Settings) -> Database {
        Database::open_with(self.path(), settings).await.unwrap()
    }

    /// Number of files; 1 if the database is closed.
    pub(super) fn files(&self) -> usize {
        std::fs::read_dir(self.0.path()).unwrap().count()
    }
}

/// A connection that holds the write lock of the file.
pub(super) fn hold(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

pub(super) fn name(stream: &str) -> StreamName {
    stream.parse().unwrap()
}

/// A commit of one event, whose id is made of its stream and sequence.
pub(super) fn commit(stream: &str, first: u64, previous: Option<&Text>, text: &str) -> Text {
    let id = stream.bytes().fold(u128::from(first) << 64, |id, byte| id.wrapping_mul(31) + u128::from(byte));
    Arc::new(Commit {
        key: name(stream),
        first,
        previous: previous.map(|commit| commit.metadata.commit_id),
        time: Timestamp::UNIX_EPOCH,
        metadata: Metadata::new(CommitId(Uuid::from_u128(id))),
        payloads: Vec1::new(text.to_owned()).into(),
    })
}

/// A view of the events of `text`, without rows.
pub(super) struct Texts(pub(super) u32);

impl View<StreamName, u64, String> for Texts {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("texts", ["text"]).unwrap().at_version(self.0)
    }

    fn tables(&self) -> &[&str] {
        &[]
    }

    fn create(&self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn apply(&self, _: &Connection, _: &Batch<StreamName, u64, String>) -> Result<(), ViewError> {
        Ok(())
    }
}

/// Two versions of the view, the second of which lacks a commit that the first one has.
pub(super) async fn two_versions(database: &Database) -> (TextView, TextView) {
    let first: TextView = SqliteView::open(database, Texts(1)).await.unwrap();
    let second: TextView = SqliteView::open(database, Texts(2)).await.unwrap();
    let commits = vec![commit("text/1", 1, None, "a")];
    let batch = Batch::new(vec![CommitRun { stream: name("text/1"), from: None, commits }]);
    assert!(matches!(first.apply(&batch).await.unwrap(), Applied::Done));
    (first, second)
}

/// Runs `test` on a current-thread runtime of a thread of its own. Panics if it does not end.
pub(super) fn must_end(test: impl Future<Output = ()> + Send + 'static) {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
        done.send(()).unwrap();
    });
    ended.recv_timeout(HANG).expect("the test ends");
}

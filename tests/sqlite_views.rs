//! Tests specific to views in SQLite: shared transactions, misbehaving views, processes and take-overs.

mod conformance;
mod inline;
mod misbehaving_views;
mod missing_tables;
mod opening;
mod processes;
mod reading;
mod retry_at_start;
mod rolling;
mod shared_transactions;
mod splitting;
mod stored;
mod synchronized;
mod taking_over;
mod verifying;

use std::path::PathBuf;
use std::sync::Arc;

use eventsrc_core::clock::Randomness;
use eventsrc_core::commit::Vec1;
use eventsrc_core::view::{Applied, Batch, CommitRun, StreamColumn, ViewError, ViewStore};
use eventsrc_core::{
    Commit, ErrorKind, Metadata, Sequence, StorageError, StreamName, Timestamp, ViewDefinition,
};
use eventsrc_sqlite::{Database, SqliteStorage, SqliteView, View};
use rusqlite::Connection;
use tempfile::TempDir;

type Storage = SqliteStorage<StreamName, u64, String>;
type Draft = Arc<Commit<StreamName, u64, String>>;
type LinesView = SqliteView<StreamName, u64, String, Lines>;

/// A view that appends each payload to the row of its stream, unless the payload asks for another action.
struct Lines {
    version: u32,
    action: Action,
}

/// The action at a payload `action`.
type Action = fn(&Connection) -> Result<(), ViewError>;

impl Lines {
    fn new(version: u32) -> Self {
        Self::with_action(version, |_| Err("an action without a test".into()))
    }

    fn with_action(version: u32, action: Action) -> Self {
        Self { version, action }
    }

    fn add(connection: &Connection, version: u32, stream: &str, text: &str) -> rusqlite::Result<()> {
        connection
            .prepare_cached(&format!(
                "INSERT INTO lines_v{version} (stream, text) VALUES (?1, ?2)
                 ON CONFLICT (stream) DO UPDATE SET text = text || ' ' || excluded.text"
            ))?
            .execute([stream, text])
            .map(drop)
    }
}

impl<S: Sequence> View<StreamName, S, String> for Lines {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("lines", ["line"]).unwrap().at_version(self.version)
    }

    fn tables(&self) -> &[&str] {
        &["lines"]
    }

    fn stream_column(&self, _table: &str) -> Option<StreamColumn> {
        Some(StreamColumn::Name("stream"))
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch(&format!(
            "CREATE TABLE lines_v{0} (
                 stream TEXT PRIMARY KEY,
                 text TEXT NOT NULL CHECK (text <> 'forbidden'),
                 parent TEXT REFERENCES lines_v{0} (stream) DEFERRABLE INITIALLY DEFERRED
             )",
            self.version
        ))
    }

    fn apply(&self, transaction: &Connection, batch: &Batch<StreamName, S, String>) -> Result<(), ViewError> {
        for event in batch.events() {
            Self::add(transaction, self.version, event.key().as_str(), event.payload)?;
            if event.payload == "action" {
                (self.action)(transaction)?;
            }
        }
        Ok(())
    }
}

/// A file with events and the view.
struct Location {
    folder: TempDir,
    database: Database,
    storage: Storage,
    view: LinesView,
}

impl Location {
    async fn new(view: Lines) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("events.db")).await.unwrap();
        let storage = SqliteStorage::new(&database);
        let view = SqliteView::open(&database, view).await.unwrap();
        Self { folder, database, storage, view }
    }

    /// Another program's connection, which holds the write lock of the file until it is dropped, so that jobs
    /// queue up.
    fn hold(&self) -> Connection {
        let other = Connection::open(self.path()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        other
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }
}

fn name(text: &str) -> StreamName {
    text.parse().unwrap()
}

/// A commit with a new id.
fn commit(stream: &str, first: u64, payloads: &[&str]) -> Draft {
    let ids = Randomness::from_system();
    let time = Timestamp::from_microsecond(1_800_000_000_000_000 + first as i64).unwrap();
    Arc::new(Commit {
        key: name(stream),
        first,
        previous: None,
        time,
        metadata: Metadata::new(ids.commit_id(time)),
        payloads: Vec1::try_from_vec(payloads.iter().map(|text| (*text).to_owned()).collect())
            .unwrap()
            .into(),
    })
}

/// A batch of these commits, each of a different stream, with the expected positions right before them.
fn batch(commits: &[&Draft]) -> Batch<StreamName, u64, String> {
    let run = |commit: &&Draft| CommitRun {
        stream: commit.key.clone(),
        from: commit.first.checked_sub(1).filter(|from| *from > 0),
        commits: vec![Arc::clone(commit)],
    };
    Batch::new(commits.iter().map(run).collect())
}

/// Applies a batch, which must succeed.
async fn apply(view: &LinesView, commits: &[&Draft]) {
    let applied = view.apply(&batch(commits)).await.unwrap();
    assert!(matches!(applied, Applied::Done), "{applied:?}");
}

/// The row of a stream and its position.
async fn line(view: &LinesView, stream: &str) -> (Option<String>, Option<u64>) {
    let stream = name(stream);
    let text = stream.to_string();
    let (places, text) =
        view.read(&[stream], move |connection| lines_of(connection, "lines", &text)).await.unwrap();
    (text, places[0].position)
}

fn lines_of(connection: &Connection, table: &str, stream: &str) -> rusqlite::Result<Option<String>> {
    use rusqlite::OptionalExtension;

    connection
        .query_row(&format!("SELECT text FROM {table} WHERE stream = ?1"), [stream], |row| row.get(0))
        .optional()
}

/// Fails unless `error` is of this kind and contains all of `words`.
fn assert_says(error: &StorageError, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(format!("{error:?}").contains(word), "{word:?} is not in {error:?}");
    }
}

/// Fails unless `applied` is a rejection that contains all of `words`.
fn assert_rejected(applied: &Applied, words: &[&str]) {
    let Applied::Rejected(error) = applied else { panic!("{applied:?}") };
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {error}");
    }
}

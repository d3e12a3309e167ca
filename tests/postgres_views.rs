//! Tests specific to views in Postgres: round trips, locks, lost connections, misbehaving views and take-overs.

mod conformance;
mod held_connection;
mod locks;
mod lost_connections;
mod misbehaving_views;
mod missing_tables;
mod opening;
mod reading;
mod retry_at_start;

mod round_trips;
mod stored;
mod synchronized;
mod taking_over;
mod verifying;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::commit::Vec1;
use eventsrc_core::view::{Applied, Batch, CommitRun, StreamColumn, ViewError, ViewStore};
use eventsrc_core::{
    Commit, ErrorKind, Metadata, Sequence, StorageError, StreamName, Timestamp, ViewDefinition,
};
use eventsrc_postgres::{Postgres, PostgresView, Settings, Transaction, View, tokio_postgres};
use eventsrc_test_servers as servers;
use eventsrc_tests::HANG;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

type Draft = Arc<Commit<StreamName, u64, String>>;
type LinesView = PostgresView<StreamName, u64, String, Lines>;

/// A view that appends each payload to the row of its stream, unless the payload asks for another action.
struct Lines {
    version: u32,
    action: Action,
}

/// The action at a payload `action`.
type Action = fn(&Transaction) -> BoxFuture<'_, Result<(), ViewError>>;

impl Lines {
    fn new(version: u32) -> Self {
        Self::with_action(version, |_| Box::pin(async { Err("an action without a test".into()) }))
    }

    fn with_action(version: u32, action: Action) -> Self {
        Self { version, action }
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

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        let create = format!(
            "CREATE TABLE lines_v{0} (
                 stream text PRIMARY KEY,
                 text text NOT NULL CHECK (text <> 'forbidden'),
                 parent text REFERENCES lines_v{0} (stream) DEFERRABLE INITIALLY DEFERRED
             )",
            self.version
        );
        transaction.batch_execute(&create).await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<StreamName, S, String>,
    ) -> Result<(), ViewError> {
        let add = format!(
            "INSERT INTO lines_v{0} AS line (stream, text) VALUES ($1, $2)
             ON CONFLICT (stream) DO UPDATE SET text = line.text || ' ' || excluded.text",
            self.version
        );
        let add = transaction.prepare_cached(&add).await?;
        for event in batch.events() {
            transaction.execute(&add, &[&event.key().as_str(), event.payload]).await?;
            if event.payload == "action" {
                (self.action)(transaction).await?;
            }
        }
        Ok(())
    }
}

/// A schema for the tables of a test, and another one for the library's tables.
#[derive(Clone)]
struct Location {
    name: String,
    url: String,
}

impl Location {
    async fn new() -> Self {
        static DATABASE: OnceCell<String> = OnceCell::const_new();
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let server = servers::postgres().await;
        let database = DATABASE.get_or_init(async || server.database("views").await).await;
        let name = format!("place_{}", PLACES.fetch_add(1, Ordering::Relaxed));
        let url = format!("{database}?application_name={name}&options=-csearch_path%3D{name}");
        let place = Self { name, url };
        place.execute(&format!("CREATE SCHEMA {}", place.name)).await;
        place
    }

    fn settings(&self) -> Settings {
        Settings { schema: format!("{}_eventsrc", self.name), connections: 4, ..Settings::default() }
    }

    /// New connections, as another process has them.
    async fn connect(&self) -> Postgres {
        self.connect_with(self.settings()).await
    }

    async fn connect_with(&self, settings: Settings) -> Postgres {
        Postgres::connect_with(&self.url, settings).await.unwrap()
    }

    /// A view with new connections.
    async fn open(&self, view: Lines) -> LinesView {
        PostgresView::open(&self.connect().await, view).await.unwrap()
    }

    /// A client that does not use the library.
    async fn client(&self) -> Client {
        let url = self.url.replace("application_name=", "application_name=other_");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Executes SQL on a new connection.
    async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap();
    }

    /// Waits until a query returns true.
    async fn until(&self, question: &str) {
        let client = self.client().await;
        let answered = async {
            while !client.query_one(question, &[]).await.unwrap().get::<_, bool>(0) {
                SystemClock.sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(HANG, answered).await.unwrap_or_else(|_| panic!("it never comes true: {question}"));
    }

    /// A query that returns true if any connection of the library is in this state.
    fn any_is(&self, state: &str) -> String {
        format!(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = '{}' AND state = '{state}'",
            self.name
        )
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
    let applied = timeout(HANG, view.apply(&batch(commits))).await.expect("it has to end").unwrap();
    assert!(matches!(applied, Applied::Done), "{applied:?}");
}

/// The row of a stream and its position, as readers see them.
async fn line(view: &LinesView, stream: &str) -> (Option<String>, Option<u64>) {
    let (places, text) =
        view.read(&[name(stream)], |transaction| line_of(transaction, stream)).await.unwrap();
    (text, places[0].position)
}

async fn line_of(transaction: Transaction, stream: &str) -> Result<Option<String>, tokio_postgres::Error> {
    let find = transaction.prepare_cached("SELECT text FROM lines WHERE stream = $1").await?;
    let row = transaction.query_opt(&find, &[&stream]).await?;
    row.map(|row| row.try_get(0)).transpose()
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
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    for word in words {
        assert!(told.contains(word), "{word:?} is not in {told}");
    }
}

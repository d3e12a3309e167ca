//! Tables, columns, privileges and names of a view that were removed by hand. It is an error of the view, and not of its
//! events.

use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::storage::Put;
use eventsrc_core::synchronizer::SynchronizerSettings;
use eventsrc_core::view::{Applied, Batch, VersionedStore, ViewError, ViewStore};
use eventsrc_core::{
    ErrorKind, EventStorage, MemoryStorage, StorageError, StreamName, Synchronizer, ViewDefinition,
};
use eventsrc_postgres::{PostgresView, Transaction, View};
use eventsrc_tests::HANG;
use futures::future::BoxFuture;
use tokio::time::timeout;

use super::{
    Action, Draft, Lines, LinesView, Location, apply, assert_says, batch, commit, line, line_of, name,
};

const TABLE: &str = "CREATE TABLE lines_v1 (stream text PRIMARY KEY, text text NOT NULL)";

const PUBLIC_NAME: &str = "CREATE VIEW lines AS SELECT * FROM lines_v1";

/// Each removes what the view needs, and brings it back. `LIBRARY` stands for the schema of the library.
const DAMAGES: [(&str, &str, &str); 6] = [
    ("ALTER TABLE lines_v1 RENAME TO kept", "ALTER TABLE kept RENAME TO lines_v1", "lines_v1"),
    (
        "ALTER TABLE lines_v1 RENAME COLUMN text TO other",
        "ALTER TABLE lines_v1 RENAME COLUMN other TO text",
        "text",
    ),
    (
        "ALTER TABLE lines_v1 DROP CONSTRAINT lines_v1_pkey CASCADE",
        "ALTER TABLE lines_v1 ADD PRIMARY KEY (stream)",
        "ON CONFLICT",
    ),
    (
        "ALTER TABLE lines_v1 ALTER COLUMN text TYPE bytea USING text::bytea",
        "ALTER TABLE lines_v1 ALTER COLUMN text TYPE text USING encode(text, 'escape')",
        "text",
    ),
    (
        "ALTER TABLE LIBRARY.view_positions RENAME TO kept",
        "ALTER TABLE LIBRARY.kept RENAME TO view_positions",
        "view_positions",
    ),
    (
        "ALTER SCHEMA LIBRARY RENAME TO kept_LIBRARY",
        "ALTER SCHEMA kept_LIBRARY RENAME TO LIBRARY",
        "does not exist",
    ),
];

async fn by_hand(place: &Location, sql: &str) {
    place.execute(&sql.replace("LIBRARY", &place.settings().schema)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_refused_until_the_object_is_back() {
    for (damage, repair, words) in DAMAGES {
        let place = Location::new().await;
        let view = place.open(Lines::new(1)).await;
        // The public name depends on the columns, and the constraint on the type.
        place.execute("DROP VIEW lines; ALTER TABLE lines_v1 DROP CONSTRAINT lines_v1_text_check").await;
        apply(&view, &[&commit("line/1", 1, &["a"])]).await;
        by_hand(&place, damage).await;
        let next = commit("line/1", 2, &["b"]);
        for _ in 0..2 {
            let error = view.apply(&batch(&[&next])).await.unwrap_err();
            assert_says(&error, ErrorKind::Refused, &["cannot apply the view lines v1", words]);
        }
        by_hand(&place, repair).await;
        place.execute(PUBLIC_NAME).await;
        apply(&view, &[&next]).await;
        assert_eq!(line(&view, "line/1").await, (Some("a b".into()), Some(2)), "{damage}");
    }
}

/// P13: 30 streams, of which none goes into quarantine. Once the table is back, all are applied without a call.
#[tokio::test(flavor = "multi_thread")]
async fn a_synchronizer_waits_for_the_table_and_continues() {
    let place = Location::new().await;
    let view = place.open(Lines::new(1)).await;
    place.execute("DROP TABLE lines_v1 CASCADE").await;
    let storage = MemoryStorage::<StreamName, u64, String>::default();
    let streams: Vec<_> = (0..30).map(|stream| format!("line/{stream}")).collect();
    for stream in &streams {
        assert!(matches!(storage.put(commit(stream, 1, &["a"])).await.unwrap(), Put::Stored));
    }
    let retry = BackoffSettings { longest_wait: Duration::from_millis(20), ..BackoffSettings::default() };
    let settings = SynchronizerSettings { retry, ..SynchronizerSettings::default() };
    let synchronizer = Synchronizer::start(storage, view.clone(), settings);
    let refused = async {
        loop {
            let status = synchronizer.status().await.unwrap();
            assert_eq!(status.quarantined, []);
            if let Some(error) = status.last_error() {
                assert_says(&error, ErrorKind::Refused, &["lines_v1", "does not exist"]);
                break;
            }
            SystemClock.sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(HANG, refused).await.expect("the status shows the error");
    place.execute(TABLE).await;
    place.execute(PUBLIC_NAME).await;
    timeout(HANG, synchronizer.sweep()).await.expect("it continues").unwrap();
    for stream in &streams {
        assert_eq!(line(&view, stream).await, (Some("a".into()), Some(1)));
    }
    let status = synchronizer.status().await.unwrap();
    assert_eq!((status.quarantined, status.stalled.len(), status.last_errors.len()), (vec![], 0, 0));
    synchronizer.stop().await;
}

/// Code that hides the error of Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_found_although_the_code_hides_the_error() {
    fn hides(transaction: &Transaction) -> BoxFuture<'_, Result<(), ViewError>> {
        Box::pin(async {
            transaction.execute("SELECT text FROM lines_v1", &[]).await.map_err(|_| "it did not work")?;
            Ok(())
        })
    }
    fn panics(transaction: &Transaction) -> BoxFuture<'_, Result<(), ViewError>> {
        Box::pin(async {
            transaction.execute("SELECT text FROM lines_v1", &[]).await.expect("it works");
            Ok(())
        })
    }
    for action in [hides as Action, panics] {
        let place = Location::new().await;
        let view: PostgresView<StreamName, u64, String, Other> =
            PostgresView::open(&place.connect().await, Other(Lines::with_action(1, action))).await.unwrap();
        place.execute("DROP TABLE lines_v1 CASCADE").await;
        let error = view.apply(&batch(&[&commit("line/1", 1, &["action"])])).await.unwrap_err();
        assert_says(&error, ErrorKind::Refused, &["lines v1", "lines_v1 is missing"]);
    }
}

/// A view of which only the action touches the table.
struct Other(Lines);

impl View<StreamName, u64, String> for Other {
    fn definition(&self) -> ViewDefinition {
        <Lines as View<StreamName, u64, String>>::definition(&self.0)
    }

    fn tables(&self) -> &[&str] {
        &["lines"]
    }

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        transaction.batch_execute(TABLE).await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        _: &Batch<StreamName, u64, String>,
    ) -> Result<(), ViewError> {
        (self.0.action)(transaction).await
    }
}

/// Objects that the view's code names in addition to its own tables.
#[tokio::test(flavor = "multi_thread")]
async fn any_missing_name_in_the_code_is_refused() {
    async fn outcome(action: Action) -> Result<Applied, StorageError> {
        let view = Location::new().await.open(Lines::with_action(1, action)).await;
        view.apply(&batch(&[&commit("line/1", 1, &["action"])])).await
    }
    macro_rules! executes {
        ($($sql:literal),*) => {
            [$(|transaction| Box::pin(async move { Ok(transaction.batch_execute($sql).await?) })),*]
        };
    }
    let names: [Action; 6] = executes!(
        "INSERT INTO nowhere VALUES (1)",
        "SELECT absent FROM lines_v1",
        "SELECT absent(1)",
        "SELECT 1::absent",
        "SELECT 1 FROM absent.lines_v1",
        "CREATE TABLE absent.own (a int)"
    );
    for action in names {
        let error = outcome(action).await.unwrap_err();
        assert_says(&error, ErrorKind::Refused, &["cannot apply the view lines v1"]);
    }
}

/// The privileges of a service that are taken away and given again.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_privilege_is_refused_until_it_is_back() {
    let place = Location::new().await;
    let owner = place.connect().await;
    let _view: LinesView = PostgresView::open(&owner, Lines::new(1)).await.unwrap();
    let role = format!("reader_of_{}", place.name);
    let grant = format!(
        "GRANT USAGE ON SCHEMA {0} TO {role};
         GRANT SELECT, INSERT, UPDATE ON lines_v1 TO {role}; GRANT SELECT ON lines TO {role}",
        place.name
    );
    place.execute(&format!("CREATE ROLE {role} LOGIN; {grant}")).await;
    owner.grant_service(&role).await.unwrap();
    let served = Location { url: place.url.replace("postgres@", &format!("{role}@")), ..place.clone() };
    let service = served.open(Lines::new(1)).await;
    let schema = place.settings().schema;
    let revokes = [
        format!("REVOKE INSERT ON lines_v1 FROM {role}"),
        format!("REVOKE USAGE ON SCHEMA {} FROM {role}", place.name),
        format!("REVOKE UPDATE ON {schema}.view_positions FROM {role}"),
        format!("REVOKE SELECT ON {schema}.view_versions FROM {role}"),
    ];
    for (first, revoke) in (1..).zip(revokes) {
        place.execute(&revoke).await;
        let next: Draft = commit("line/1", first, &["a"]);
        let error = service.apply(&batch(&[&next])).await.expect_err(&revoke);
        assert_says(&error, ErrorKind::Refused, &["cannot apply the view lines v1"]);
        place.execute(&grant).await;
        owner.grant_service(&role).await.unwrap();
        apply(&service, &[&next]).await;
    }
    place.execute(&format!("REVOKE SELECT ON lines FROM {role}")).await;
    let read = service.read(&[], |transaction| line_of(transaction, "line/1")).await;
    assert_says(&read.unwrap_err(), ErrorKind::Refused, &["permission denied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_refused_until_the_object_is_back() {
    let place = Location::new().await;
    let view = place.open(Lines::new(1)).await;
    apply(&view, &[&commit("line/1", 1, &["a"])]).await;
    for (damage, repair, words) in [
        ("DROP VIEW lines", PUBLIC_NAME, "its public name lines is missing"),
        ("DROP VIEW lines", PUBLIC_NAME, "CREATE VIEW \"lines\" AS SELECT * FROM \"lines_v1\""),
        (
            "ALTER VIEW lines RENAME COLUMN text TO other",
            "ALTER VIEW lines RENAME COLUMN other TO text",
            "text",
        ),
        (DAMAGES[4].0, DAMAGES[4].1, "view_positions"),
        (DAMAGES[5].0, DAMAGES[5].1, "does not exist"),
    ] {
        by_hand(&place, damage).await;
        let streams = [name("line/1")];
        let read = view.read(&streams, |transaction| line_of(transaction, "line/1"));
        assert_says(&read.await.unwrap_err(), ErrorKind::Refused, &["cannot read the view", words]);
        by_hand(&place, repair).await;
        assert_eq!(line(&view, "line/1").await, (Some("a".into()), Some(1)));
    }
}

async fn open(place: &Location, version: u32) -> Result<LinesView, StorageError> {
    PostgresView::open(&place.connect().await, Lines::new(version)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_without_its_table_or_its_public_name_does_not_open() {
    let place = Location::new().await;
    open(&place, 1).await.unwrap();
    place.execute("DROP VIEW lines").await;
    let error = open(&place, 1).await.unwrap_err();
    assert_says(
        &error,
        ErrorKind::Refused,
        &["cannot open the view lines v1", "lines is missing", "CREATE VIEW"],
    );
    place.execute(PUBLIC_NAME).await;
    open(&place, 1).await.unwrap();
    place.execute("DROP TABLE lines_v1 CASCADE").await;
    let error = open(&place, 1).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["cannot open the view lines v1", "lines_v1 is missing"]);
    place.execute(TABLE).await;
    assert!(open(&place, 1).await.is_err(), "the public name went with the table");
    // A version that does not serve needs no public name.
    open(&place, 2).await.unwrap();
    open(&place, 2).await.unwrap();
    place.execute(PUBLIC_NAME).await;
    open(&place, 1).await.unwrap();
}

/// The way out if the table cannot be restored: another version takes over.
#[tokio::test(flavor = "multi_thread")]
async fn another_version_replaces_one_whose_table_is_missing() {
    let place = Location::new().await;
    let first = open(&place, 1).await.unwrap();
    let storage = MemoryStorage::<StreamName, u64, String>::default();
    assert!(matches!(storage.put(commit("line/1", 1, &["a"])).await.unwrap(), Put::Stored));
    apply(&first, &[&commit("line/1", 1, &["a"])]).await;
    place.execute("DROP TABLE lines_v1 CASCADE").await;
    let second = open(&place, 2).await.unwrap();
    let synchronizer = Synchronizer::start(storage, second.clone(), SynchronizerSettings::default());
    timeout(HANG, synchronizer.take_over()).await.expect("it takes over").unwrap();
    synchronizer.stop().await;
    assert_eq!(line(&second, "line/1").await, (Some("a".into()), Some(1)));
    first.retire().await.unwrap();
    assert_eq!(first.positions(None, 10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_table_is_missing_is_retired_with_and_without_a_handle() {
    let place = Location::new().await;
    open(&place, 1).await.unwrap();
    for with_handle in [true, false] {
        let second = open(&place, 2).await.unwrap();
        apply(&second, &[&commit("line/1", 1, &["a"])]).await;
        place.execute("DROP TABLE lines_v2").await;
        if with_handle {
            second.retire().await.unwrap();
        } else {
            assert_says(&open(&place, 2).await.unwrap_err(), ErrorKind::Refused, &["lines_v2 is missing"]);
            LinesView::retire_unopened(&place.connect().await, Lines::new(2)).await.unwrap();
        }
        let again = open(&place, 2).await.unwrap();
        assert_eq!(again.positions(None, 10).await.unwrap(), []);
        again.retire().await.unwrap();
    }
    let error = LinesView::retire_unopened(&place.connect().await, Lines::new(1)).await.unwrap_err();
    assert_says(&error, ErrorKind::Invalid, &["serving version"]);
}

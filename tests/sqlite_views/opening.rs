//! Opening of views, and views that are refused.

use eventsrc_core::view::{Batch, VersionedStore, ViewError, ViewStore};
use eventsrc_core::{ErrorKind, StorageError, StreamName, ViewDefinition};
use eventsrc_sqlite::{Database, SqliteView, View};
use futures::future::join_all;
use rusqlite::Connection;

use super::{Lines, Location, apply, assert_says, commit, line};

/// A view whose definition and code a test chooses.
struct TestView {
    definition: ViewDefinition,
    tables: &'static [&'static str],
    create: fn(&Connection) -> rusqlite::Result<()>,
}

impl TestView {
    fn new(
        name: &str,
        tables: &'static [&'static str],
        create: fn(&Connection) -> rusqlite::Result<()>,
    ) -> Self {
        Self { definition: ViewDefinition::new(name, ["line"]).unwrap(), tables, create }
    }

    fn at_version(self, version: u32) -> Self {
        Self { definition: self.definition.at_version(version), ..self }
    }
}

impl View<StreamName, u64, String> for TestView {
    fn definition(&self) -> ViewDefinition {
        self.definition.clone()
    }

    fn tables(&self) -> &[&str] {
        self.tables
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        (self.create)(connection)
    }

    fn apply(&self, _: &Connection, _: &Batch<StreamName, u64, String>) -> Result<(), ViewError> {
        Ok(())
    }
}

async fn open(
    database: &Database,
    view: TestView,
) -> Result<SqliteView<StreamName, u64, String, TestView>, StorageError> {
    SqliteView::open(database, view).await
}

/// The schema of the file without the library's own tables.
fn schema(place: &Location) -> Vec<String> {
    let connection = Connection::open(place.path()).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT type || ' ' || name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE 'view_%'
             AND name NOT IN ('streams', 'commits', 'snapshots') ORDER BY name",
        )
        .unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_again_changes_nothing() {
    let place = Location::new(Lines::new(1)).await;
    apply(&place.view, &[&commit("line/1", 1, &["a"])]).await;
    let syncs = place.database.disk_commits();
    let again = SqliteView::open(&place.database, Lines::new(1)).await.unwrap();
    assert_eq!(place.database.disk_commits(), syncs);
    assert_eq!(line(&again, "line/1").await, (Some("a".into()), Some(1)));
    assert_eq!(schema(&place), ["view lines", "table lines_v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_open_a_new_view_at_once_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let opened = (1..=8).map(|number| {
        let path = folder.path().join("events.db");
        async move {
            let database = Database::open(path).await.unwrap();
            SqliteView::<StreamName, u64, String, _>::open(&database, Lines::new(1 + number % 2))
                .await
                .unwrap()
        }
    });
    let views = join_all(opened).await;
    let serving = views[0].serving().await.unwrap();
    for (first, view) in (1..).zip(views.iter().filter(|view| view.definition().version() == serving)) {
        apply(view, &[&commit("line/1", first, &["a"])]).await;
    }
    for view in &views {
        assert_eq!(view.serving().await.unwrap(), serving);
        assert_eq!(line(view, "line/1").await, (Some("a a a a".into()), Some(4)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_table_names_are_refused() {
    let place = Location::new(Lines::new(1)).await;
    let names: [&'static [&'static str]; 8] = [
        &[""],
        &["Users"],
        &["user s"],
        &["users\" AS SELECT 1; --"],
        &["1users"],
        &["users", "users"],
        &["lines_v1"],
        &["users", "users_v23"],
    ];
    for names in names {
        let error = open(&place.database, TestView::new("names", names, |_| Ok(()))).await.unwrap_err();
        assert_says(&error, ErrorKind::Invalid, &["names v1"]);
    }
    assert_eq!(schema(&place), ["view lines", "table lines_v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_taken_are_refused() {
    let place = Location::new(Lines::new(1)).await;
    Connection::open(place.path())
        .unwrap()
        .execute_batch("CREATE TABLE theirs (a); CREATE TABLE own_v1 (a)")
        .unwrap();
    for (tables, words) in [
        (&["lines"][..], &["names v1", "the view lines has a table lines"][..]),
        (&["theirs"], &["table theirs"]),
        (&["own"], &["table own_v1"]),
        (&["commits"], &["table commits"]),
        (&["view_positions"], &["table view_positions"]),
    ] {
        let error = open(&place.database, TestView::new("names", tables, |_| Ok(()))).await.unwrap_err();
        assert_says(&error, ErrorKind::Refused, words);
    }
    // The public names of any version of another view are taken, even if that version does not serve.
    let second = TestView::new("names", &["names"], |c| c.execute_batch("CREATE TABLE names_v1 (a)"));
    open(&place.database, second).await.unwrap();
    let third = TestView::new("names", &["names", "mails"], |c| {
        c.execute_batch("CREATE TABLE names_v2 (a); CREATE TABLE mails_v2 (a)")
    });
    open(&place.database, third.at_version(2)).await.unwrap();
    let error = open(&place.database, TestView::new("post", &["mails"], |_| Ok(()))).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["post v1", "the view names has a table mails"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_does_not_make_its_tables_is_refused_and_leaves_nothing_behind() {
    let place = Location::new(Lines::new(1)).await;
    type Create = fn(&Connection) -> rusqlite::Result<()>;
    let cases: [(Create, &[&str]); 6] = [
        (|_| Ok(()), &["did not make the table names_v1"]),
        (|c| c.execute_batch("CREATE TABLE names (a)"), &["did not make the table names_v1"]),
        (|c| c.execute_batch("CREATE VIEW names_v1 AS SELECT 1"), &["did not make the table names_v1"]),
        (
            |c| c.execute_batch("CREATE TABLE names_v1 (a); CREATE TABEL mails_v1 (a)"),
            &["make the tables", "TABEL"],
        ),
        (|c| c.execute_batch("CREATE TABLE names_v1 (a); COMMIT"), &["must not begin or end a transaction"]),
        (|_| panic!("no paper"), &["panicked", "no paper"]),
    ];
    for (create, words) in cases {
        let error = open(&place.database, TestView::new("names", &["names"], create)).await.unwrap_err();
        assert_says(&error, ErrorKind::Invalid, words);
        assert_eq!(schema(&place), ["view lines", "table lines_v1"]);
    }
    let create: Create = |c| c.execute_batch("CREATE TABLE names_v1 (a)");
    open(&place.database, TestView::new("names", &["names"], create)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_other_tables_than_it_was_made_with_is_refused() {
    let place = Location::new(Lines::new(1)).await;
    let error =
        open(&place.database, TestView::new("lines", &["lines", "words"], |_| Ok(()))).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["lines v1", "words", "was made with"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_old_handle_applies_to_a_retired_version() {
    let place = Location::new(Lines::new(1)).await;
    let second = SqliteView::open(&place.database, Lines::new(2)).await.unwrap();
    apply(&second, &[&commit("line/1", 1, &["a"])]).await;
    let clone = second.clone();
    second.retire().await.unwrap();
    second.retire().await.unwrap();
    assert_eq!(schema(&place), ["view lines", "table lines_v1"]);
    let error = clone.apply(&super::batch(&[&commit("line/1", 2, &["b"])])).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["lines v2", "retired"]);
    assert_says(&clone.digest().await.unwrap_err(), ErrorKind::Refused, &["lines v2", "retired"]);
    assert_eq!(clone.positions(None, 10).await.unwrap(), []);
    // After the version is made again, all handles can apply to it.
    SqliteView::<StreamName, u64, String, _>::open(&place.database, Lines::new(2)).await.unwrap();
    apply(&clone, &[&commit("line/1", 1, &["c"])]).await;
}

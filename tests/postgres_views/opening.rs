//! Opening of views, and views that are refused.

use eventsrc_core::view::{Batch, VersionedStore, ViewError, ViewStore};
use eventsrc_core::{ErrorKind, StorageError, StreamName, ViewDefinition};
use eventsrc_postgres::{Postgres, PostgresView, Transaction, View, tokio_postgres};
use futures::future::{BoxFuture, join_all};

use super::{Lines, LinesView, Location, apply, assert_says, batch, commit, line, name};

/// A view whose definition and code a test chooses.
struct TestView {
    definition: ViewDefinition,
    tables: &'static [&'static str],
    create: Create,
}

type Create = fn(&Transaction) -> BoxFuture<'_, Result<(), tokio_postgres::Error>>;

/// Executes this SQL to create the tables.
macro_rules! makes {
    ($sql:expr) => {
        |transaction| Box::pin(transaction.batch_execute($sql))
    };
}

impl TestView {
    fn new(name: &str, tables: &'static [&'static str], create: Create) -> Self {
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

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        (self.create)(transaction).await
    }

    async fn apply(&self, _: &Transaction, _: &Batch<StreamName, u64, String>) -> Result<(), ViewError> {
        Ok(())
    }
}

async fn open(
    postgres: &Postgres,
    view: TestView,
) -> Result<PostgresView<StreamName, u64, String, TestView>, StorageError> {
    PostgresView::open(postgres, view).await
}

/// The relations in the database other than the library's own tables.
async fn relations(place: &Location) -> Vec<String> {
    let sql = "SELECT relkind::text || ' ' || relname FROM pg_class
               WHERE relnamespace = current_schema::regnamespace AND relkind IN ('r', 'v') ORDER BY relname";
    place.client().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_again_changes_nothing() {
    let place = Location::new().await;
    apply(&place.open(Lines::new(1)).await, &[&commit("line/1", 1, &["a"])]).await;
    let again = place.open(Lines::new(1)).await;
    assert_eq!(line(&again, "line/1").await, (Some("a".into()), Some(1)));
    assert_eq!(relations(&place).await, ["v lines", "r lines_v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_open_a_new_view_at_once_all_succeed() {
    let place = Location::new().await;
    let views = join_all((1..=8).map(|number| place.open(Lines::new(1 + number % 2)))).await;
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
    let place = Location::new().await;
    let postgres = place.connect().await;
    let long = "a".repeat(41).leak();
    let names: [&'static [&'static str]; 10] = [
        &[""],
        &["Users"],
        &["user s"],
        &["users\" AS SELECT 1; --"],
        &["1users"],
        &["users", "users"],
        &["lines_v1"],
        &["users", "users_v23"],
        &["pg_users"],
        vec![&*long].leak(),
    ];
    for names in names {
        let error = open(&postgres, TestView::new("names", names, makes!(""))).await.unwrap_err();
        assert_says(&error, ErrorKind::Invalid, &["name"]);
    }
    assert_eq!(relations(&place).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_taken_are_refused() {
    let place = Location::new().await;
    let postgres = place.connect().await;
    place.open(Lines::new(1)).await;
    place.execute("CREATE TABLE theirs (a int); CREATE TABLE own_v1 (a int)").await;
    for (tables, words) in [
        (&["lines"][..], &["names v1", "the view lines has a table", "lines"][..]),
        (&["theirs"], &["table", "theirs"]),
        (&["own"], &["table", "own_v1"]),
    ] {
        let error = open(&postgres, TestView::new("names", tables, makes!(""))).await.unwrap_err();
        assert_says(&error, ErrorKind::Refused, words);
    }
    // The public names of any version of another view are taken, even if that version does not serve.
    let first = TestView::new("names", &["names"], makes!("CREATE TABLE names_v1 (a int)"));
    open(&postgres, first).await.unwrap();
    let create: Create = makes!("CREATE TABLE names_v2 (a int); CREATE TABLE mails_v2 (a int)");
    open(&postgres, TestView::new("names", &["names", "mails"], create).at_version(2)).await.unwrap();
    let error = open(&postgres, TestView::new("post", &["mails"], makes!(""))).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["post v1", "the view names has a table", "mails"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_does_not_make_its_tables_is_refused_and_leaves_nothing_behind() {
    let place = Location::new().await;
    let postgres = place.connect().await;
    const NONE: &[&str] = &["did not create the table", "names_v1"];
    const ENDS: &[&str] = &["cannot", "the view names v1", "must not end its transaction"];
    let cases: [(Create, &[&str]); 7] = [
        (makes!(""), NONE),
        (makes!("CREATE TABLE names (a int)"), NONE),
        (makes!("CREATE VIEW names_v1 AS SELECT 1"), NONE),
        (
            makes!("CREATE TABLE names_v1 (a int); CREATE TABEL mails_v1 (a int)"),
            &["create the tables", "TABEL"],
        ),
        (makes!("CREATE TABLE names_v1 (a int); COMMIT"), ENDS),
        (makes!("CREATE TABLE names_v1 (a int); ROLLBACK"), &["cannot open"]),
        (|_| panic!("no paper"), &["panicked", "no paper"]),
    ];
    for (create, words) in cases {
        let error = open(&postgres, TestView::new("names", &["names"], create)).await.unwrap_err();
        assert_says(&error, ErrorKind::Invalid, words);
        assert_eq!(relations(&place).await, [""; 0]);
    }
    let create: Create = makes!("CREATE TABLE names_v1 (a int)");
    open(&postgres, TestView::new("names", &["names"], create)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_other_tables_than_it_was_made_with_is_refused() {
    let place = Location::new().await;
    place.open(Lines::new(1)).await;
    let other = TestView::new("lines", &["lines", "words"], makes!(""));
    let error = open(&place.connect().await, other).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["lines v1", "words", "was created with"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_old_handle_applies_to_a_retired_version() {
    let place = Location::new().await;
    place.open(Lines::new(1)).await;
    let second = place.open(Lines::new(2)).await;
    apply(&second, &[&commit("line/1", 1, &["a"])]).await;
    place.open(Lines::new(2)).await.retire().await.unwrap();
    assert_eq!(relations(&place).await, ["v lines", "r lines_v1"]);
    for number in [1, 2] {
        let error = second.apply(&batch(&[&commit("line/1", number, &["b"])])).await.unwrap_err();
        assert_says(&error, ErrorKind::Refused, &["lines v2", "retired"]);
    }
    assert_eq!(second.positions(None, 10).await.unwrap(), []);
    assert_eq!(second.positions_of(&[name("line/1")]).await.unwrap()[0].position, None);
    second.retire().await.unwrap();
}

/// A role that owns nothing applies batches to a view that its owner has opened, and reads it.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_role_applies_to_a_view_that_it_does_not_own() {
    let place = Location::new().await;
    let owner = place.connect().await;
    let view: LinesView = PostgresView::open(&owner, Lines::new(1)).await.unwrap();
    let role = format!("service_of_{}", place.name);
    place
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {0} TO {role};
             GRANT SELECT, INSERT, UPDATE ON lines_v1 TO {role}; GRANT SELECT ON lines TO {role}",
            place.name
        ))
        .await;
    owner.grant_service(&role).await.unwrap();
    let served = Location { url: place.url.replace("postgres@", &format!("{role}@")), ..place.clone() };
    let service = served.open(Lines::new(1)).await;
    apply(&service, &[&commit("line/1", 1, &["a"])]).await;
    assert_eq!(line(&service, "line/1").await, (Some("a".into()), Some(1)));
    assert_eq!(line(&view, "line/1").await, (Some("a".into()), Some(1)));
    // The role cannot create another version.
    let postgres = served.connect().await;
    let error = LinesView::open(&postgres, Lines::new(2)).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["lines v2", "permission"]);
}

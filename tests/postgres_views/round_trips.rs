//! Round trips of the client. The connection is held in one direction at a time, so that pipelined statements
//! show.

use eventsrc_core::view::{Applied, Batch, ViewError, ViewStore};
use eventsrc_core::{StreamName, ViewDefinition};
use eventsrc_postgres::{PostgresView, Settings, Transaction, View, each, tokio_postgres};
use eventsrc_test_servers as servers;
use eventsrc_tests::HANG;
use tokio::time::timeout;

use super::held_connection::HeldConnection;
use super::{Lines, LinesView, Location, apply, batch, commit, line_of, name};

/// A view that counts its statements. The counts are visible before the transaction is committed.
struct Counted;

impl View<StreamName, u64, String> for Counted {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new("counted", ["line"]).unwrap()
    }

    fn tables(&self) -> &[&str] {
        &["counted"]
    }

    async fn create(&self, transaction: &Transaction) -> Result<(), tokio_postgres::Error> {
        let create = "CREATE TABLE counted_v1 (stream text, text text); CREATE SEQUENCE done MINVALUE 0";
        transaction.batch_execute(create).await
    }

    async fn apply(
        &self,
        transaction: &Transaction,
        batch: &Batch<StreamName, u64, String>,
    ) -> Result<(), ViewError> {
        let insert = "INSERT INTO counted_v1 SELECT $1, $2 WHERE nextval('done') >= 0";
        let insert = &transaction.prepare_cached(insert).await?;
        each(batch, |event| async move {
            transaction.execute(insert, &[&event.key().as_str(), event.payload]).await?;
            Ok(())
        })
        .await
    }
}

/// Two round trips: one for BEGIN, the positions and the statements of 40 streams, and one for COMMIT.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_two_round_trips() {
    let place = Location::new().await;
    let gate = HeldConnection::before(servers::postgres().await.address()).await;
    let one = Settings { connections: 1, ..place.settings() };
    let through = Location { url: gate.url(&place.url), ..place.clone() };
    let view = PostgresView::open(&through.connect_with(one).await, Counted).await.unwrap();
    // Statements are prepared once for each connection.
    assert!(matches!(view.apply(&batch(&[&commit("line/x", 1, &["a"])])).await.unwrap(), Applied::Done));

    let commits: Vec<_> = (0..40).map(|id| commit(&format!("line/{id:02}"), 1, &["a"])).collect();
    let commits = batch(&commits.iter().collect::<Vec<_>>());
    gate.forward_replies(false);
    let applies = tokio::spawn(async move { view.apply(&commits).await });
    place.until("SELECT last_value = 40 FROM done").await;
    gate.forward_requests(false);
    gate.forward_replies(true);
    // With all replies so far, the client sends more. The server receives it only once no reply gets through
    // any more.
    gate.until_request_held().await;
    gate.forward_replies(false);
    gate.forward_requests(true);
    place.until("SELECT count(*) = 41 FROM counted").await;
    assert!(!applies.is_finished(), "the reply was held");
    gate.forward_requests(false);
    gate.forward_replies(true);
    let applied = timeout(HANG, applies).await.expect("no further round trip").unwrap().unwrap();
    assert!(matches!(applied, Applied::Done), "{applied:?}");
}

/// One round trip, for BEGIN, the positions and the query. The reader does not wait for the end of the
/// transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_takes_one_round_trip() {
    let place = Location::new().await;
    let gate = HeldConnection::before(servers::postgres().await.address()).await;
    let one = Settings { connections: 1, ..place.settings() };
    let through = Location { url: gate.url(&place.url), ..place.clone() };
    let view: LinesView = PostgresView::open(&through.connect_with(one).await, Lines::new(1)).await.unwrap();
    apply(&view, &[&commit("line/1", 1, &["a"])]).await;
    let read = {
        let view = view.clone();
        async move || {
            let streams = [name("line/1"), name("line/2")];
            view.read(&streams, |transaction| line_of(transaction, "line/1")).await.unwrap()
        }
    };
    read().await;

    gate.forward_replies(false);
    let reads = tokio::spawn({
        let read = read.clone();
        async move { read().await }
    });
    let asked = format!(
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = '{}'
             AND state = 'idle in transaction' AND query LIKE 'SELECT text FROM lines%'",
        place.name
    );
    place.until(&asked).await;
    gate.forward_requests(false);
    gate.forward_replies(true);
    let (places, line) = timeout(HANG, reads).await.expect("no further round trip").unwrap();
    assert_eq!(line.as_deref(), Some("a"));
    assert_eq!(places.iter().map(|place| place.position).collect::<Vec<_>>(), [Some(1), None]);

    // The end of the transaction was sent all the same.
    gate.forward_requests(true);
    place.until(&place.any_is("idle")).await;
    assert_eq!(read().await.1.as_deref(), Some("a"));
}

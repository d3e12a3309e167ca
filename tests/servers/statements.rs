//! Connections to Postgres that are cut right before or right after a statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::{Injected, Moment, Proxy, is_commit};
use futures::{SinkExt, pin_mut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{Client, Error};

use super::{connect, rows, until, within};

const BOTH: [Moment; 2] = [Moment::Undelivered, Moment::Answered];

/// A database with an empty table, and a proxy in front of it.
struct Table {
    proxy: Proxy,
    direct: String,
    client: Client,
}

impl Table {
    async fn new() -> Self {
        let server = servers::postgres().await;
        let direct = server.database("statements").await;
        let table = "CREATE TABLE kept (n int PRIMARY KEY)";
        connect(&direct).await.unwrap().batch_execute(table).await.unwrap();
        let proxy = Proxy::before_postgres(server.address()).await.unwrap();
        let client = connect(&proxy.url(&direct)).await.unwrap();
        Self { proxy, direct, client }
    }

    /// Fails unless the statement was cut at `moment`: the client got an error, and the row is stored or not.
    async fn assert_cut<T>(&self, moment: Moment, outcome: Result<T, Error>) {
        let error = outcome.err().expect("the client sees an error");
        assert!(error.as_db_error().is_none(), "the connection was cut, so Postgres says nothing: {error:?}");
        let (kept, injected) = match moment {
            Moment::Undelivered => (0, Injected { undelivered: 1, ..Injected::default() }),
            Moment::Answered => (1, Injected { answered: 1, ..Injected::default() }),
        };
        assert_eq!((rows(&self.direct).await, self.proxy.injected()), (kept, injected), "{moment:?}");
        let client = connect(&self.proxy.url(&self.direct)).await.unwrap();
        let again = client.batch_execute("BEGIN; INSERT INTO kept VALUES (2); COMMIT");
        within(again).await.expect("only one connection is cut");
    }
}

#[tokio::test]
async fn a_commit_is_cut_off_before_or_after_it_was_done() {
    for moment in BOTH {
        let mut table = Table::new().await;
        table.proxy.cut_once(moment, is_commit);
        let transaction = table.client.transaction().await.unwrap();
        transaction.execute("INSERT INTO kept VALUES ($1)", &[&1]).await.expect("it is not cut before");
        let outcome = within(transaction.commit()).await;
        table.assert_cut(moment, outcome).await;
    }
}

#[tokio::test]
async fn a_commit_among_other_statements_is_cut_off() {
    for moment in BOTH {
        let table = Table::new().await;
        table.proxy.cut_once(moment, is_commit);
        let all = table.client.batch_execute("begin; INSERT INTO kept VALUES (1); commit;");
        table.assert_cut(moment, within(all).await).await;
    }
}

#[tokio::test]
async fn a_prepared_commit_is_cut_off_when_it_is_executed() {
    for moment in BOTH {
        let table = Table::new().await;
        let commit = table.client.prepare("COMMIT").await.unwrap();
        table.client.batch_execute("BEGIN; INSERT INTO kept VALUES (1)").await.unwrap();
        table.proxy.cut_once(moment, is_commit);
        table.client.prepare("END").await.expect("to prepare it is not to execute it");
        let outcome = within(table.client.execute(&commit, &[])).await;
        table.assert_cut(moment, outcome).await;
    }
}

#[tokio::test]
async fn a_lone_insert_is_cut_off_with_the_rows_that_it_answers() {
    for moment in BOTH {
        let table = Table::new().await;
        table.proxy.cut_once(moment, |statement| statement.contains("RETURNING"));
        let outcome = within(table.client.query_one("INSERT INTO kept VALUES ($1) RETURNING n", &[&1])).await;
        table.assert_cut(moment, outcome).await;
    }
}

#[tokio::test]
async fn a_copy_is_cut_off() {
    for moment in BOTH {
        let table = Table::new().await;
        table.proxy.cut_once(moment, |statement| statement.starts_with("COPY"));
        let outcome = within(copy(&table.client, "1\n")).await;
        table.assert_cut(moment, outcome).await;
    }
}

#[tokio::test]
async fn statements_after_a_copy_are_cut_off() {
    for moment in BOTH {
        let table = Table::new().await;
        assert_eq!(within(copy(&table.client, "")).await.unwrap(), 0);
        table.proxy.cut_once(moment, |statement| statement.starts_with("INSERT"));
        let outcome = within(table.client.execute("INSERT INTO kept VALUES (1)", &[])).await;
        table.assert_cut(moment, outcome).await;
    }
}

#[tokio::test]
async fn statements_in_a_row_are_cut_off_at_the_right_one() {
    for moment in BOTH {
        let table = Table::new().await;
        let insert = table.client.prepare("INSERT INTO kept VALUES ($1)").await.unwrap();
        let other = table.client.prepare("SELECT 1 WHERE $1 > 0").await.unwrap();
        table.proxy.cut_once(moment, |statement| statement.starts_with("INSERT"));
        let (before, outcome, after) = within(async {
            tokio::join!(
                table.client.execute(&other, &[&7]),
                table.client.execute(&insert, &[&1]),
                table.client.execute(&other, &[&7]),
            )
        })
        .await;
        // Before a cut, earlier replies of the server may be lost with it.
        assert!(before.is_ok() || moment == Moment::Undelivered, "it was answered before: {before:?}");
        assert!(after.is_err());
        table.assert_cut(moment, outcome).await;
    }
}

#[tokio::test]
async fn a_refused_statement_has_an_answer_to_cut_off_as_well() {
    let table = Table::new().await;
    table.client.batch_execute("INSERT INTO kept VALUES (1)").await.unwrap();
    table.proxy.cut_once(Moment::Answered, |statement| statement.starts_with("INSERT"));
    let outcome = within(table.client.execute("INSERT INTO kept VALUES (1)", &[])).await;
    table.assert_cut(Moment::Answered, outcome).await;
}

#[tokio::test]
async fn each_connection_is_cut_off_until_the_proxy_calms() {
    let table = Table::new().await;
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    table.proxy.cut_each(Moment::Answered, move |statement| {
        statement.starts_with("INSERT") && counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
    });
    let mut outcomes = Vec::new();
    for n in 0..6 {
        let client = connect(&table.proxy.url(&table.direct)).await.unwrap();
        outcomes.push(within(client.execute("INSERT INTO kept VALUES ($1)", &[&n])).await.is_ok());
    }
    assert_eq!(outcomes, [false, true, false, true, false, true]);
    assert_eq!(table.proxy.injected(), Injected { answered: 3, ..Injected::default() });
    table.proxy.calm();
    table.client.execute("INSERT INTO kept VALUES (6)", &[]).await.unwrap();
    assert_eq!((rows(&table.direct).await, asked.load(Ordering::Relaxed)), (7, 6));
}

#[tokio::test]
async fn a_client_may_ask_for_encryption_before_it_speaks() {
    let table = Table::new().await;
    let mut client = TcpStream::connect(table.proxy.address()).await.unwrap();
    client.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'N', "this server has none");
    let settings = b"user\0postgres\0\0";
    client.write_u32(8 + settings.len() as u32).await.unwrap();
    client.write_u32(3 << 16).await.unwrap();
    client.write_all(settings).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'R', "it asks who this is");
    table.proxy.cut_once(Moment::Undelivered, is_commit);
    client.write_all(b"Q\0\0\0\x0bCOMMIT\0").await.unwrap();
    until(async || table.proxy.injected().undelivered == 1).await;
}

#[test]
fn a_commit_is_recognised_in_any_spelling() {
    assert!(
        ["COMMIT", "commit;", " End ", "BEGIN; INSERT INTO kept VALUES (1);\nCommit"]
            .into_iter()
            .all(is_commit)
    );
    assert!(!["BEGIN", "ROLLBACK", "INSERT INTO commits VALUES ('commit')", ""].into_iter().any(is_commit));
}

/// Copies lines into the table.
async fn copy(client: &Client, lines: &'static str) -> Result<u64, Error> {
    let sink = client.copy_in("COPY kept FROM STDIN").await?;
    pin_mut!(sink);
    sink.send(lines.as_bytes()).await?;
    sink.finish().await
}

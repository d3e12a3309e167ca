//! Views whose code does what is forbidden, or fails in one of the ways that Postgres knows.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use eventsrc_core::view::{Applied, ViewError, ViewStore};
use eventsrc_core::{ErrorKind, StorageError};
use eventsrc_postgres::{PostgresView, Settings, Transaction};
use futures::future::BoxFuture;

use super::{Action, Lines, LinesView, Location, apply, assert_rejected, assert_says, batch, commit, line};

/// The outcome of a batch whose code runs `action`. Asserts that nothing of the batch is left and that its
/// connection stays usable.
async fn outcome_of(action: Action) -> Result<Applied, StorageError> {
    let place = Location::new().await;
    let one = Settings { connections: 1, ..place.settings() };
    let view: LinesView =
        PostgresView::open(&place.connect_with(one).await, Lines::with_action(1, action)).await.unwrap();
    apply(&view, &[&commit("line/before", 1, &["a"])]).await;
    let bad = [commit("line/bad", 1, &["good", "action"]), commit("line/before", 2, &["b"])];
    let outcome = view.apply(&batch(&[&bad[0], &bad[1]])).await;
    if !matches!(outcome, Ok(Applied::Done)) {
        assert_eq!(line(&view, "line/bad").await, (None, None), "nothing of it is left");
        assert_eq!(line(&view, "line/before").await, (Some("a".into()), Some(1)), "nothing of it is left");
        apply(&view, &[&bad[1]]).await;
    }
    assert_eq!(line(&view, "line/before").await, (Some("a b".into()), Some(2)));
    outcome
}

async fn is_rejected(action: Action, words: &[&str]) {
    assert_rejected(&outcome_of(action).await.unwrap(), words);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_code_is_rejected() {
    is_rejected(|_| Box::pin(async { Err("no such line".into()) }), &["no such line"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_rejected() {
    is_rejected(|_| Box::pin(async { panic!("out of lines") }), &["panicked", "out of lines"]).await;
    is_rejected(|_| panic!("not even begun"), &["panicked", "not even begun"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violated_constraint_is_rejected() {
    fn breaks(transaction: &Transaction) -> BoxFuture<'_, Result<(), ViewError>> {
        Box::pin(async {
            transaction.execute("INSERT INTO lines_v1 VALUES ('line/x', 'forbidden')", &[]).await?;
            Ok(())
        })
    }
    is_rejected(breaks, &["lines_v1_text_check"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violated_deferred_constraint_is_rejected() {
    fn orphans(transaction: &Transaction) -> BoxFuture<'_, Result<(), ViewError>> {
        Box::pin(async {
            transaction.execute("INSERT INTO lines_v1 VALUES ('line/x', 'x', 'nobody')", &[]).await?;
            Ok(())
        })
    }
    is_rejected(orphans, &["lines_v1_parent_fkey"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zero_character_is_rejected() {
    fn writes(transaction: &Transaction) -> BoxFuture<'_, Result<(), ViewError>> {
        Box::pin(async {
            let insert = transaction.prepare_cached("INSERT INTO lines_v1 VALUES ($1, $2)").await?;
            transaction.execute(&insert, &[&"line/x", &"a\0b"]).await?;
            Ok(())
        })
    }
    is_rejected(writes, &["invalid byte sequence"]).await;
}

/// Executes `sql` and returns its error.
macro_rules! executes {
    ($sql:expr) => {
        |transaction| Box::pin(async { Ok(transaction.batch_execute($sql).await?) })
    };
}

/// Executes `sql` and ignores its error.
macro_rules! swallows {
    ($sql:expr) => {
        |transaction| {
            Box::pin(async {
                let _ = transaction.batch_execute($sql).await;
                Ok(())
            })
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sql_is_rejected() {
    is_rejected(executes!("INSRT"), &["syntax error"]).await;
    is_rejected(executes!("SELECT 1 / 0"), &["division by zero"]).await;
}

const ENDS: &[&str] = &["must not end its transaction"];

#[tokio::test(flavor = "multi_thread")]
async fn the_code_cannot_end_the_transaction() {
    is_rejected(executes!("COMMIT"), ENDS).await;
    is_rejected(executes!("ROLLBACK"), ENDS).await;
    is_rejected(executes!("COMMIT AND CHAIN"), ENDS).await;
    is_rejected(executes!("COMMIT; BEGIN"), ENDS).await;
    is_rejected(executes!("ROLLBACK; BEGIN"), ENDS).await;
    is_rejected(executes!("PREPARE TRANSACTION 'x'"), &[]).await;
    is_rejected(executes!("SET CONSTRAINTS ALL IMMEDIATE; COMMIT"), ENDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_code_ended_without_an_error_is_rejected() {
    is_rejected(swallows!("COMMIT"), ENDS).await;
    is_rejected(swallows!("COMMIT; BEGIN"), ENDS).await;
    is_rejected(swallows!("ROLLBACK; BEGIN READ WRITE"), ENDS).await;
    is_rejected(swallows!("ROLLBACK; INSERT INTO lines_v1 VALUES ('line/x', 'x')"), ENDS).await;
    is_rejected(swallows!("ROLLBACK; BEGIN; INSERT INTO lines_v1 VALUES ('line/x', 'x')"), &["aborted"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_can_use_savepoints() {
    let applied = outcome_of(executes!(
        "SAVEPOINT a; INSERT INTO lines_v1 VALUES ('line/x', 'x'); ROLLBACK TO a; BEGIN;
         SET CONSTRAINTS lines_v1_parent_fkey IMMEDIATE"
    ));
    let applied = applied.await.unwrap();
    assert!(matches!(applied, Applied::Done), "{applied:?}");
}

/// SQL that raises an error with a code of the server.
fn raise(code: &str) -> String {
    format!("DO $$ BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = '{code}'; END $$")
}

/// The outcome of a batch whose code raises an error with this code.
async fn outcome(view: &LinesView, stream: &str, code: &str) -> Result<Applied, StorageError> {
    view.apply(&batch(&[&commit(stream, 1, &[&raise(code), "action"])])).await
}

/// Executes the payload of the stream that is named after the code.
const RAISES: Action = |transaction| {
    Box::pin(async {
        let row =
            transaction.query_one("SELECT text FROM lines_v1 WHERE stream LIKE 'line/raise%'", &[]).await?;
        let text: String = row.try_get(0)?;
        transaction.batch_execute(text.trim_end_matches(" action")).await?;
        Ok(())
    })
};

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_error_is_an_error_and_a_permanent_one_is_rejected() {
    let view = Location::new().await.open(Lines::with_action(1, RAISES)).await;
    let passing = [
        ("40001", ErrorKind::Unavailable),
        ("40P01", ErrorKind::Unavailable),
        ("08006", ErrorKind::Unavailable),
        ("53100", ErrorKind::Refused),
        ("53200", ErrorKind::Unavailable),
        ("53300", ErrorKind::Unavailable),
        ("55P03", ErrorKind::Unavailable),
        ("57014", ErrorKind::Unavailable),
        ("57P01", ErrorKind::Unavailable),
        ("58030", ErrorKind::Unavailable),
        ("XX000", ErrorKind::Corrupt),
        ("42501", ErrorKind::Refused),
        ("42P01", ErrorKind::Refused),
        ("42703", ErrorKind::Refused),
        ("42704", ErrorKind::Refused),
        ("42883", ErrorKind::Refused),
        ("42P10", ErrorKind::Refused),
        ("42804", ErrorKind::Refused),
        ("3F000", ErrorKind::Refused),
    ];
    for (code, kind) in passing {
        let error = outcome(&view, "line/raise", code).await.expect_err(code);
        assert_says(&error, kind, &["cannot apply the view lines v1", "raised"]);
    }
    let lasting = ["23505", "23503", "22P02", "22003", "42601", "P0001", "21000", "54000", "55000", "0A000"];
    for code in lasting {
        assert_rejected(&outcome(&view, "line/raise", code).await.expect(code), &["raised"]);
    }
    assert_eq!(line(&view, "line/raise").await, (None, None));
}

/// An error that keeps its cause.
#[derive(Debug)]
struct Wrapped(Box<dyn Error + Send + Sync>);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the line could not be written")
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_judged_by_its_causes() {
    let deadlock: Action = |transaction| {
        Box::pin(async {
            let failed = transaction.batch_execute(&raise("40P01")).await;
            Err(Wrapped(Box::new(Wrapped(failed.unwrap_err().into()))).into())
        })
    };
    assert_says(
        &outcome_of(deadlock).await.unwrap_err(),
        ErrorKind::Unavailable,
        &["could not be written", "raised"],
    );
    let constraint: Action = |transaction| {
        Box::pin(async {
            let failed = transaction.batch_execute(&raise("23505")).await;
            Err(Wrapped(failed.unwrap_err().into()).into())
        })
    };
    is_rejected(constraint, &["could not be written", "raised"]).await;
    let elsewhere: Action = |_| {
        Box::pin(async { Err(Wrapped(StorageError::new(ErrorKind::Unavailable, "no rates").into()).into()) })
    };
    assert_says(&outcome_of(elsewhere).await.unwrap_err(), ErrorKind::Unavailable, &["no rates"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_failure_that_the_code_ignores_is_rejected() {
    is_rejected(swallows!("INSERT INTO nowhere VALUES (1)"), &["current transaction is aborted"]).await;
    let last =
        Location::new().await.open(Lines::with_action(1, swallows!("INSERT INTO nowhere VALUES (1)"))).await;
    let applied = last.apply(&batch(&[&commit("line/1", 1, &["action"])])).await.unwrap();
    assert_rejected(&applied, &["continued after a failed statement"]);
    let hides: Action = |transaction| {
        Box::pin(async {
            transaction
                .batch_execute("INSERT INTO nowhere VALUES (1)")
                .await
                .map_err(|_| "it did not work".into())
        })
    };
    is_rejected(hides, &["it did not work"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_failure_that_the_code_ignores_is_retried() {
    static TRIES: AtomicU64 = AtomicU64::new(0);
    let fails_once: Action = |transaction| {
        Box::pin(async {
            if TRIES.fetch_add(1, Ordering::Relaxed) == 0 {
                let _ = transaction.batch_execute(&raise("40P01")).await;
                panic!("the line is not there");
            }
            Ok(())
        })
    };
    let applied = outcome_of(fails_once).await.unwrap();
    assert!(matches!(applied, Applied::Done), "{applied:?}");
    assert_eq!(TRIES.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_an_error_whatever_the_code_returns() {
    const END: &str = "SELECT pg_terminate_backend(pg_backend_pid())";
    let tells: Action = executes!(END);
    let hides: Action = |transaction| {
        Box::pin(async { transaction.batch_execute(END).await.map_err(|_| "it did not work".into()) })
    };
    let swallows: Action = swallows!(END);
    let panics: Action = |transaction| {
        Box::pin(async {
            transaction.batch_execute(END).await.unwrap();
            Ok(())
        })
    };
    for action in [tells, hides, swallows, panics] {
        assert_says(
            &outcome_of(action).await.unwrap_err(),
            ErrorKind::Unavailable,
            &["cannot apply the view lines v1"],
        );
    }
}

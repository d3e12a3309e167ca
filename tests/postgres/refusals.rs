//! Errors of the server, each with the kind that says what to do next.

use std::error::Error;

use eventsrc_core::{ErrorKind, EventStorage};
use eventsrc_postgres::Postgres;

use super::{assert_says, client, commit, commits, database, open, store};

/// A function that fails in the way that the payload names.
const FAILING: &str = r#"
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.payload_text LIKE '["fail %' THEN
                RAISE EXCEPTION 'as told' USING ERRCODE = substring(NEW.payload_text FROM 8 FOR 5);
            END IF;
            RETURN NEW;
        END
    $$;
    CREATE TRIGGER fail BEFORE INSERT ON eventsrc.commits FOR EACH ROW EXECUTE FUNCTION fail();
"#;

#[tokio::test(flavor = "multi_thread")]
async fn each_error_of_the_server_has_its_kind() {
    use ErrorKind::{Corrupt, Invalid, Refused, Unavailable};
    let answers = [
        ("08006", Unavailable, "connection"),
        ("0A000", Refused, "refuses"),
        ("22021", Invalid, "character"),
        ("22P05", Invalid, "cannot hold"),
        ("23514", Invalid, "constraint"),
        ("25006", Refused, "read-only"),
        ("40001", Unavailable, "another transaction"),
        ("40P01", Unavailable, "another transaction"),
        ("42501", Refused, "permission"),
        ("42P01", Refused, "do not match this version"),
        ("53100", Refused, "disk of the server is full"),
        ("53200", Unavailable, "memory"),
        ("53300", Unavailable, "too many connections"),
        ("54000", Invalid, "larger"),
        ("55P03", Unavailable, "in use"),
        ("57014", Unavailable, "too long"),
        ("57P01", Unavailable, "stopping or starting"),
        ("58030", Unavailable, "disk of the server failed"),
        ("P0001", Invalid, "trigger"),
        ("XX001", Corrupt, "damaged"),
    ];
    let url = database().await;
    let storage = open(&url).await;
    store(&storage, &commit("user/1", 1, &["a"])).await;
    client(&url).await.batch_execute(FAILING).await.unwrap();
    for (state, kind, words) in answers {
        let error = storage.put(commit("user/1", 2, &[&format!("fail {state}")])).await.unwrap_err();
        assert_says(&error, kind, &[words, "user/1", "sequence 2"]);
        let cause = error.source().and_then(Error::source).map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("ERROR: as told"), "{state}");
    }
    store(&storage, &commit("user/1", 2, &["b"])).await;
    assert_eq!(commits(&storage, "user/1").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_exist_is_refused() {
    let url = database().await + "_not";
    let error = Postgres::connect(&url).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["no such database"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_is_refused_for_writers_only() {
    let url = database().await;
    store(&open(&url).await, &commit("user/1", 1, &["a"])).await;
    let database = url.rsplit('/').next().unwrap();
    let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    client(&url).await.batch_execute(&read_only).await.unwrap();
    let storage = open(&url).await;
    assert_eq!(commits(&storage, "user/1").await.len(), 1);
    let error = storage.put(commit("user/1", 2, &["b"])).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["read-only", "user/1", "sequence 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_durable_whatever_the_defaults_of_the_database_are() {
    let url = database().await;
    let database = url.rsplit('/').next().unwrap();
    let other = client(&url).await;
    for setting in ["synchronous_commit = off", "default_transaction_isolation = serializable"] {
        other.batch_execute(&format!("ALTER DATABASE {database} SET {setting}")).await.unwrap();
    }
    let storage = open(&url).await;
    // Records the settings of the session that stores a commit.
    other
        .batch_execute(
            "CREATE TABLE told (setting text);
             CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN
                     INSERT INTO told VALUES (current_setting('synchronous_commit')),
                         (current_setting('transaction_isolation'));
                     RETURN NEW;
                 END
             $$;
             CREATE TRIGGER tell BEFORE INSERT ON eventsrc.commits FOR EACH ROW EXECUTE FUNCTION tell()",
        )
        .await
        .unwrap();
    store(&storage, &commit("user/1", 1, &["a"])).await;
    let told = other.query("SELECT setting FROM told", &[]).await.unwrap();
    let told: Vec<String> = told.iter().map(|row| row.get(0)).collect();
    assert_eq!(told, ["on", "read committed"]);
}

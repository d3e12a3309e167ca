//! Permissions of readers, and the state that they see.

use eventsrc_core::ErrorKind;
use eventsrc_postgres::PostgresView;
use eventsrc_postgres::Settings;

use super::{Lines, LinesView, Location, apply, assert_says, commit, line, name};

#[tokio::test(flavor = "multi_thread")]
async fn all_statements_of_a_reader_see_one_state() {
    let place = Location::new().await;
    let (view, writer) = (place.open(Lines::new(1)).await, place.open(Lines::new(1)).await);
    apply(&writer, &[&commit("line/1", 1, &["a"])]).await;
    let (places, (before, after)) = view
        .read(&[name("line/1")], |transaction| {
            let writer = writer.clone();
            async move {
                let all = "SELECT string_agg(text, ',') FROM lines";
                let before: String = transaction.query_one(all, &[]).await?.try_get(0)?;
                apply(&writer, &[&commit("line/1", 2, &["b"]), &commit("line/2", 1, &["c"])]).await;
                let after: String = transaction.query_one(all, &[]).await?.try_get(0)?;
                Ok((before, after))
            }
        })
        .await
        .unwrap();
    assert_eq!((before.as_str(), after.as_str(), places[0].position), ("a", "a", Some(1)));
    assert_eq!(line(&view, "line/1").await, (Some("a b".into()), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_or_writes_is_invalid_and_affects_no_other() {
    let place = Location::new().await;
    let one = Settings { connections: 1, ..place.settings() };
    let view: LinesView = PostgresView::open(&place.connect_with(one).await, Lines::new(1)).await.unwrap();
    apply(&view, &[&commit("line/1", 1, &["a"])]).await;
    for (sql, words) in [
        ("SELEC text FROM lines", "syntax error"),
        ("DELETE FROM lines_v1", "read-only"),
        ("CREATE TABLE lines_v2 (a int)", "read-only"),
        ("SELECT 1 / 0", "division by zero"),
    ] {
        let read = view.read(&[], |transaction| async move { transaction.batch_execute(sql).await });
        let error = read.await.unwrap_err();
        assert_says(&error, ErrorKind::Invalid, &["cannot read the view lines v1", words]);
    }
    assert_eq!(line(&view, "line/1").await, (Some("a".into()), Some(1)));
}

/// The rows of any stream name are found, and any number of streams can be named.
#[tokio::test(flavor = "multi_thread")]
async fn many_streams_may_be_named() {
    let view = Location::new().await.open(Lines::new(1)).await;
    let commits: Vec<_> = (0..500).map(|id| commit(&format!("line/{id}"), 1, &["a"])).collect();
    apply(&view, &commits.iter().collect::<Vec<_>>()).await;
    let streams: Vec<_> = (0..1_000).rev().map(|id| name(&format!("line/{id}"))).collect();
    let (places, ()) = view.read(&streams, |_| async { Ok(()) }).await.unwrap();
    let positions: Vec<_> = places.iter().map(|place| place.position).collect();
    assert_eq!(positions[..500], [None; 500]);
    assert_eq!(positions[500..], [Some(1); 500]);
}

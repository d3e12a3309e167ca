//! Lost connections, and callers that cancel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventsrc_core::ErrorKind;
use eventsrc_core::view::{Applied, ViewStore};
use eventsrc_postgres::{PostgresView, Settings};
use eventsrc_test_servers as servers;
use eventsrc_test_servers::proxy::{Moment, Proxy, is_commit};
use eventsrc_tests::HANG;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::timeout;

use super::locks::{COMMITS, next, streams, whole};
use super::{Action, Lines, LinesView, Location, apply, assert_says, batch, commit, line};

/// A connection that is cut before COMMIT was delivered, or before it was answered, gives an error both times.
/// The positions show the outcome.
#[tokio::test(flavor = "multi_thread")]
async fn positions_show_the_outcome_of_a_commit_whose_reply_was_lost() {
    let place = Location::new().await;
    let proxy = Proxy::before_postgres(servers::postgres().await.address()).await.unwrap();
    let through = Location { url: proxy.url(&place.url), ..place.clone() };
    let (view, beside) = (through.open(Lines::new(1)).await, place.open(Lines::new(1)).await);
    apply(&view, &[&commit("line/1", 1, &["a"])]).await;
    for (moment, expected) in [(Moment::Undelivered, "a b"), (Moment::Answered, "a b c")] {
        let number = expected.split(' ').count() as u64;
        let next = commit("line/1", number, &[&expected[expected.len() - 1..]]);
        proxy.cut_once(moment, is_commit);
        let error = view.apply(&batch(&[&next])).await.unwrap_err();
        assert_says(
            &error,
            ErrorKind::Unavailable,
            &["cannot apply the view lines v1", "the connection broke"],
        );
        let applied = timeout(HANG, view.apply(&batch(&[&next]))).await.unwrap().unwrap();
        match moment {
            Moment::Undelivered => assert!(matches!(applied, Applied::Done), "{applied:?}"),
            Moment::Answered => assert!(matches!(applied, Applied::PositionDiffers), "{applied:?}"),
        }
        assert_eq!(line(&beside, "line/1").await, (Some(expected.into()), Some(number)));
    }
    assert_eq!((proxy.injected().undelivered, proxy.injected().answered), (1, 1));
}

/// Workers whose connections are terminated by the server at any moment, and cut at any byte, apply each commit
/// once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_that_lose_their_connections_apply_each_commit_once() {
    let place = Location::new().await;
    let proxy = Proxy::before_postgres(servers::postgres().await.address()).await.unwrap();
    let through = Location { url: proxy.url(&place.url), ..place.clone() };
    let beside = place.open(Lines::new(1)).await;
    let streams = Arc::new(streams(16));
    let mut views = Vec::new();
    for _ in 0..4 {
        views.push(through.open(Lines::new(1)).await);
    }
    proxy.cut_randomly(7, 2_000..=20_000);
    let ended = Arc::new(AtomicBool::new(false));
    let kills = {
        let (place, ended) = (place.clone(), Arc::clone(&ended));
        tokio::spawn(async move {
            let client = place.client().await;
            // One of the connections, during a transaction.
            let kill = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
                        WHERE application_name = $1 AND state <> 'idle' ORDER BY random() LIMIT 1) AS busy";
            let mut killed = 0;
            while !ended.load(Ordering::Relaxed) && killed < 40 {
                killed += client.query_one(kill, &[&place.name]).await.unwrap().get::<_, i64>(0);
                tokio::task::yield_now().await;
            }
            killed
        })
    };
    let workers = views.into_iter().zip(0..).map(|(view, seed)| {
        let streams = Arc::clone(&streams);
        tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            let mut errors = 0;
            while let Some(batch) = next(&view, &streams, &mut random).await {
                match view.apply(&batch).await {
                    Ok(Applied::Rejected(error)) => panic!("seed {seed}: {error}"),
                    Ok(_) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "seed {seed}: {error:?}");
                        errors += 1;
                    }
                }
                // A pause, so that work is in progress.
                for _ in 0..random.random_range(0..20) {
                    tokio::task::yield_now().await;
                }
            }
            errors
        })
    });
    let errors = timeout(HANG, join_all(workers)).await.expect("it has to end");
    ended.store(true, Ordering::Relaxed);
    let errors: u64 = errors.into_iter().map(Result::unwrap).sum();
    let (killed, cut) = (kills.await.unwrap(), proxy.injected().total());
    println!("{killed} connections ended, {cut} cut, {errors} batches failed");
    assert!(errors > 0 && cut > 0, "{killed} connections ended, {cut} cut, {errors} batches failed");
    for stream in streams.keys() {
        assert_eq!(line(&beside, stream.as_str()).await, (Some(whole()), Some(COMMITS)), "{stream}");
    }
}

/// Waits forever.
const WAITS: Action = |transaction| {
    Box::pin(async {
        transaction.batch_execute("SELECT 1").await?;
        std::future::pending().await
    })
};

/// A cancelled call leaves its connection in no transaction and without locks.
#[tokio::test(flavor = "multi_thread")]
async fn the_connection_of_a_cancelled_call_is_in_no_transaction() {
    let place = Location::new().await;
    let one = Settings { connections: 1, ..place.settings() };
    let view: LinesView =
        PostgresView::open(&place.connect_with(one).await, Lines::with_action(1, WAITS)).await.unwrap();
    let waits = {
        let view = view.clone();
        tokio::spawn(async move { view.apply(&batch(&[&commit("line/1", 1, &["action"])])).await })
    };
    place.until(&place.any_is("idle in transaction")).await;
    waits.abort();
    assert!(waits.await.unwrap_err().is_cancelled());
    place.until(&place.any_is("idle")).await;
    // The same connection, and another one that would wait for its locks.
    assert_eq!(line(&view, "line/1").await, (None, None));
    apply(&place.open(Lines::new(1)).await, &[&commit("line/1", 1, &["a"])]).await;
    apply(&view, &[&commit("line/1", 2, &["b"])]).await;
    assert_eq!(line(&view, "line/1").await, (Some("a b".into()), Some(2)));
}

/// A cancelled read leaves its connection in no transaction, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_connection_of_a_cancelled_read_is_in_no_transaction() {
    let place = Location::new().await;
    let one = Settings { connections: 1, ..place.settings() };
    let view: LinesView = PostgresView::open(&place.connect_with(one).await, Lines::new(1)).await.unwrap();
    let reads = {
        let view = view.clone();
        let forever = async move || {
            view.read(&[], |transaction| async move {
                transaction.batch_execute("SELECT 1").await?;
                std::future::pending().await
            })
            .await
            .map(|(_, ())| ())
        };
        tokio::spawn(async move { forever().await })
    };
    place.until(&place.any_is("idle in transaction")).await;
    reads.abort();
    place.until(&place.any_is("idle")).await;
    apply(&view, &[&commit("line/1", 1, &["a"])]).await;
    assert_eq!(line(&view, "line/1").await, (Some("a".into()), Some(1)));
}

/// Idle connections that the server terminated cause no error.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_replaces_a_terminated_connection() {
    let place = Location::new().await;
    let view = place.open(Lines::new(1)).await;
    apply(&view, &[&commit("line/1", 1, &["a"])]).await;
    for _ in 0..5 {
        let reads = (0..4).map(|_| line(&view, "line/1"));
        for read in join_all(reads).await {
            assert_eq!(read, (Some("a".into()), Some(1)));
        }
        place
            .execute(&format!(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = '{}'",
                place.name
            ))
            .await;
    }
}

//! Concurrent workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventsrc_core::StreamName;
use eventsrc_core::view::{Applied, Batch, CommitRun, ViewStore};
use eventsrc_tests::HANG;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::timeout;

use super::{Action, Draft, Lines, LinesView, Location, apply, assert_says, batch, commit, line, name};

/// Number of commits of each stream.
pub(super) const COMMITS: u64 = 12;

/// All commits of `count` streams.
pub(super) fn streams(count: usize) -> BTreeMap<StreamName, Vec<Draft>> {
    let stream = |id| {
        let name = format!("line/{id:02}");
        let commits = (1..=COMMITS).map(|number| commit(&name, number, &[&number.to_string()]));
        (super::name(&name), commits.collect())
    };
    (0..count).map(stream).collect()
}

/// The row of a stream after all its commits were applied, each once and in order.
pub(super) fn whole() -> String {
    (1..=COMMITS).map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

/// A batch of the next commits of some streams, in random order. `None` if all commits of all streams are
/// applied.
pub(super) async fn next(
    view: &LinesView,
    streams: &BTreeMap<StreamName, Vec<Draft>>,
    random: &mut StdRng,
) -> Option<Batch<StreamName, u64, String>> {
    let names: Vec<_> = streams.keys().cloned().collect();
    let places = loop {
        // The connection may be cut at any time.
        if let Ok(places) = view.positions_of(&names).await {
            break places;
        }
    };
    let mut runs: Vec<_> = names
        .iter()
        .zip(places)
        .filter(|(_, place)| place.position != Some(COMMITS))
        .map(|(name, place)| {
            let begun = place.position.unwrap_or(0) as usize;
            let count = random.random_range(1..=3);
            let commits = streams[name].iter().skip(begun).take(count).cloned().collect();
            CommitRun { stream: name.clone(), from: place.position, commits }
        })
        .collect();
    if runs.is_empty() {
        return None;
    }
    runs.shuffle(random);
    runs.truncate(random.random_range(1..=runs.len()));
    Some(Batch::new(runs))
}

/// Workers whose batches overlap in every way never deadlock, and apply each commit once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_batches_never_deadlock() {
    let place = Location::new().await;
    let streams = Arc::new(streams(24));
    let workers = (0..6).map(|seed| {
        let (place, streams) = (place.clone(), Arc::clone(&streams));
        tokio::spawn(async move {
            let view = place.open(Lines::new(1)).await;
            let mut random = StdRng::seed_from_u64(seed);
            let (mut done, mut moved) = (0, 0);
            while let Some(batch) = next(&view, &streams, &mut random).await {
                match view.apply(&batch).await.unwrap_or_else(|error| panic!("seed {seed}: {error:?}")) {
                    Applied::Done => done += 1,
                    Applied::PositionDiffers => moved += 1,
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
            (done, moved)
        })
    });
    let workers = timeout(HANG, join_all(workers)).await.expect("it has to end");
    let (done, moved) = workers.into_iter().map(Result::unwrap).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    assert!(done > 10 && moved > 10, "{done} batches were applied, and {moved} found streams moved");
    let view = place.open(Lines::new(1)).await;
    for stream in streams.keys() {
        assert_eq!(line(&view, stream.as_str()).await, (Some(whole()), Some(COMMITS)), "{stream}");
    }
}

/// Waits for this lock.
const WAITS: Action = |transaction| {
    Box::pin(async {
        transaction.execute("SELECT pg_advisory_xact_lock(hashtext(current_schema))", &[]).await?;
        Ok(())
    })
};

/// Takes the lock that the code of the view waits for.
async fn hold(place: &Location) -> tokio_postgres::Client {
    let client = place.client().await;
    client.batch_execute("SELECT pg_advisory_lock(hashtext(current_schema))").await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_different_streams_do_not_wait_for_each_other() {
    let place = Location::new().await;
    let view = place.open(Lines::with_action(1, WAITS)).await;
    let held = hold(&place).await;
    let slow = {
        let (view, batch) = (view.clone(), batch(&[&commit("line/1", 1, &["action"])]));
        tokio::spawn(async move { view.apply(&batch).await })
    };
    place.until(&place.any_is("active")).await;
    let other = place.open(Lines::new(1)).await;
    apply(&other, &[&commit("line/0", 1, &["a"]), &commit("line/2", 1, &["a"])]).await;
    assert_eq!(line(&other, "line/1").await, (None, None));
    assert!(!slow.is_finished());
    drop(held);
    assert!(matches!(timeout(HANG, slow).await.unwrap().unwrap().unwrap(), Applied::Done));
    assert_eq!(line(&other, "line/1").await, (Some("action".into()), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_stream_that_another_one_changes_waits_and_finds_another_position() {
    let place = Location::new().await;
    let view = place.open(Lines::with_action(1, WAITS)).await;
    let held = hold(&place).await;
    let spawn = |batch| {
        let view = view.clone();
        tokio::spawn(async move { view.apply(&batch).await })
    };
    let slow = spawn(batch(&[&commit("line/1", 1, &["action"])]));
    let waits =
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = ";
    place.until(&format!("{waits} '{}'", place.name)).await;
    let behind = spawn(batch(&[&commit("line/0", 1, &["a"]), &commit("line/1", 1, &["b"])]));
    place.until(&format!("{} '{}'", waits.replace("= 1", "= 2"), place.name)).await;
    drop(held);
    assert!(matches!(timeout(HANG, slow).await.unwrap().unwrap().unwrap(), Applied::Done));
    let behind = timeout(HANG, behind).await.unwrap().unwrap().unwrap();
    assert!(matches!(behind, Applied::PositionDiffers), "{behind:?}");
    assert_eq!(line(&view, "line/0").await, (None, None));
    assert_eq!(line(&view, "line/1").await, (Some("action".into()), Some(1)));
}

/// A wait that is too long is an error, and not a rejection of the batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_timeout_is_an_error() {
    let place = Location::new().await;
    let impatient: Action = |transaction| {
        Box::pin(async {
            transaction.batch_execute("SET LOCAL lock_timeout = '10ms'").await?;
            WAITS(transaction).await
        })
    };
    let view = place.open(Lines::with_action(1, impatient)).await;
    let _held = hold(&place).await;
    let error = view.apply(&batch(&[&commit("line/1", 1, &["action"])])).await.unwrap_err();
    assert_says(&error, eventsrc_core::ErrorKind::Unavailable, &["lock timeout"]);
    assert_eq!(view.positions_of(&[name("line/1")]).await.unwrap()[0].position, None);
}

//! Batches, commits and quarantines or skips that share a transaction.

use std::pin::pin;
use std::sync::Arc;

use eventsrc_core::storage::Put;
use eventsrc_core::view::{
    Applied, PositionChange, QuarantinedCommit, SkippedCommits, StreamPosition as At, ViewStore,
};
use eventsrc_core::{EventStorage, Timestamp};
use eventsrc_sqlite::{Database, SqliteView};
use futures::future::{join_all, poll_immediate};

use super::{Lines, LinesView, Location, batch, commit, line, name};

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_commits_that_wait_together_share_one_sync() {
    let place = Location::new(Lines::new(1)).await;
    let before = place.database.disk_commits();
    let held = place.hold();
    let commits: Vec<_> = (0..32).map(|id| commit(&format!("line/{id}"), 1, &["a"])).collect();
    let batches: Vec<_> = commits.iter().map(|commit| batch(&[commit])).collect();
    let mut puts: Vec<_> =
        commits.iter().map(|commit| Box::pin(place.storage.put(Arc::clone(commit)))).collect();
    let mut applies: Vec<_> = batches.iter().map(|batch| Box::pin(place.view.apply(batch))).collect();
    for (put, apply) in puts.iter_mut().zip(&mut applies) {
        assert!(poll_immediate(put).await.is_none() && poll_immediate(apply).await.is_none());
    }
    drop(held);
    for put in join_all(puts).await {
        assert!(matches!(put.unwrap(), Put::Stored));
    }
    for applied in join_all(applies).await {
        assert!(matches!(applied.unwrap(), Applied::Done));
    }
    // The writer may have taken the first job before the others came.
    let syncs = place.database.disk_commits() - before;
    assert!(syncs <= 2, "{syncs} syncs");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_batch_of_a_stream_in_one_group_is_refused() {
    let place = Location::new(Lines::new(1)).await;
    let held = place.hold();
    let (one, other) = (commit("line/1", 1, &["a"]), commit("line/1", 1, &["b"]));
    let beside = commit("line/0", 1, &["c"]);
    let batches = [batch(&[&one]), batch(&[&beside, &other]), batch(&[&commit("line/1", 2, &["d"])])];
    let mut applies: Vec<_> = batches.iter().map(|batch| Box::pin(place.view.apply(batch))).collect();
    for apply in &mut applies {
        assert!(poll_immediate(apply).await.is_none(), "nothing can be written yet");
    }
    drop(held);
    let [first, second, third] = <[_; 3]>::try_from(join_all(applies).await).unwrap();
    assert!(matches!(first.unwrap(), Applied::Done));
    assert!(matches!(second.unwrap(), Applied::PositionDiffers));
    assert!(matches!(third.unwrap(), Applied::Done));
    assert_eq!(line(&place.view, "line/1").await, (Some("a d".into()), Some(2)));
    assert_eq!(
        line(&place.view, "line/0").await,
        (None, None),
        "positions changed before the refusal are undone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_that_still_waits_is_not_applied() {
    let place = Location::new(Lines::new(1)).await;
    let held = place.hold();
    let commits = [commit("line/1", 1, &["a"]), commit("line/2", 1, &["b"])];
    {
        let batch = batch(&[&commits[0], &commits[1]]);
        let apply = pin!(place.view.apply(&batch));
        assert!(poll_immediate(apply).await.is_none(), "nothing can be written yet");
    }
    drop(held);
    let again = place.view.apply(&batch(&[&commits[0], &commits[1]])).await.unwrap();
    assert!(matches!(again, Applied::Done), "{again:?}");
    assert_eq!(line(&place.view, "line/2").await, (Some("b".into()), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantines_and_skips_share_a_transaction_with_batches_and_are_undone_alone() {
    let place = Location::new(Lines::new(1)).await;
    let time = Timestamp::from_microsecond(7).unwrap();
    let poison = |stream: &str| QuarantinedCommit {
        stream: name(stream),
        position: None,
        sequence: 1,
        error: "no".into(),
        time,
    };
    let skip = |stream: &str, from, to| SkippedCommits {
        change: PositionChange { stream: name(stream), from, to },
        reason: "of no use".into(),
        time,
    };
    let poisons = [poison("line/1"), poison("line/2"), poison("line/3")];
    let skips = [skip("line/1", None, 1), skip("line/2", Some(4), 5)];
    let held = place.hold();
    let one = batch(&[&commit("line/1", 2, &["b"])]);
    let mut quarantines: Vec<_> =
        poisons.iter().map(|poison| Box::pin(place.view.quarantine(poison))).collect();
    for quarantine in &mut quarantines {
        assert!(poll_immediate(quarantine).await.is_none());
    }
    let mut skipping: Vec<_> = skips.iter().map(|skip| Box::pin(place.view.skip(skip))).collect();
    for skip in &mut skipping {
        assert!(poll_immediate(skip).await.is_none());
    }
    let (mut release, mut applies) =
        (Box::pin(place.view.release(&poisons[2].stream)), Box::pin(place.view.apply(&one)));
    assert!(poll_immediate(&mut release).await.is_none() && poll_immediate(&mut applies).await.is_none());
    drop(held);
    join_all(quarantines).await.into_iter().for_each(Result::unwrap);
    let [over, stays] = <[_; 2]>::try_from(join_all(skipping).await).unwrap();
    assert!(over.unwrap());
    assert!(!stays.unwrap());
    assert!(release.await.unwrap());
    assert!(matches!(applies.await.unwrap(), Applied::Done));
    let streams = ["line/1", "line/2", "line/3"].map(name);
    let places = [(Some(2), false), (None, true), (None, false)]
        .map(|(position, quarantined)| At { position, quarantined });
    assert_eq!(place.view.positions_of(&streams).await.unwrap(), places);
    assert_eq!(place.view.quarantined().await.unwrap(), [poisons[1].clone()]);
    assert_eq!(place.view.skipped().await.unwrap(), [skips[0].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_race_for_one_file_apply_each_commit_once() {
    const COMMITS: u64 = 40;
    let place = Location::new(Lines::new(1)).await;
    let mut handles: Vec<LinesView> = vec![place.view.clone()];
    for _ in 0..2 {
        let database = Database::open(place.path()).await.unwrap();
        handles.push(SqliteView::open(&database, Lines::new(1)).await.unwrap());
    }
    let commits: Arc<Vec<_>> =
        Arc::new((1..=COMMITS).map(|first| commit("line/1", first, &[&first.to_string()])).collect());
    let workers = (0..6).map(|worker| {
        let (view, commits) = (handles[worker % handles.len()].clone(), Arc::clone(&commits));
        tokio::spawn(async move {
            let mut done = 0;
            for commit in commits.iter() {
                match view.apply(&batch(&[commit])).await.unwrap() {
                    Applied::Done => done += 1,
                    Applied::PositionDiffers => {}
                    other => panic!("{other:?}"),
                }
            }
            done
        })
    });
    let done: u64 = join_all(workers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(done, COMMITS);
    let told: Vec<String> = (1..=COMMITS).map(|number| number.to_string()).collect();
    for view in &handles {
        assert_eq!(line(view, "line/1").await, (Some(told.join(" ")), Some(COMMITS)));
    }
}

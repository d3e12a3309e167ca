//! Saves of one stream by many tasks of one process, and against writers of other processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::save::{PreconditionFailed, SaveGate, SaveSettings};
use eventsrc_core::{
    Context, Decider, Decision, ErrorKind, EventStorage, Operation, Outcome, Query, SaveApi, Snapshot,
};
use futures::future::join_all;

use super::directory::{A, Directory, Letter, by_name, directory, saves, sequence, set};
use super::slow::Slow;

fn real_time<St: EventStorage>(storage: St, settings: SaveSettings) -> SaveApi<St> {
    SaveApi::with(storage, settings, Arc::new(SystemClock), Arc::new(Randomness::from_system()))
}

#[tokio::test(start_paused = true)]
async fn a_competitor_that_never_rests_does_not_make_saves_give_up() {
    for pause in [1, 2, 5, 10].map(Duration::from_millis) {
        let directory = directory();
        let running = Arc::new(AtomicBool::new(true));
        let competitor = tokio::spawn({
            let (rival, running) = (saves(Arc::clone(&directory)), Arc::clone(&running));
            async move {
                while running.load(Ordering::Relaxed) {
                    let _ = rival.save(&A, Operation::insert(set("abe", 0))).await.unwrap();
                    SystemClock.sleep(pause).await;
                }
            }
        });
        let saves = real_time(Arc::clone(&directory), SaveSettings::default());
        let mut tries = 0;
        for _ in 0..100 {
            let outcome = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
            tries += outcome.retries() + 1;
            assert!(matches!(outcome, Outcome::Saved(_)), "{outcome:?}");
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
        running.store(false, Ordering::Relaxed);
        competitor.await.unwrap();
        assert!(tries <= 300, "{tries} tries for 100 saves against a put every {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_of_one_process_do_not_conflict_with_each_other() {
    let directory = directory();
    let slow = Slow::new(Arc::clone(&directory), Duration::from_millis(1));
    let saves = Arc::new(real_time(slow, SaveSettings::default()));
    let tasks = (0..64).map(|_| {
        let saves = Arc::clone(&saves);
        tokio::spawn(async move {
            for _ in 0..10 {
                let outcome = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
                assert_eq!(outcome.retries(), 0);
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let calls = directory.take();
    assert_eq!((calls.puts, calls.conflicts, calls.latest), (640, 0, 1), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn deciders_of_several_keys_on_one_stream_do_not_conflict_with_each_other() {
    let directory = directory();
    let slow = Slow::new(Arc::clone(&directory), Duration::from_millis(1));
    let saves = Arc::new(real_time(slow, SaveSettings::default()));
    let decider = Arc::new(Decider::with(saves, |storage| {
        eventsrc_core::QueryApi::keyed(storage, super::directory::ByName, |_: &String| A)
    }));
    let tasks = (0..16).map(|task| {
        let decider = Arc::clone(&decider);
        tokio::spawn(async move {
            let name = format!("a{task}");
            for expected in 0..5 {
                let entry = set(&name, expected + 1);
                let next = Operation::<_, PreconditionFailed, _>::new(move |known: &Snapshot<u64, u32>| {
                    assert_eq!(known.value.unwrap_or(0), expected);
                    Decision::save(entry.clone())
                });
                let outcome = decider.save(&name, next).await.unwrap();
                assert_eq!(outcome.retries(), 0);
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(directory.take().conflicts, 0);
}

#[tokio::test(start_paused = true)]
async fn saves_of_one_stream_run_in_the_order_of_their_calls() {
    let slow = Slow::new(directory(), Duration::from_millis(1));
    let saves = real_time(slow, SaveSettings::default());
    let calls = (1..=20).map(|_| saves.save(&A, Operation::insert(set("ada", 1))));
    let sequences: Vec<u64> =
        join_all(calls).await.into_iter().map(|outcome| sequence(outcome.unwrap())).collect();
    assert_eq!(sequences, (1..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_save_beyond_the_queue_of_its_stream_is_refused_at_once() {
    let directory = directory();
    let slow = Slow::new(Arc::clone(&directory), Duration::from_millis(1));
    let saves = real_time(slow, SaveSettings { waiting: 4, ..SaveSettings::default() });
    let calls = (0..10).map(|_| saves.save(&A, Operation::insert(set("ada", 1))));
    let (stored, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((stored.len(), refused.len()), (5, 5));
    for error in refused.into_iter().filter_map(Result::err) {
        assert_eq!((error.source.kind(), error.unknown), (ErrorKind::Overloaded, false));
        assert_eq!(error.source.stream(), Some("letter/a"));
    }
    assert_eq!(directory.take().puts, 5);
    let other = saves.save(&Letter('b'), Operation::insert(set("bob", 1))).await.unwrap();
    assert_eq!(sequence(other), 1, "other streams have queues of their own");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_save_leaves_its_place_and_what_was_known() {
    let directory = directory();
    let slow = Slow::new(Arc::clone(&directory), Duration::from_millis(1));
    let saves = real_time(slow, SaveSettings::default());
    let _ = saves.save(&A, Operation::insert(set("ada", 1))).await.unwrap();
    let many = join_all((0..8).map(|_| saves.save(&A, Operation::insert(set("ada", 2)))));
    assert!(tokio::time::timeout(Duration::from_micros(3_500), many).await.is_err());
    directory.take();
    let _ = saves.save(&A, Operation::insert(set("ada", 3))).await.unwrap().saved().unwrap();
    assert_eq!(directory.take().latest, 0, "the head is still remembered");
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_ends_a_save_with_what_it_knows() {
    let limit = |limit| Context { limit: Some(Duration::from_millis(limit)), ..Context::default() };
    let save = async |storage: Slow<Directory>, limit: &Context| {
        let saves = real_time(storage, SaveSettings::default());
        saves.save_with(&A, limit, Operation::insert(set("ada", 1))).await
    };
    let slow = || Slow::new(directory(), Duration::from_secs(10));
    let reading = save(slow(), &limit(50)).await.unwrap_err();
    assert_eq!((reading.source.kind(), reading.unknown), (ErrorKind::Unavailable, false), "{reading}");
    assert!(reading.to_string().contains("is not saved"));
    let putting = save(slow(), &limit(15_000)).await.unwrap_err();
    assert_eq!((putting.source.kind(), putting.unknown), (ErrorKind::Unavailable, true), "{putting}");
    assert!(putting.to_string().contains("may or may not be saved"));
    let saved = save(slow(), &limit(25_000)).await.unwrap();
    assert_eq!(sequence(saved), 1);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_under_contention_reports_the_attempts() {
    let directory = directory();
    let conflicts = Arc::new(AtomicU32::new(0));
    let slow = Slow::new(Arc::clone(&directory), Duration::from_millis(10));
    let saves = real_time(slow.with_rival(Arc::clone(&conflicts)), SaveSettings::default());
    let context = Context { limit: Some(Duration::from_millis(200)), ..Context::default() };
    let outcome = saves.save_with(&A, &context, Operation::insert(set("ada", 1))).await;
    match outcome {
        Ok(Outcome::Contended { attempts }) => assert!(attempts > 1 && attempts < 20, "{attempts}"),
        Err(error) => assert!(error.unknown && error.retries > 1, "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(conflicts.load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn a_decision_to_do_nothing_is_a_success_without_a_commit() {
    let directory = directory();
    let decider = Decider::with(Arc::new(saves(Arc::clone(&directory))), by_name);
    let name = "ada".to_owned();
    let ensure = |wanted| {
        Operation::<_, PreconditionFailed, _>::new(move |known: &Snapshot<u64, u32>| {
            if known.value == Some(wanted) { Decision::Nothing } else { Decision::save(set("ada", wanted)) }
        })
    };
    let saved = decider.save(&name, ensure(1)).await.unwrap().saved().unwrap();
    directory.take();
    let Outcome::Unchanged(unchanged) = decider.save(&name, ensure(1)).await.unwrap() else {
        panic!("nothing to do")
    };
    assert_eq!((unchanged.sequence, &unchanged.token), (Some(1), &saved.token));
    assert!(unchanged.token.is_trusted());
    assert_eq!(directory.take().puts, 0);
    let batch = [ensure(1), ensure(2), ensure(2)];
    assert_eq!(sequence(decider.save_all(&name, &Context::default(), &batch).await.unwrap()), 2);
    let _ = saves(Arc::clone(&directory)).save(&A, Operation::insert(set("ada", 7))).await.unwrap();
    assert_eq!(
        sequence(decider.save(&name, ensure(2)).await.unwrap()),
        4,
        "it is decided on fresh knowledge"
    );
}

/// Counts up to a limit; at the limit there is nothing to do, and beyond it the operation rejects.
fn up_to(limit: u32) -> Operation<super::directory::Entry, &'static str, Snapshot<u64, u32>> {
    Operation::new(move |known: &Snapshot<u64, u32>| match known.value.unwrap_or(0) {
        value if value < limit => Decision::save(set("ada", value + 1)),
        value if value == limit => Decision::Nothing,
        _ => Decision::reject("above the limit"),
    })
}

#[tokio::test(start_paused = true)]
async fn a_gate_saves_many_operations_in_few_commits_and_answers_each() {
    let directory = directory();
    let slow = Slow::new(Arc::clone(&directory), Duration::from_millis(1));
    let saves = Arc::new(real_time(slow, SaveSettings::default()));
    let decider = Arc::new(Decider::with(saves, |storage| {
        eventsrc_core::QueryApi::keyed(storage, super::directory::ByName, |_: &String| A)
    }));
    let gate = SaveGate::new(Arc::clone(&decider));
    let name = "ada".to_owned();
    let outcomes = join_all((0..64).map(|_| gate.save(&name, up_to(u32::MAX)))).await;
    let saved: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().saved().unwrap()).collect();
    assert!(saved.iter().all(|saved| saved.retries == 0 && saved.token.is_trusted()));
    assert_eq!(saved.iter().map(|saved| saved.sequence).max(), Some(64));
    assert_eq!(decider.query().get(&name, eventsrc_core::Consistency::LatestEvent).await.unwrap(), Some(64));
    let calls = directory.take();
    assert!(calls.puts <= 3 && calls.conflicts == 0, "{calls:?}");

    let mixed = [65, 65, 64, 66, 10].map(|limit| gate.save(&name, up_to(limit)));
    let mixed = join_all(mixed).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    assert!(
        matches!(
            &mixed[..],
            [
                Outcome::Saved(_),
                Outcome::Unchanged(_),
                Outcome::Rejected { .. },
                Outcome::Saved(_),
                Outcome::Rejected { .. }
            ]
        ),
        "{mixed:?}"
    );
    let calls = directory.take();
    assert!(calls.puts <= 2 && calls.conflicts == 0, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_save_through_a_gate_goes_on_without_its_caller_and_a_panic_does_not_stop_the_gate() {
    let directory = directory();
    let decider = Arc::new(Decider::with(
        Arc::new(real_time(Arc::clone(&directory), SaveSettings::default())),
        by_name,
    ));
    let gate = Arc::new(SaveGate::new(Arc::clone(&decider)));
    let name = "ada".to_owned();
    let waiting = tokio::spawn({
        let (gate, name) = (Arc::clone(&gate), name.clone());
        async move { gate.save(&name, up_to(9)).await }
    });
    tokio::task::yield_now().await;
    waiting.abort();
    SystemClock.sleep(Duration::from_millis(1)).await;
    assert_eq!(decider.read(&name, |known| known.value).await.unwrap(), Some(1));

    let wrong =
        Operation::new(|_: &Snapshot<u64, u32>| -> Decision<_, &'static str> { panic!("a wrong operation") });
    let error = gate.save(&name, wrong).await.unwrap_err();
    assert_eq!((error.source.kind(), error.unknown), (ErrorKind::Unavailable, true));
    assert!(gate.save(&name, up_to(9)).await.unwrap().saved().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_gate_answers_all_callers_of_a_failed_save() {
    let directory = directory();
    let slow = Slow::new(Arc::clone(&directory), Duration::from_millis(10));
    let settings = SaveSettings {
        retry: eventsrc_core::retry::RetryPolicy { tries: 3, ..Default::default() },
        waiting: 4,
        ..SaveSettings::default()
    };
    let saves = Arc::new(real_time(slow.with_rival(Arc::default()), settings));
    let gate = SaveGate::new(Arc::new(Decider::with(saves, |storage| {
        eventsrc_core::QueryApi::keyed(storage, super::directory::ByName, |_: &String| A)
    })));
    let name = "ada".to_owned();
    let outcomes = join_all((0..8).map(|_| gate.save(&name, up_to(u32::MAX)))).await;
    let contended =
        outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Contended { attempts: 3 })));
    let contended = contended.count();
    let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    let refused =
        refused.filter(|error| error.source.kind() == ErrorKind::Overloaded && !error.unknown).count();
    assert_eq!((contended, refused), (4, 4), "{outcomes:?}");
}

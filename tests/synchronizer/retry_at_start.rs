//! Streams that older code has put in quarantine, when a synchronizer with newer code starts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use eventsrc_core::Synchronizer;
use eventsrc_core::rebuild::{Rebuild, RebuildSettings};
use eventsrc_core::synchronizer::{SynchronizerSettings, SynchronizerState};
use eventsrc_core::view::ViewStore;
use eventsrc_tests::HANG;

use super::failing_view_store::Failing;
use super::set_up::{
    REFUSED, Storage, View, feed, payloads, place, put, settings, storage, stream, synchronizer, until,
    view_that,
};

/// A view whose code rejects a payload until it is corrected, and counts how often.
struct Corrected {
    storage: Storage,
    view: View,
    accepts: Arc<AtomicBool>,
    /// Number of times that the code rejected the event of each stream.
    rejections: Arc<Mutex<HashMap<i64, usize>>>,
}

/// Number of streams that the code rejects. It is enough for the circuit breaker.
const REJECTED: i64 = 12;

impl Corrected {
    /// Streams of which each has three events. In the first ones, the code rejects the second event.
    async fn new() -> Self {
        let (accepts, rejections) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(HashMap::new())));
        let view = view_that({
            let (accepts, rejections) = (Arc::clone(&accepts), Arc::clone(&rejections));
            move |payload| {
                if payload > REFUSED || accepts.load(Ordering::SeqCst) {
                    return Ok(());
                }
                *rejections.lock().unwrap().entry(payload).or_default() += 1;
                Err("not yet".into())
            }
        });
        let storage = storage();
        for number in 0..40 {
            let middle = if number < REJECTED { REFUSED - number } else { number };
            for payload in [1, middle, 3] {
                put(&storage, &format!("a/{number:02}"), &[payload]).await;
            }
        }
        let old = synchronizer(&storage, &view);
        old.sweep().await.unwrap();
        old.stop().await;
        assert_eq!(view.quarantined().await.unwrap().len(), REJECTED as usize);
        Self { storage, view, accepts, rejections }
    }

    fn correct(&self) {
        self.accepts.store(true, Ordering::SeqCst);
    }

    /// True if all events of all streams are applied.
    fn is_complete(&self) -> bool {
        (0..40).all(|number| {
            let middle = if number < REJECTED { REFUSED - number } else { number };
            payloads(&self.view, &format!("a/{number:02}")) == [1, middle, 3]
        })
    }

    async fn until_complete(&self) {
        until("all rows", || async { self.is_complete() }).await;
        assert_eq!(self.view.quarantined().await.unwrap(), []);
    }
}

#[tokio::test]
async fn what_older_code_rejected_is_applied_by_newer_code_that_starts() {
    let set_up = Corrected::new().await;
    set_up.correct();
    let new = synchronizer(&set_up.storage, &set_up.view);
    set_up.until_complete().await;
    assert_eq!(new.status().await.unwrap().state, SynchronizerState::Running);
}

#[tokio::test]
async fn a_sweep_waits_for_the_streams_that_are_tried_again() {
    let set_up = Corrected::new().await;
    set_up.correct();
    synchronizer(&set_up.storage, &set_up.view).sweep().await.unwrap();
    assert!(set_up.is_complete());
}

#[tokio::test]
async fn what_newer_code_still_rejects_is_tried_once_and_stops_nothing() {
    let set_up = Corrected::new().await;
    let before = set_up.view.quarantined().await.unwrap();
    set_up.rejections.lock().unwrap().clear();
    let failing = Arc::new(Failing::new(Arc::clone(&set_up.view)));
    // One event in a batch, so that each trial is one call of the code.
    let settings = SynchronizerSettings { events_per_batch: 1, ..settings() };
    let new = Synchronizer::start(Arc::clone(&set_up.storage), Arc::clone(&failing), settings);
    new.sweep().await.unwrap();
    let after = set_up.view.quarantined().await.unwrap();
    let names = |entries: &[eventsrc_core::view::QuarantinedCommit<u64>]| {
        entries.iter().map(|entry| (entry.stream.clone(), entry.position, entry.sequence)).collect::<Vec<_>>()
    };
    assert_eq!(names(&before), names(&after));
    let rejections = set_up.rejections.lock().unwrap().clone();
    assert!(
        rejections.len() == REJECTED as usize && rejections.values().all(|times| *times == 1),
        "{rejections:?}"
    );

    // The others go on, and nothing is tried again.
    let (hand, feed) = feed();
    for number in 0..40 {
        hand.commits([&put(&set_up.storage, &format!("a/{number:02}"), &[4]).await]);
    }
    drop(hand);
    new.follow(feed).await.unwrap();
    new.sweep().await.unwrap();
    assert_eq!(payloads(&set_up.view, "a/30"), [1, 30, 3, 4]);
    assert_eq!(failing.releases(), REJECTED as usize);
    assert_eq!(set_up.view.quarantined().await.unwrap(), after);
    assert_eq!(new.status().await.unwrap().state, SynchronizerState::Running);
    new.stop().await;
}

#[tokio::test]
async fn nothing_is_tried_again_if_the_setting_is_off() {
    let set_up = Corrected::new().await;
    set_up.correct();
    let before = set_up.view.quarantined().await.unwrap();
    let settings = SynchronizerSettings { retry_quarantined_at_start: false, ..settings() };
    let new = Synchronizer::start(Arc::clone(&set_up.storage), Arc::clone(&set_up.view), settings);
    new.sweep().await.unwrap();
    assert_eq!(set_up.view.quarantined().await.unwrap(), before);
    assert_eq!(new.retry_all(|_| true).await.unwrap(), REJECTED as usize);
    set_up.until_complete().await;
}

#[tokio::test]
async fn a_database_that_fails_at_the_start_delays_the_retry_and_loses_nothing() {
    let ways: [fn(&Failing); 3] =
        [|failing| failing.fail(true), Failing::fail_applying_only, Failing::lose_replies_of_releases];
    for fail in ways {
        let set_up = Corrected::new().await;
        set_up.correct();
        let failing = Arc::new(Failing::new(Arc::clone(&set_up.view)));
        fail(&failing);
        let new = Synchronizer::start(Arc::clone(&set_up.storage), Arc::clone(&failing), settings());
        until("some failures", || async { failing.failed_calls() > 5 }).await;
        assert!(!set_up.is_complete());
        failing.fail(false);
        set_up.until_complete().await;
        new.stop().await;
    }
}

#[tokio::test]
async fn a_stream_that_was_not_tried_before_the_end_is_in_quarantine_as_before() {
    let set_up = Corrected::new().await;
    let before = set_up.view.quarantined().await.unwrap();
    let failing = Arc::new(Failing::new(Arc::clone(&set_up.view)));
    failing.fail_applying_only();
    let new = Synchronizer::start(Arc::clone(&set_up.storage), Arc::clone(&failing), settings());
    until("a release", || async { failing.releases() > 0 }).await;
    tokio::time::timeout(HANG, new.stop()).await.expect("it stops");
    assert!(failing.releases() > 0);
    assert_eq!(set_up.view.quarantined().await.unwrap(), before);
}

#[tokio::test]
async fn a_stream_that_another_process_rejects_in_between_is_tried_by_this_one() {
    let set_up = Corrected::new().await;
    set_up.correct();
    let failing = Arc::new(Failing::new(Arc::clone(&set_up.view)));
    failing.undo_releases(REJECTED as usize);
    let new = Synchronizer::start(Arc::clone(&set_up.storage), Arc::clone(&failing), settings());
    set_up.until_complete().await;
    assert_eq!(failing.releases(), 2 * REJECTED as usize);
    new.stop().await;
}

#[tokio::test]
async fn several_processes_that_start_at_once_apply_each_commit_once() {
    let set_up = Corrected::new().await;
    set_up.correct();
    let starting: Vec<_> = (0..5).map(|_| synchronizer(&set_up.storage, &set_up.view)).collect();
    set_up.until_complete().await;
    for synchronizer in starting {
        synchronizer.sweep().await.unwrap();
        assert!(set_up.is_complete());
        synchronizer.stop().await;
    }
}

#[tokio::test]
async fn a_skip_directly_after_the_start_finds_the_stream_in_quarantine() {
    let set_up = Corrected::new().await;
    for number in 0..REJECTED {
        let new = synchronizer(&set_up.storage, &set_up.view);
        let name = format!("a/{number:02}");
        new.skip(&stream(&name), "Ada: it is of no use").await.unwrap();
        new.sweep().await.unwrap();
        assert_eq!(payloads(&set_up.view, &name), [1, 3]);
        new.stop().await;
    }
}

#[tokio::test]
async fn a_stream_that_fails_for_the_first_time_counts_for_the_breaker_after_a_retry_of_others() {
    let set_up = Corrected::new().await;
    let new = synchronizer(&set_up.storage, &set_up.view);
    new.sweep().await.unwrap();
    for number in 100..200 {
        put(&set_up.storage, &format!("a/{number}"), &[REFUSED]).await;
    }
    assert!(new.sweep().await.is_err());
    let state = new.status().await.unwrap().state;
    assert!(matches!(state, SynchronizerState::Broken { .. }), "{state:?}");
}

#[tokio::test]
async fn a_rebuild_that_is_run_again_applies_what_corrected_code_accepts() {
    let set_up = Corrected::new().await;
    set_up.correct();
    let settings = RebuildSettings { synchronizer: settings(), ..RebuildSettings::default() };
    let rebuild = Rebuild::new(Arc::clone(&set_up.storage), Arc::clone(&set_up.view)).with(settings);
    let report = rebuild.run(|_| ()).await.unwrap();
    assert!(report.quarantined.is_empty(), "{:?}", report.quarantined);
    assert!(set_up.is_complete());
    assert!(!place(&set_up.view, "a/00").quarantined);
}

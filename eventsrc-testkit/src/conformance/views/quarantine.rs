//! Quarantine of streams, and release from it.

use std::time::Duration;

use eventsrc_core::Timestamp;
use eventsrc_core::view::{Applied, Batch, QuarantinedCommit, StreamPosition, ViewStore};
use futures::future::join;

use super::super::trial::sequence;
use super::super::violation::{RuleResult, Violation, ensure, ensure_eq};
use super::backend::{ViewBackend, ViewSequenceOf};
use super::trial::{ViewHandle, ViewTrial, all, named, run};

/// A stream in quarantine is shown as such in positions, to readers and in the list, before its first event and
/// later.
pub(super) async fn a_stream_in_quarantine_is_shown<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let (old, new, sound) = (on.chain("a", [2, 1]), on.chain("b", [1]), on.chain("c", [1]));
    view.applies(vec![run::<B>(&old, 0..1), all::<B>(&sound)]).await?;
    let entries = [on.quarantined_commit(&old, 1), on.quarantined_commit(&new, 0)];
    for entry in &entries {
        view.store().quarantine(entry).await?;
    }
    for handle in [view, on.open().await] {
        handle.has_quarantined(&[&entries[0], &entries[1]]).await?;
        let expected = [
            StreamPosition { position: entries[0].position, quarantined: true },
            StreamPosition { position: None, quarantined: true },
            StreamPosition { position: Some(sound[0].last()), quarantined: false },
        ];
        let streams = ["a", "b", "c"].map(named);
        ensure_eq!(handle.store().positions_of(&streams).await?, expected, "the positions");
        ensure_eq!(handle.read(&streams).await?.0, expected, "the positions that a reader sees");
    }
    Ok(())
}

/// The record of a quarantine comes back: error, sequence and time.
pub(super) async fn the_recorded_error_comes_back<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let long = "because of that, ".repeat(20_000);
    let errors = ["", " ", "two\nlines: \"quoted\" 'and' \\ % $1", "naïve 🦀\u{1}", &long];
    let mut entries = Vec::new();
    for (at, error) in errors.into_iter().enumerate() {
        let chain = on.chain(&*format!("{at}"), [1 + at, 1]);
        view.applies(vec![run::<B>(&chain, 0..1)]).await?;
        let time = Timestamp::from_microsecond(-62_000_000_000_000_001 + at as i64 * 60_000_000_000_000_003);
        let time = time.expect("the time is in range");
        entries.push(QuarantinedCommit { error: error.into(), time, ..on.quarantined_commit(&chain, 1) });
    }
    entries.push(QuarantinedCommit {
        stream: named("large"),
        position: None,
        sequence: sequence(i64::MAX as u64),
        error: "far away".into(),
        time: entries[0].time,
    });
    for entry in &entries {
        view.store().quarantine(entry).await?;
    }
    view.has_quarantined(&entries.iter().collect::<Vec<_>>()).await
}

/// An error with U+0000 in its text, which some databases cannot hold, is recorded with the rest of its text.
pub(super) async fn an_error_with_a_zero_character_is_recorded<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1]);
    let entry = QuarantinedCommit {
        error: "not a name: \"a\0b\" in the payload".into(),
        ..on.quarantined_commit(&chain, 0)
    };
    view.store().quarantine(&entry).await?;
    let found = view.store().quarantined().await?;
    let [found] = &found[..] else {
        return Err(Violation::new(format!("expected one stream in quarantine: {found:?}")));
    };
    for part in ["not a name: \"a", "b\" in the payload"] {
        ensure!(found.error.contains(part), "the error is recorded as {:?}", found.error);
    }
    view.has_quarantined(&[&QuarantinedCommit { error: found.error.clone(), ..entry }]).await
}

/// The list of quarantines is sorted by name and contains each stream once.
pub(super) async fn quarantines_are_sorted_by_name<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let keys = ["b", "B", "é", "a b", "a", "10", "9", "ab", "🦀", "\u{ffee}"];
    let entries: Vec<_> = keys.iter().map(|key| on.quarantined_commit(&on.chain(*key, [1]), 0)).collect();
    for entry in entries.iter().chain(&entries) {
        view.store().quarantine(entry).await?;
    }
    view.has_quarantined(&entries.iter().collect::<Vec<_>>()).await
}

/// A stream whose position is past the commit does not go into quarantine for it.
pub(super) async fn a_stream_past_the_commit_is_not_quarantined<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2, 1]);
    let entries: Vec<_> = (0..3).map(|index| on.quarantined_commit(&chain, index)).collect();
    for applied in 0..=3 {
        for (_, entry) in entries.iter().enumerate().filter(|(index, _)| *index != applied) {
            view.store().quarantine(entry).await?;
            view.has_quarantined(&[]).await?;
        }
        if applied < 3 {
            view.applies(vec![run::<B>(&chain, applied..applied + 1)]).await?;
        }
    }
    view.holds(&[&chain]).await
}

/// A commit that is applied and quarantined concurrently is either applied or in quarantine.
pub(super) async fn a_commit_is_applied_or_quarantined<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    for round in 0..20 {
        let key = format!("round {round}");
        let chain = on.chain(&*key, [1, 1]);
        let applied_before = round % 2;
        if applied_before == 1 {
            handles[0].applies(vec![run::<B>(&chain, 0..1)]).await?;
        }
        let (worker, other) = (handles[0].clone(), handles[1].clone());
        let batch = Batch::new(vec![run::<B>(&chain, applied_before..applied_before + 1)]);
        let entry = on.quarantined_commit(&chain, applied_before);
        let quarantines = async move { other.store().quarantine(&entry).await };
        let applies = async move { worker.store().apply(&batch).await };
        // Each is spawned first in half of the rounds.
        let (applies, quarantines) = if round % 4 < 2 {
            (tokio::spawn(applies), tokio::spawn(quarantines))
        } else {
            let quarantines = tokio::spawn(quarantines);
            (tokio::spawn(applies), quarantines)
        };
        let (applied, quarantined) = join(applies, quarantines).await;
        let panicked = |panic: tokio::task::JoinError| Violation::new(panic.to_string());
        quarantined.map_err(panicked)??;
        let stream_position = handles[0].stream_position(&*key).await?;
        let (before, after) =
            (applied_before.checked_sub(1).map(|at| chain[at].last()), Some(chain[applied_before].last()));
        match applied.map_err(panicked)?? {
            Applied::Done => {
                ensure_eq!(
                    stream_position,
                    StreamPosition { position: after, quarantined: false },
                    "the position of {key}"
                );
            }
            Applied::Quarantined | Applied::PositionDiffers => {
                ensure_eq!(
                    stream_position,
                    StreamPosition { position: before, quarantined: true },
                    "the position of {key}"
                );
            }
            other => return Err(Violation::new(format!("the answer to the batch is {other:?}"))),
        }
    }
    Ok(())
}

/// A second quarantine of a stream keeps the error, sequence and time of the first, before the first event and later.
/// One release ends it.
pub(super) async fn a_second_quarantine_keeps_the_first_record<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let (old, new) = (on.chain("a", [1, 2]), on.chain("b", [1, 2]));
    view.applies(vec![run::<B>(&old, 0..1)]).await?;
    let entries = [on.quarantined_commit(&old, 1), on.quarantined_commit(&new, 0)];
    for entry in &entries {
        view.store().quarantine(entry).await?;
    }
    for (handle, later) in [(view.clone(), 5), (on.open().await, 6)] {
        for entry in &entries {
            for time in [entry.time + Duration::from_secs(later), Timestamp::UNIX_EPOCH] {
                let error = format!("{later}: {}", entry.error);
                let quarantine_and_release =
                    QuarantinedCommit { sequence: sequence(later), error, time, ..entry.clone() };
                handle.store().quarantine(&quarantine_and_release).await?;
            }
        }
        handle.has_quarantined(&[&entries[0], &entries[1]]).await?;
    }
    for entry in &entries {
        ensure!(view.store().release(&entry.stream).await?, "the stream was not in quarantine");
    }
    view.has_quarantined(&[]).await?;
    view.applies(vec![run::<B>(&old, 1..2), all::<B>(&new)]).await
}

/// A batch with a stream in quarantine is `Quarantined`, alone and together with other streams.
pub(super) async fn a_batch_of_a_stream_in_quarantine_is_refused<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let (old, new, sound) = (on.chain("b", [1, 1]), on.chain("m", [1]), on.chain("z", [1]));
    view.applies(vec![run::<B>(&old, 0..1)]).await?;
    for (chain, index) in [(&old, 1), (&new, 0)] {
        view.store().quarantine(&on.quarantined_commit(chain, index)).await?;
    }
    for handle in [view, on.open().await] {
        handle.refuses_quarantined(vec![run::<B>(&old, 1..2)]).await?;
        handle.refuses_quarantined(vec![all::<B>(&new)]).await?;
        handle.refuses_quarantined(vec![run::<B>(&old, 1..2), all::<B>(&sound)]).await?;
        handle.refuses_quarantined(vec![all::<B>(&new), all::<B>(&sound)]).await?;
        handle.holds(&[&old[..1]]).await?;
    }
    Ok(())
}

/// Other streams continue while one is in quarantine.
pub(super) async fn other_streams_continue_during_a_quarantine<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let (stopped, sound) = (on.chain("a", [1]), on.chain("b", [1, 2, 1]));
    view.store().quarantine(&on.quarantined_commit(&stopped, 0)).await?;
    view.applies_each(&sound).await?;
    view.holds(&[&sound]).await
}

/// `release` ends a quarantine, and returns whether there was one.
pub(super) async fn release_ends_a_quarantine<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 1]);
    ensure_eq!(view.store().release(&named("a")).await?, false, "release of an unknown stream");
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    ensure_eq!(
        view.store().release(&named("a")).await?,
        false,
        "release of a stream that is not in quarantine"
    );
    view.store().quarantine(&on.quarantined_commit(&chain, 1)).await?;
    ensure_eq!(on.open().await.store().release(&named("a")).await?, true, "release of a quarantine");
    ensure_eq!(view.store().release(&named("a")).await?, false, "release of a released stream");
    view.has_quarantined(&[]).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await?;
    view.holds(&[&chain]).await
}

/// `release` changes no position and ends no other quarantine.
pub(super) async fn release_changes_nothing_else<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", [1, 1]), on.chain("b", [1, 1]), on.chain("c", [1])];
    view.applies(chains[..2].iter().map(|chain| run::<B>(chain, 0..1)).collect()).await?;
    let entries = [
        on.quarantined_commit(&chains[0], 1),
        on.quarantined_commit(&chains[1], 1),
        on.quarantined_commit(&chains[2], 0),
    ];
    for entry in &entries {
        view.store().quarantine(entry).await?;
    }
    view.store().release(&named("a")).await?;
    view.has_quarantined(&[&entries[1], &entries[2]]).await?;
    view.holds(&[&chains[0][..1], &chains[1][..1]]).await?;
    view.has_skipped(&[]).await?;
    ensure_eq!(view.stream_position("a").await?.quarantined, false, "the quarantine of stream a");
    Ok(())
}

/// A released stream may go into quarantine again, with another error.
pub(super) async fn a_released_stream_may_be_quarantined_again<B: ViewBackend>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 1]);
    let first = on.quarantined_commit(&chain, 0);
    quarantine_and_release(&view, &first).await?;
    quarantine_and_release(&view, &QuarantinedCommit { error: "another error".into(), ..first }).await?;
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    quarantine_and_release(&view, &on.quarantined_commit(&chain, 1)).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await
}

async fn quarantine_and_release<B: ViewBackend>(
    view: &ViewHandle<B>,
    entry: &QuarantinedCommit<ViewSequenceOf<B>>,
) -> RuleResult {
    view.store().quarantine(entry).await?;
    view.has_quarantined(&[entry]).await?;
    ensure!(view.store().release(&entry.stream).await?, "the stream was not in quarantine");
    view.has_quarantined(&[]).await
}

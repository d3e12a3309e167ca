//! Streams that are stopped, and go on.

use std::time::Duration;

use eventsrc_core::Timestamp;
use eventsrc_core::view::{Applied, Batch, QuarantinedCommit, StreamPosition, ViewStore};
use futures::future::join;

use super::super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::super::trial::sequence;
use super::backend::{ViewBackend, ViewSequenceOf};
use super::trial::{ViewHandle, ViewTrial, all, named, run};

/// A stream in quarantine is shown so, in places, to readers and in the list, before its first event and later.
pub async fn a_stream_in_quarantine_is_shown<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let (old, new, sound) = (on.chain("a", [2, 1]), on.chain("b", [1]), on.chain("c", [1]));
    view.applies(vec![run::<B>(&old, 0..1), all::<B>(&sound)]).await?;
    let poisons = [on.poison(&old, 1), on.poison(&new, 0)];
    for poison in &poisons {
        view.store().quarantine(poison).await?;
    }
    for handle in [view, on.open().await] {
        handle.quarantines(&[&poisons[0], &poisons[1]]).await?;
        let expected = [
            StreamPosition { position: poisons[0].position, quarantined: true },
            StreamPosition { position: None, quarantined: true },
            StreamPosition { position: Some(sound[0].last()), quarantined: false },
        ];
        let streams = ["a", "b", "c"].map(named);
        ensure_eq!(handle.store().positions_of(&streams).await?, expected, "the places");
        ensure_eq!(handle.read(&streams).await?.0, expected, "the places that a reader is given");
    }
    Ok(())
}

/// What was recorded of a quarantine comes back: error, sequence and time.
pub async fn what_was_recorded_comes_back<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let long = "because of that, ".repeat(20_000);
    let errors = ["", " ", "two\nlines: \"quoted\" 'and' \\ % $1", "naïve 🦀\u{1}", &long];
    let mut poisons = Vec::new();
    for (at, error) in errors.into_iter().enumerate() {
        let chain = on.chain(&*format!("{at}"), [1 + at, 1]);
        view.applies(vec![run::<B>(&chain, 0..1)]).await?;
        let time = Timestamp::from_microsecond(-62_000_000_000_000_001 + at as i64 * 60_000_000_000_000_003);
        let time = time.expect("the time is in range");
        poisons.push(QuarantinedCommit { error: error.into(), time, ..on.poison(&chain, 1) });
    }
    poisons.push(QuarantinedCommit {
        stream: named("large"),
        position: None,
        sequence: sequence(i64::MAX as u64),
        error: "far away".into(),
        time: poisons[0].time,
    });
    for poison in &poisons {
        view.store().quarantine(poison).await?;
    }
    view.quarantines(&poisons.iter().collect::<Vec<_>>()).await
}

/// An error with U+0000 in its text, which some databases cannot hold, is recorded all the same, with all else of it.
pub async fn an_error_with_a_zero_character_is_recorded<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1]);
    let poison = QuarantinedCommit { error: "not a name: \"a\0b\", it says".into(), ..on.poison(&chain, 0) };
    view.store().quarantine(&poison).await?;
    let found = view.store().quarantined().await?;
    let [found] = &found[..] else {
        return Err(Violation::new(format!("the quarantines are {found:?}")));
    };
    for part in ["not a name: \"a", "b\", it says"] {
        ensure!(found.error.contains(part), "the error is recorded as {:?}", found.error);
    }
    view.quarantines(&[&QuarantinedCommit { error: found.error.clone(), ..poison }]).await
}

/// The list of quarantines is by name, and has each stream once.
pub async fn quarantines_are_sorted_by_name<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let keys = ["b", "B", "é", "a b", "a", "10", "9", "ab", "🦀", "\u{ffee}"];
    let poisons: Vec<_> = keys.iter().map(|key| on.poison(&on.chain(*key, [1]), 0)).collect();
    for poison in poisons.iter().chain(&poisons) {
        view.store().quarantine(poison).await?;
    }
    view.quarantines(&poisons.iter().collect::<Vec<_>>()).await
}

/// A stream that has moved past the commit does not go into quarantine for it.
pub async fn a_stream_that_moved_on_is_not_quarantined<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 2, 1]);
    let poisons: Vec<_> = (0..3).map(|index| on.poison(&chain, index)).collect();
    for applied in 0..=3 {
        for (_, poison) in poisons.iter().enumerate().filter(|(index, _)| *index != applied) {
            view.store().quarantine(poison).await?;
            view.quarantines(&[]).await?;
        }
        if applied < 3 {
            view.applies(vec![run::<B>(&chain, applied..applied + 1)]).await?;
        }
    }
    view.holds(&[&chain]).await
}

/// Of a commit that is applied and put in quarantine at once, one comes true.
pub async fn a_commit_is_applied_or_quarantined<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let handles = [on.open().await, on.open().await];
    for round in 0..20 {
        let key = format!("round {round}");
        let chain = on.chain(&*key, [1, 1]);
        let begun = round % 2;
        if begun == 1 {
            handles[0].applies(vec![run::<B>(&chain, 0..1)]).await?;
        }
        let (worker, other) = (handles[0].clone(), handles[1].clone());
        let batch = Batch::new(vec![run::<B>(&chain, begun..begun + 1)]);
        let poison = on.poison(&chain, begun);
        let quarantines = async move { other.store().quarantine(&poison).await };
        let applies = async move { worker.store().apply(&batch).await };
        // Each comes first in half of the rounds.
        let (applies, quarantines) = if round % 4 < 2 {
            (tokio::spawn(applies), tokio::spawn(quarantines))
        } else {
            let quarantines = tokio::spawn(quarantines);
            (tokio::spawn(applies), quarantines)
        };
        let (applied, quarantined) = join(applies, quarantines).await;
        let panicked = |panic: tokio::task::JoinError| Violation::new(panic.to_string());
        quarantined.map_err(panicked)??;
        let place = handles[0].place(&*key).await?;
        let (before, after) = (begun.checked_sub(1).map(|at| chain[at].last()), Some(chain[begun].last()));
        match applied.map_err(panicked)?? {
            Applied::Done => {
                ensure_eq!(
                    place,
                    StreamPosition { position: after, quarantined: false },
                    "the place of {key}"
                );
            }
            Applied::Quarantined | Applied::PositionDiffers => {
                ensure_eq!(
                    place,
                    StreamPosition { position: before, quarantined: true },
                    "the place of {key}"
                );
            }
            other => return Err(Violation::new(format!("the batch came to {other:?}"))),
        }
    }
    Ok(())
}

/// A stream that is put in quarantine again keeps the error, sequence and time of the first, before its first event and
/// later; and one release ends it.
pub async fn a_second_quarantine_keeps_the_first_record<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let (old, new) = (on.chain("a", [1, 2]), on.chain("b", [1, 2]));
    view.applies(vec![run::<B>(&old, 0..1)]).await?;
    let poisons = [on.poison(&old, 1), on.poison(&new, 0)];
    for poison in &poisons {
        view.store().quarantine(poison).await?;
    }
    for (handle, later) in [(view.clone(), 5), (on.open().await, 6)] {
        for poison in &poisons {
            for time in [poison.time + Duration::from_secs(later), Timestamp::UNIX_EPOCH] {
                let error = format!("{later}: {}", poison.error);
                let again = QuarantinedCommit { sequence: sequence(later), error, time, ..poison.clone() };
                handle.store().quarantine(&again).await?;
            }
        }
        handle.quarantines(&[&poisons[0], &poisons[1]]).await?;
    }
    for poison in &poisons {
        ensure!(view.store().release(&poison.stream).await?, "there was nothing to release");
    }
    view.quarantines(&[]).await?;
    view.applies(vec![run::<B>(&old, 1..2), all::<B>(&new)]).await
}

/// A batch of a stream in quarantine is `Quarantined`, and so is one of others with it.
pub async fn a_batch_of_a_stream_in_quarantine_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let (old, new, sound) = (on.chain("b", [1, 1]), on.chain("m", [1]), on.chain("z", [1]));
    view.applies(vec![run::<B>(&old, 0..1)]).await?;
    for (chain, index) in [(&old, 1), (&new, 0)] {
        view.store().quarantine(&on.poison(chain, index)).await?;
    }
    for handle in [view, on.open().await] {
        handle.finds_a_quarantine(vec![run::<B>(&old, 1..2)]).await?;
        handle.finds_a_quarantine(vec![all::<B>(&new)]).await?;
        handle.finds_a_quarantine(vec![run::<B>(&old, 1..2), all::<B>(&sound)]).await?;
        handle.finds_a_quarantine(vec![all::<B>(&new), all::<B>(&sound)]).await?;
        handle.holds(&[&old[..1]]).await?;
    }
    Ok(())
}

/// Streams beside one in quarantine go on.
pub async fn streams_beside_a_quarantine_go_on<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let (stopped, sound) = (on.chain("a", [1]), on.chain("b", [1, 2, 1]));
    view.store().quarantine(&on.poison(&stopped, 0)).await?;
    view.applies_each(&sound).await?;
    view.holds(&[&sound]).await
}

/// `release` ends a quarantine, and says whether there was one.
pub async fn release_ends_a_quarantine<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 1]);
    ensure_eq!(view.store().release(&named("a")).await?, false, "release of a stream that is not there");
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    ensure_eq!(view.store().release(&named("a")).await?, false, "release of a sound stream");
    view.store().quarantine(&on.poison(&chain, 1)).await?;
    ensure_eq!(on.open().await.store().release(&named("a")).await?, true, "release of a quarantine");
    ensure_eq!(view.store().release(&named("a")).await?, false, "release of what was released");
    view.quarantines(&[]).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await?;
    view.holds(&[&chain]).await
}

/// `release` moves nothing, and ends no other quarantine.
pub async fn release_changes_nothing_else<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", [1, 1]), on.chain("b", [1, 1]), on.chain("c", [1])];
    view.applies(chains[..2].iter().map(|chain| run::<B>(chain, 0..1)).collect()).await?;
    let poisons = [on.poison(&chains[0], 1), on.poison(&chains[1], 1), on.poison(&chains[2], 0)];
    for poison in &poisons {
        view.store().quarantine(poison).await?;
    }
    view.store().release(&named("a")).await?;
    view.quarantines(&[&poisons[1], &poisons[2]]).await?;
    view.holds(&[&chains[0][..1], &chains[1][..1]]).await?;
    view.has_skipped(&[]).await?;
    ensure_eq!(view.place("a").await?.quarantined, false, "whether a is in quarantine");
    Ok(())
}

/// A stream that was released may go into quarantine again, with another error.
pub async fn a_released_stream_may_be_quarantined_again<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1, 1]);
    let first = on.poison(&chain, 0);
    again(&view, &first).await?;
    again(&view, &QuarantinedCommit { error: "another error".into(), ..first }).await?;
    view.applies(vec![run::<B>(&chain, 0..1)]).await?;
    again(&view, &on.poison(&chain, 1)).await?;
    view.applies(vec![run::<B>(&chain, 1..2)]).await
}

async fn again<B: ViewBackend>(
    view: &ViewHandle<B>,
    poison: &QuarantinedCommit<ViewSequenceOf<B>>,
) -> RuleResult {
    view.store().quarantine(poison).await?;
    view.quarantines(&[poison]).await?;
    ensure!(view.store().release(&poison.stream).await?, "there was nothing to release");
    view.quarantines(&[]).await
}

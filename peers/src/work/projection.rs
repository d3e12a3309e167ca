//! A projection of what is stored, while others append.
//!
//! It is measured while it catches up, beside writers who all have the same pace, so that a library does not gain by
//! being slow to append. They go on for a while once it has caught up, and then as fast as they can, so that it is seen
//! what becomes of events that are stored while it reads.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use eventsrc_core::clock::{Clock, SystemClock};
use futures::future::try_join_all;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::ledger::{COUNT_SQL, STREAMS, Totals, count, entry};
use super::{Measured, ensure_stored};
use crate::database::Database;
use crate::measure::Stopwatch;
use crate::peer::{Peer, Run};

/// How the rows of a projection compare with what was stored, once it had all the time that it wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) stored: u64,
    pub(crate) applied: u64,
    /// Events that are missing in their rows.
    pub(crate) lost: u64,
    /// Events that their rows have too often.
    pub(crate) repeated: u64,
    /// Rows with the right number of events and another sum.
    pub(crate) wrong: u64,
}

impl Verdict {
    pub(crate) fn is_right(&self) -> bool {
        self.lost + self.repeated + self.wrong == 0
    }

    fn of(expected: &Totals, found: &Totals) -> Self {
        let mut verdict = Self::default();
        for stream in expected.keys().chain(found.keys().filter(|stream| !expected.contains_key(*stream))) {
            let total = |totals: &Totals| totals.get(stream).copied().unwrap_or_default();
            let (expected, found) = (total(expected), total(found));
            verdict.stored += count(expected);
            verdict.applied += count(found);
            verdict.lost += count(expected).saturating_sub(count(found));
            verdict.repeated += count(found).saturating_sub(count(expected));
            verdict.wrong += u64::from(count(expected) == count(found) && expected != found);
        }
        verdict
    }
}

const WRITERS: u64 = 8;
/// How many store the events before.
const FILLERS: u64 = 40;
/// Between two commands of a writer.
const PACE: Duration = Duration::from_millis(50);
/// How long they keep it up after that.
const LINGER: Duration = Duration::from_secs(4);
/// How long they then go as fast as they can.
const HURRY: Duration = Duration::from_secs(1);
/// A projection that has not moved for so long has ended.
const PATIENCE: f64 = 15.0;

/// Events a second, of those that were stored before.
pub(super) async fn run(peer: &Arc<dyn Peer>, database: &mut Database, events: u64) -> Result<Measured> {
    let mut expected = fill(peer, events).await?;
    ensure_stored(&**peer, database, events).await?;
    database.settle().await?;

    let run = Run::default();
    let watch = Stopwatch::start();
    let mut projecting = tokio::spawn({
        let (peer, run) = (Arc::clone(peer), run.clone());
        async move { peer.project(run).await }
    });
    tokio::select! {
        () = run.listening.cancelled() => {}
        ended = &mut projecting => bail!("the projection ended before it began: {ended:?}"),
    }
    let (hurry, enough) = (CancellationToken::new(), CancellationToken::new());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(Arc::clone(peer), writer, hurry.clone(), enough.clone())))
        .collect();

    let stored_before =
        format!("SELECT coalesce(sum{COUNT_SQL}, 0)::bigint FROM proj WHERE id LIKE 'stored-%'");
    let (done, seconds) = until(database, &stored_before, events, &watch).await?;
    SystemClock.sleep(LINGER).await;
    hurry.cancel();
    SystemClock.sleep(HURRY).await;
    enough.cancel();
    let mut failures = 0;
    for (written, in_vain) in try_join_all(writers).await?.into_iter().collect::<Result<Vec<_>>>()? {
        expected.extend(written);
        failures += in_vain;
    }

    let all = expected.values().copied().map(count).sum();
    ensure_stored(&**peer, database, all).await?;
    let applied = format!("SELECT coalesce(sum{COUNT_SQL}, 0)::bigint FROM proj");
    until(database, &applied, all, &Stopwatch::start()).await?;
    run.stop.cancel();
    projecting.await?.context("the projection failed")?;
    let verdict = Verdict::of(&expected, &database.projected().await?);
    Ok(Measured { value: done as f64 / seconds, count: events, failures, verdict: Some(verdict) })
}

/// Stores events on all streams, a few at a time, as they would come.
async fn fill(peer: &Arc<dyn Peer>, events: u64) -> Result<Totals> {
    let filling = (0..FILLERS).map(|filler| {
        let peer = Arc::clone(peer);
        tokio::spawn(async move {
            let mut totals = Totals::new();
            let streams: Vec<_> = (0..STREAMS).filter(|number| number % FILLERS == filler).collect();
            let length = |number| events / STREAMS + u64::from(number < events % STREAMS);
            for start in (0..=events / STREAMS).step_by(10) {
                for number in &streams {
                    let stream = format!("stored-{number}");
                    let places = start..length(*number).min(start + 10);
                    if places.is_empty() {
                        continue;
                    }
                    let entries: Vec<_> = places.map(|place| entry(&stream, place)).collect();
                    let total: i64 = entries.iter().map(|entry| entry.amount).sum();
                    peer.fill(&stream, entries).await?;
                    *totals.entry(stream).or_default() += total;
                }
            }
            anyhow::Ok(totals)
        })
    });
    let filled = try_join_all(filling).await?.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(filled.into_iter().flatten().collect())
}

/// Goes on with commands on streams of its own, at a pace until told to hurry, and until told that it is enough; its sums,
/// and how many tries were in vain.
async fn write(
    peer: Arc<dyn Peer>,
    writer: u64,
    hurry: CancellationToken,
    enough: CancellationToken,
) -> Result<(Totals, u64)> {
    let (mut totals, mut failures) = (Totals::new(), 0);
    for number in 0.. {
        if enough.is_cancelled() {
            break;
        }
        let own = STREAMS / WRITERS;
        let stream = format!("written-{writer}-{}", number % own);
        let entry = entry(&stream, number / own);
        let amount = entry.amount;
        failures += peer.command(&stream, entry).await?;
        *totals.entry(stream).or_default() += amount;
        tokio::select! {
            () = SystemClock.sleep(PACE) => {}
            () = hurry.cancelled() => {}
        }
    }
    Ok((totals, failures))
}

/// Waits until `statement` answers at least `wanted`, or no longer changes; what it answered, and how many seconds had
/// gone by when it first did.
async fn until(
    database: &mut Database,
    statement: &str,
    wanted: u64,
    watch: &Stopwatch,
) -> Result<(u64, f64)> {
    let (mut latest, mut since) = (0, 0.0);
    loop {
        let number = database.number(statement).await?;
        let seconds = watch.seconds();
        if number != latest {
            (latest, since) = (number, seconds);
        }
        if number >= wanted || seconds - since > PATIENCE {
            return Ok((latest, if number >= wanted { seconds } else { since }));
        }
        // Often enough to be exact to 2%, and not so often that it would be felt.
        SystemClock.sleep(Duration::from_secs_f64((seconds / 50.0).clamp(0.002, 0.1))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_tells_lost_from_repeated_and_from_wrong() {
        let sum = |places: &[u64]| places.iter().map(|place| entry("l", *place).amount).sum::<i64>();
        let totals = |sums: [&[u64]; 3]| {
            (0..).zip(sums).map(|(number, places)| (format!("l-{number}"), sum(places))).collect::<Totals>()
        };
        let expected = totals([&[0, 1, 2], &[0, 1], &[0, 1]]);
        assert!(Verdict::of(&expected, &expected).is_right());
        let found = totals([&[0, 1], &[0, 1, 1], &[1, 1]]);
        let verdict = Verdict { stored: 7, applied: 7, lost: 1, repeated: 1, wrong: 1 };
        assert_eq!(Verdict::of(&expected, &found), verdict);
    }

    #[test]
    fn a_row_that_nobody_stored_is_repeated() {
        let found = Totals::from([("l".into(), entry("l", 0).amount)]);
        assert_eq!(
            Verdict::of(&Totals::new(), &found),
            Verdict { applied: 1, repeated: 1, ..Verdict::default() }
        );
    }
}

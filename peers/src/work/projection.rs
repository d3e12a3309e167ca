//! A projection of stored events while writers append.
//!
//! It is measured while it catches up. At the same time writers append at a fixed rate, so that a library does not gain
//! by appending slowly. After the catch-up they continue for a while, and then append as fast as possible. This shows
//! whether events that are stored during a read are lost or repeated.

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

/// Comparison of the rows of a projection with the stored events, after the projection has stopped making progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) stored: u64,
    pub(crate) applied: u64,
    /// Number of events that are missing in the rows.
    pub(crate) lost: u64,
    /// Number of repeated events in the rows.
    pub(crate) repeated: u64,
    /// Number of rows with the right number of events and a wrong sum.
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
/// Number of tasks that store events before the measurement.
const FILLERS: u64 = 40;
/// Interval between two commands of a writer.
const INTERVAL: Duration = Duration::from_millis(50);
/// Time for which the writers continue after the catch-up.
const LINGER: Duration = Duration::from_secs(4);
/// Time for which they then append as fast as possible.
const FULL_SPEED: Duration = Duration::from_secs(1);
/// Seconds without progress after which a projection counts as finished.
const STALL_LIMIT: f64 = 15.0;

/// Measures the events per second of the catch-up.
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
        ended = &mut projecting => bail!("the projection ended before it was listening: {ended:?}"),
    }
    let (full_speed, stop) = (CancellationToken::new(), CancellationToken::new());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(Arc::clone(peer), writer, full_speed.clone(), stop.clone())))
        .collect();

    let stored_before =
        format!("SELECT coalesce(sum{COUNT_SQL}, 0)::bigint FROM proj WHERE id LIKE 'stored-%'");
    let (done, seconds) = until(database, &stored_before, events, &watch).await?;
    SystemClock.sleep(LINGER).await;
    full_speed.cancel();
    SystemClock.sleep(FULL_SPEED).await;
    stop.cancel();
    let mut failures = 0;
    for (written, failed) in try_join_all(writers).await?.into_iter().collect::<Result<Vec<_>>>()? {
        expected.extend(written);
        failures += failed;
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

/// Stores events in all streams, a few at a time, as a service would.
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
                    let indexes = start..length(*number).min(start + 10);
                    if indexes.is_empty() {
                        continue;
                    }
                    let entries: Vec<_> = indexes.map(|index| entry(&stream, index)).collect();
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

/// Issues commands to its own streams until `stop`: at a fixed rate, and as fast as possible after `full_speed`. Returns
/// the sums and the number of failed attempts.
async fn write(
    peer: Arc<dyn Peer>,
    writer: u64,
    full_speed: CancellationToken,
    stop: CancellationToken,
) -> Result<(Totals, u64)> {
    let (mut totals, mut failures) = (Totals::new(), 0);
    for number in 0.. {
        if stop.is_cancelled() {
            break;
        }
        let own = STREAMS / WRITERS;
        let stream = format!("written-{writer}-{}", number % own);
        let entry = entry(&stream, number / own);
        let amount = entry.amount;
        failures += peer.command(&stream, entry).await?;
        *totals.entry(stream).or_default() += amount;
        tokio::select! {
            () = SystemClock.sleep(INTERVAL) => {}
            () = full_speed.cancelled() => {}
        }
    }
    Ok((totals, failures))
}

/// Waits until `statement` selects at least `wanted` or stops changing. Returns the number that it selects, and the
/// seconds after which it first selected it.
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
        if number >= wanted || seconds - since > STALL_LIMIT {
            return Ok((latest, if number >= wanted { seconds } else { since }));
        }
        // Often enough for an accuracy of 2%, and rarely enough to cost little.
        SystemClock.sleep(Duration::from_secs_f64((seconds / 50.0).clamp(0.002, 0.1))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_counts_lost_repeated_and_wrong_events() {
        let sum = |indexes: &[u64]| indexes.iter().map(|index| entry("l", *index).amount).sum::<i64>();
        let totals = |sums: [&[u64]; 3]| {
            (0..).zip(sums).map(|(number, indexes)| (format!("l-{number}"), sum(indexes))).collect::<Totals>()
        };
        let expected = totals([&[0, 1, 2], &[0, 1], &[0, 1]]);
        assert!(Verdict::of(&expected, &expected).is_right());
        let found = totals([&[0, 1], &[0, 1, 1], &[1, 1]]);
        let verdict = Verdict { stored: 7, applied: 7, lost: 1, repeated: 1, wrong: 1 };
        assert_eq!(Verdict::of(&expected, &found), verdict);
    }

    #[test]
    fn a_row_without_stored_events_counts_as_repeated() {
        let found = Totals::from([("l".into(), entry("l", 0).amount)]);
        assert_eq!(
            Verdict::of(&Totals::new(), &found),
            Verdict { applied: 1, repeated: 1, ..Verdict::default() }
        );
    }
}

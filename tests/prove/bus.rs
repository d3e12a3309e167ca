//! From DynamoDB through Kinesis to a ledger in Postgres: under kills and faults, in disorder, and with reads of
//! recent writes.

use std::time::Duration;

use anyhow::Result;
use eventsrc_test_servers::{Ferrokinesis, FerrokinesisSettings};
use eventsrc_tests::bus::{
    Bus, ConvergenceReport, DisorderCounts, Interruptions, KillReport, PartitionKeys, ReadBack, converge,
    read_back, survive_kills,
};

use crate::kills::program;
use crate::runs::{Findings, Trial};

/// Number of commits for each blow, with two events each on average.
const COMMITS: u64 = 400;

/// One of this number of blows is a pause.
const PAUSES: u64 = 5;

/// Life of an iterator, which is shorter than a pause.
const ITERATOR_LIFE: Duration = Duration::from_secs(1);

/// Kills and pauses processes on the path, while shards are split and merged, iterators expire, and the services
/// of AWS fail.
pub(crate) async fn kills(trial: Trial) -> Result<Findings> {
    let settings = FerrokinesisSettings { iterator_life: ITERATOR_LIFE, ..Default::default() };
    let server = Ferrokinesis::start_with(settings).await?;
    let bus = Bus::on(&server, 4).await?;
    let zombies = trial.attempts / PAUSES;
    let reshardings = 1 + trial.attempts / 10;
    let blows = Interruptions { kills: trial.attempts - zombies, zombies, reshardings };
    let commits = trial.attempts * COMMITS;
    let survived = survive_kills(&program("bus-worker")?, &bus, commits, blows, trial.seed).await?;
    let KillReport { commits, events, refused: (lost, repeated), said, mut violations, .. } = survived;
    // One or two resumed processes may have had nothing to do.
    let is_long = zombies >= 10;
    for (what, is_missing) in [
        ("no zombie tried anything", is_long && lost + repeated == 0),
        ("no iterator was too old", is_long && said.expired == 0),
        ("no fault was injected", said.faults == 0),
    ] {
        violations.extend(is_missing.then(|| format!("seed {}: {what}", trial.seed)));
    }
    let note = format!(
        "{events} events in {commits} commits, {} kills, {zombies} zombies, which found {lost} leases taken and {repeated} \
         commits applied, {reshardings} splits and merges, {} iterators too old, {} faults",
        blows.kills, said.expired, said.faults
    );
    Ok(Findings { attempted: trial.attempts, violations, note })
}

/// Delivers the records of DynamoDB's own Kinesis destination out of order, repeatedly or not at all.
pub(crate) async fn native(trial: Trial) -> Result<Findings> {
    let mut found = Findings::default();
    let half = trial.attempts / 2;
    for (keys, what, commits) in [
        (PartitionKeys::OfStreams, "with a stream's records in one shard", half),
        (PartitionKeys::OfItems, "spread over all shards", trial.attempts - half),
    ] {
        let bus = Bus::new(4).await?;
        let came = converge(&bus, commits, keys, trial.seed).await?;
        let ConvergenceReport { commits, done, gaps, fetches, behind, swept, violations } = came;
        found.attempted += commits;
        found.violations.extend(violations);
        let DisorderCounts { moved, repeated, dropped } = done;
        for (name, count) in [
            ("moved", moved),
            ("repeated", repeated),
            ("dropped", dropped),
            ("fetched", fetches),
            ("swept up", behind),
        ] {
            // A few records may be read from the storage together with an earlier one.
            if count == 0 && trial.attempts >= 5_000 {
                found.violations.push(format!("seed {}: nothing was {name} {what}", trial.seed));
            }
        }
        found.note += &format!(
            "{what}: {moved} moved, {repeated} repeated, {dropped} dropped, {gaps} gaps, {fetches} fetches, and {swept} reads for \
             {behind} streams that were behind at the end; "
        );
    }
    found.note.truncate(found.note.trim_end_matches("; ").len());
    Ok(found)
}

/// Reads recent writes from another process.
pub(crate) async fn reads(trial: Trial) -> Result<Findings> {
    let bus = Bus::new(4).await?;
    let ReadBack { took, fetches, violations } =
        read_back(&program("bus-worker")?, &bus, trial.attempts, trial.seed).await?;
    let mut found = Findings { violations, ..Findings::default() };
    for (mut took, when) in took.into_iter().zip(["at once", "a moment later"]) {
        took.sort_unstable();
        found.attempted += took.len() as u64;
        let percentile = |hundredths: usize| {
            let millis = took.get(took.len() * hundredths / 100).map_or(0.0, |took| took.as_secs_f64() * 1e3);
            format!("{millis:.1} ms")
        };
        found.note += &format!("{} {when}, p50 {} and p99 {}; ", took.len(), percentile(50), percentile(99));
    }
    found.note += &format!("{fetches} fetches because the bus was late");
    // Some reads wait for the storage, and some do not.
    if fetches == 0 || fetches >= trial.attempts {
        found.violations.push(format!("seed {}: {fetches} fetches", trial.seed));
    }
    Ok(found)
}

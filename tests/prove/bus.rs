//! Processes between DynamoDB and a ledger in Postgres are killed and paused, while shards are split and merged.

use anyhow::Result;
use eventsrc_tests::bus::{Blows, Bus, Survived, survive};

use crate::kills::program;
use crate::runs::{Found, Trial};

/// So many commits, of two events each on the average, are stored for each blow.
const COMMITS: u64 = 400;

/// Of so many blows one is a pause.
const PAUSES: u64 = 5;

pub(crate) async fn kills(trial: Trial) -> Result<Found> {
    let bus = Bus::new(4).await?;
    let zombies = trial.attempts / PAUSES;
    let reshardings = 1 + trial.attempts / 10;
    let blows = Blows { kills: trial.attempts - zombies, zombies, reshardings };
    let commits = trial.attempts * COMMITS;
    let survived = survive(&program("bus-worker")?, &bus, commits, blows, trial.seed).await?;
    let Survived { commits, events, refused: (lost, repeated), mut violations, .. } = survived;
    // One or two may have had nothing to do.
    if zombies >= 10 && lost + repeated == 0 {
        violations.push(format!("seed {}: no zombie tried anything", trial.seed));
    }
    let note = format!(
        "{events} events in {commits} commits, {} kills, {zombies} zombies, which found {lost} leases taken and {repeated} \
         commits applied, {reshardings} splits and merges",
        blows.kills
    );
    Ok(Found { attempted: trial.attempts, violations, note })
}

//! A writer of another process puts to the same streams without rest. No save gives up, and the tasks of one process do not
//! conflict with each other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::save::{PreconditionFailed, SaveSettings};
use eventsrc_core::storage::CountingStorage;
use eventsrc_core::{EventStorage, MemoryStorage, Operation, Outcome, SaveApi, StreamName};
use eventsrc_sqlite::{Database, SqliteStorage};
use eventsrc_testkit::{Faults, Faulty};
use futures::future::try_join;
use tokio::task::JoinSet;

use crate::runs::{Findings, Trial};

/// Pauses of the competitors between two puts, each in a storage of its own.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(1), Duration::from_millis(2), Duration::from_millis(5), Duration::from_millis(10)];

/// Longest pause between two saves.
const LONGEST_PAUSE: Duration = Duration::from_millis(4);

/// Longest delay of a call to the memory, before and after its effect. Without one, a save would take no time.
const LONGEST_DELAY: Duration = Duration::from_millis(1);

const TASKS: u64 = 64;

/// Number of saves of each task.
const SAVES_PER_TASK: u64 = 5;

pub(crate) async fn saves(trial: Trial) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let in_memory = trial.attempts / 2;
    let (memory, sqlite) = try_join(
        memory(in_memory, trial.seed),
        sqlite(folder.path(), trial.attempts - in_memory, trial.seed),
    )
    .await?;
    let note = format!("in memory: {}; in SQLite: {}", memory.note(), sqlite.note());
    let violations = memory.violations.into_iter().chain(sqlite.violations).collect();
    Ok(Findings { attempted: memory.saves + sqlite.saves, violations, note })
}

async fn memory(saves: u64, seed: u64) -> Result<Counts> {
    let slow = |memory: &Arc<MemoryStorage<StreamName, u64, u64>>, seed| {
        let faults = Faults { seed, delayed: 1.0, longest_delay: LONGEST_DELAY, ..Faults::none() };
        Arc::new(Faulty::new(Arc::clone(memory), faults, Arc::new(SystemClock)))
    };
    let mut runs = JoinSet::new();
    for (index, pause) in PAUSES.into_iter().enumerate() {
        let memory = Arc::default();
        let (mine, theirs) = (slow(&memory, seed), slow(&memory, !seed));
        runs.spawn(compete(mine, theirs, pause, share(saves, index as u64), seed));
    }
    runs.spawn(save_from_tasks(slow(&Arc::default(), seed)));
    Counts::of(runs).await
}

async fn sqlite(folder: &Path, saves: u64, seed: u64) -> Result<Counts> {
    let open = async |name: usize| {
        let database = Database::open(folder.join(format!("{name}.db"))).await?;
        anyhow::Ok(SqliteStorage::<StreamName, u64, u64>::new(&database))
    };
    let mut runs = JoinSet::new();
    for (index, pause) in PAUSES.into_iter().enumerate() {
        let (mine, theirs) = (open(index).await?, open(index).await?);
        runs.spawn(compete(mine, theirs, pause, share(saves, index as u64), seed));
    }
    runs.spawn(save_from_tasks(open(PAUSES.len()).await?));
    Counts::of(runs).await
}

#[derive(Default)]
struct Counts {
    saves: u64,
    tries: u64,
    most_tries: u32,
    /// Number of saves of the competitor.
    rival_saves: u64,
    violations: Vec<String>,
}

impl Counts {
    fn add_save(&mut self, outcome: &Outcome, pause: Duration) {
        let tries = outcome.retries() + 1;
        self.saves += 1;
        self.tries += u64::from(tries);
        self.most_tries = self.most_tries.max(tries);
        if !matches!(outcome, Outcome::Saved(_)) {
            self.violations.push(format!("against a put every {pause:?}: {outcome:?}"));
        }
    }

    /// Returns the sums of the counts of several runs.
    async fn of(mut runs: JoinSet<Result<Self>>) -> Result<Self> {
        let mut sum = Self::default();
        while let Some(counts) = runs.join_next().await {
            let Self { saves, tries, most_tries, rival_saves, violations } = counts??;
            sum.saves += saves;
            sum.tries += tries;
            sum.most_tries = sum.most_tries.max(most_tries);
            sum.rival_saves += rival_saves;
            sum.violations.extend(violations);
        }
        Ok(sum)
    }

    fn note(&self) -> String {
        let Self { saves, tries, most_tries, rival_saves, .. } = self;
        let average = *tries as f64 / *saves as f64;
        format!(
            "{average:.2} tries on average and at most {most_tries} against {rival_saves} saves of the competitors"
        )
    }
}

/// Saves `saves` events through the handle `mine`, to a stream to which a competitor saves through the handle `theirs` of the
/// same storage.
async fn compete<St>(mine: St, theirs: St, pause: Duration, saves: u64, seed: u64) -> Result<Counts>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let key = StreamName::new("contended", "stream")?;
    let (saver, pauses) = (api(mine, seed), Randomness::seeded(seed));
    let is_running = Arc::new(AtomicBool::new(true));
    let rival = put_on(api(theirs, !seed), key.clone(), pause, Arc::clone(&is_running));
    let rival = tokio::spawn(rival);
    let mut counts = Counts::default();
    for turn in 0..saves {
        let outcome = saver.save::<PreconditionFailed>(&key, Operation::insert(turn)).await?;
        counts.add_save(&outcome, pause);
        SystemClock.sleep(pauses.up_to(LONGEST_PAUSE)).await;
    }
    is_running.store(false, Ordering::Relaxed);
    counts.rival_saves = rival.await??;
    Ok(counts)
}

/// Saves to one stream with a pause after each save. Returns the number of saves.
async fn put_on<St>(
    rival: SaveApi<St>,
    key: StreamName,
    pause: Duration,
    is_running: Arc<AtomicBool>,
) -> Result<u64>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let mut saves = 0;
    while is_running.load(Ordering::Relaxed) {
        // It may give up against a saver that never rests. It only has to keep putting.
        let _ = rival.save::<PreconditionFailed>(&key, Operation::insert(0)).await?;
        saves += 1;
        SystemClock.sleep(pause).await;
    }
    Ok(saves)
}

/// Returns the number of the saves against one of the competitors.
fn share(saves: u64, index: u64) -> u64 {
    let pauses = PAUSES.len() as u64;
    saves * (index + 1) / pauses - saves * index / pauses
}

/// Saves from many tasks of one process to one stream. Counts only the violations.
async fn save_from_tasks<St>(storage: St) -> Result<Counts>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let key = StreamName::new("contended", "tasks")?;
    let saves = Arc::new(api(CountingStorage::new(storage), 0));
    let (mut tasks, mut violations) = (JoinSet::new(), Vec::new());
    for task in 0..TASKS {
        let (saves, key) = (Arc::clone(&saves), key.clone());
        tasks.spawn(async move {
            let mut wrong = Vec::new();
            for _ in 0..SAVES_PER_TASK {
                let outcome = saves.save::<PreconditionFailed>(&key, Operation::insert(task)).await?;
                if !matches!(&outcome, Outcome::Saved(saved) if saved.retries == 0) {
                    wrong.push(format!("of {TASKS} tasks, one had the outcome {outcome:?}"));
                }
            }
            anyhow::Ok(wrong)
        });
    }
    while let Some(wrong) = tasks.join_next().await {
        violations.extend(wrong??);
    }
    let calls = saves.storage().take();
    if calls.conflicts != 0 {
        violations.push(format!("{TASKS} tasks of one process conflicted: {calls:?}"));
    }
    let head = saves.storage().latest(&key).await?.map(|head| head.sequence);
    if head != Some(TASKS * SAVES_PER_TASK) {
        violations.push(format!("{TASKS} tasks saved {SAVES_PER_TASK} events each, up to {head:?}"));
    }
    Ok(Counts { violations, ..Counts::default() })
}

fn api<St: EventStorage>(storage: St, seed: u64) -> SaveApi<St> {
    SaveApi::with(storage, SaveSettings::default(), Arc::new(SystemClock), Arc::new(Randomness::seeded(seed)))
}

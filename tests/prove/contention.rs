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

/// Pauses of the competitors between two puts, each on a stream of its own.
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
    let memory = Arc::new(MemoryStorage::<StreamName, u64, u64>::default());
    let slow = |seed| {
        let faults = Faults { seed, delayed: 1.0, longest_delay: LONGEST_DELAY, ..Faults::none() };
        Arc::new(Faulty::new(Arc::clone(&memory), faults, Arc::new(SystemClock)))
    };
    let (mut counts, wrong) =
        try_join(compete(slow(seed), slow(!seed), saves, seed), save_from_tasks(slow(seed))).await?;
    counts.violations.extend(wrong);
    Ok(counts)
}

async fn sqlite(folder: &Path, saves: u64, seed: u64) -> Result<Counts> {
    let open = async || {
        let database = Database::open(folder.join("contention.db")).await?;
        anyhow::Ok(SqliteStorage::<StreamName, u64, u64>::new(&database))
    };
    let (mine, theirs, of_tasks) = (open().await?, open().await?, open().await?);
    let (mut counts, wrong) = try_join(compete(mine, theirs, saves, seed), save_from_tasks(of_tasks)).await?;
    counts.violations.extend(wrong);
    Ok(counts)
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

    fn add(&mut self, other: Self) {
        self.saves += other.saves;
        self.tries += other.tries;
        self.most_tries = self.most_tries.max(other.most_tries);
        self.rival_saves += other.rival_saves;
        self.violations.extend(other.violations);
    }

    fn note(&self) -> String {
        let Self { saves, tries, most_tries, rival_saves, .. } = self;
        let average = *tries as f64 / *saves as f64;
        format!(
            "{average:.2} tries on average and at most {most_tries} against {rival_saves} saves of the competitors"
        )
    }
}

/// Saves `saves` events through the handle `mine`, to one stream for each competitor. These have the handle `theirs` of the
/// same storage.
async fn compete<St>(mine: St, theirs: St, saves: u64, seed: u64) -> Result<Counts>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let (saver, rival) = (Arc::new(api(mine, seed)), Arc::new(api(theirs, !seed)));
    let mut streams = JoinSet::new();
    for (index, pause) in PAUSES.into_iter().enumerate() {
        let (saver, rival) = (Arc::clone(&saver), Arc::clone(&rival));
        let key = StreamName::new("contended", &index.to_string())?;
        let pauses = Randomness::seeded(seed ^ index as u64);
        let saves = share(saves, index as u64);
        streams.spawn(async move {
            let is_running = Arc::new(AtomicBool::new(true));
            let competitor = tokio::spawn(put_on(rival, key.clone(), pause, Arc::clone(&is_running)));
            let mut counts = Counts::default();
            for turn in 0..saves {
                let outcome = saver.save::<PreconditionFailed>(&key, Operation::insert(turn)).await?;
                counts.add_save(&outcome, pause);
                SystemClock.sleep(pauses.up_to(LONGEST_PAUSE)).await;
            }
            is_running.store(false, Ordering::Relaxed);
            counts.rival_saves += competitor.await??;
            anyhow::Ok(counts)
        });
    }
    let mut all = Counts::default();
    while let Some(counts) = streams.join_next().await {
        all.add(counts??);
    }
    Ok(all)
}

/// Saves to one stream with a pause after each save. Returns the number of saves.
async fn put_on<St>(
    rival: Arc<SaveApi<St>>,
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

/// Saves from many tasks of one process to one stream, and returns the violations.
async fn save_from_tasks<St>(storage: St) -> Result<Vec<String>>
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
    Ok(violations)
}

fn api<St: EventStorage>(storage: St, seed: u64) -> SaveApi<St> {
    SaveApi::with(storage, SaveSettings::default(), Arc::new(SystemClock), Arc::new(Randomness::seeded(seed)))
}

//! The process of one step of a migration.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::commit::Vec1;
use eventsrc_core::save::{PreconditionFailed, SaveSettings};
use eventsrc_core::storage::{Migration, Segment};
use eventsrc_core::{Context, Decision, EventStorage, Operation, Outcome, SaveApi, StreamName};
use eventsrc_sqlite::{Database, SqliteStorage};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use super::journal::{Acknowledgement, Command, Commands, Journal};

/// Step of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Only the old storage.
    Old,
    /// [`Migration::copying`].
    Copying,
    /// [`Migration::switching`].
    Switching,
    /// Only the new storage.
    New,
}

/// Job of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Save open commands and then new ones, until the process is killed.
    Save(Step),
    /// Save open commands.
    Settle(Step),
    /// Copy history until no stream fails.
    Copy,
}

impl Job {
    const ALL: [(Self, &str); 6] = [
        (Self::Save(Step::Old), "old"),
        (Self::Save(Step::Copying), "copying"),
        (Self::Save(Step::Switching), "switching"),
        (Self::Save(Step::New), "new"),
        (Self::Settle(Step::New), "settle"),
        (Self::Copy, "copy"),
    ];

    /// Returns the argument that names the job to a process.
    ///
    /// # Panics
    ///
    /// If the job has no name: only the last step settles.
    pub fn text(self) -> &'static str {
        Self::ALL.into_iter().find(|(job, _)| *job == self).expect("a job has a name").1
    }

    /// Returns the job that an argument names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(job, _)| job)
    }
}

type Storage = SqliteStorage<StreamName, u64, u64>;

/// Does the job of a process that saves to `old`, `new` or both, and keeps its journal. `migrating-writer` calls it.
///
/// # Errors
///
/// If a storage fails with an error that is not transient, or violates its contract.
pub async fn work(old: &Path, new: &Path, job: Job, journal: &Path, seed: u64) -> Result<()> {
    // A process of the first step does not know the new storage, and one of the last step does not know the old one.
    let old = async || anyhow::Ok(Storage::new(&Database::open(old).await?));
    let new = async || anyhow::Ok(Storage::new(&Database::open(new).await?));
    let step = match job {
        Job::Save(step) | Job::Settle(step) => step,
        Job::Copy => return copy(&Migration::copying(old().await?, new().await?)).await,
    };
    let open = Commands::read([journal])?.open().cloned().collect();
    let journal = Arc::new(Journal::open(journal)?);
    let writer = Writer { journal, open, is_endless: matches!(job, Job::Save(_)), seed };
    match step {
        Step::Old => writer.save_to(old().await?).await,
        Step::Copying => writer.save_to(Migration::copying(old().await?, new().await?)).await,
        Step::Switching => writer.save_to(Migration::switching(old().await?, new().await?)).await,
        Step::New => writer.save_to(new().await?).await,
    }
}

const SEGMENTS: u32 = 3;

async fn copy(migration: &Migration<Storage, Storage>) -> Result<()> {
    for segment in Segment::split(SEGMENTS) {
        loop {
            let copied = migration.copy(segment).await?;
            if let Some((stream, error)) =
                copied.failed.iter().find(|(_, error)| !error.kind().is_transient())
            {
                bail!("cannot copy {stream}: {error:?}");
            }
            if copied.failed.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

const TASKS: usize = 8;

/// Streams of which each has many events.
const BUSY_STREAMS: u32 = 8;

/// Streams of which most have a few events, so that many are not written to in the following steps.
const QUIET_STREAMS: u32 = 3_000;

const MOST_EVENTS: usize = 4;

struct Writer {
    journal: Arc<Journal>,
    open: Vec<Command>,
    is_endless: bool,
    seed: u64,
}

impl Writer {
    async fn save_to<St>(self, storage: St) -> Result<()>
    where
        St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
    {
        let randomness = Arc::new(Randomness::seeded(self.seed));
        let clock = Arc::new(SystemClock);
        let saves = SaveApi::with(storage, SaveSettings::default(), clock, Arc::clone(&randomness));
        let saves = Arc::new(saves);
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let open: Vec<_> = self.open.iter().skip(task).step_by(TASKS).cloned().collect();
            let (saves, randomness) = (Arc::clone(&saves), Arc::clone(&randomness));
            let (journal, is_endless) = (Arc::clone(&self.journal), self.is_endless);
            let mut draws = StdRng::seed_from_u64(self.seed ^ (task as u64) << 48);
            tasks.spawn(async move {
                for command in &open {
                    save(&saves, command, &journal).await?;
                }
                if !is_endless {
                    return anyhow::Ok(());
                }
                loop {
                    let command = draw(&mut draws, &randomness);
                    journal.tried(&command)?;
                    save(&saves, &command, &journal).await?;
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        Ok(())
    }
}

fn draw(draws: &mut StdRng, randomness: &Randomness) -> Command {
    let id = randomness.commit_id(SystemClock.now());
    let stream = if draws.random() {
        format!("busy/{}", draws.random_range(0..BUSY_STREAMS))
    } else {
        format!("quiet/{}", draws.random_range(0..QUIET_STREAMS))
    };
    Command { id, stream, events: draws.random_range(1..=MOST_EVENTS) }
}

/// Saves a command, again and again until it is saved.
async fn save<St>(saves: &SaveApi<St>, command: &Command, journal: &Journal) -> Result<()>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let key = command.stream.parse()?;
    let context = Context { commit_id: Some(command.id), ..Context::default() };
    let payloads = Vec1::try_from_vec(command.payloads().collect())?;
    loop {
        let payloads = payloads.clone();
        let operation = Operation::<_, PreconditionFailed>::new(move |_| Decision::Save(payloads.clone()));
        match saves.save_with(&key, &context, operation).await {
            Ok(Outcome::Saved(saved)) => {
                let acknowledgement = Acknowledgement { last: saved.sequence, repeated: saved.repeated };
                return journal.saved(command.id, acknowledgement);
            }
            Ok(Outcome::Contended { .. }) => {}
            Ok(other) => bail!("a save of {command:?} had the outcome {other:?}"),
            Err(error) if error.source.kind().is_transient() => {}
            Err(error) => bail!("a save of {command:?} failed: {error}: {:?}", error.source),
        }
    }
}

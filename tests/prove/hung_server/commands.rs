//! Commands that are saved while the server is silent at times, and the check of their outcomes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::save::{PreconditionFailed, SaveError, SaveSettings};
use eventsrc_core::{CommitId, Context, EventStorage, Operation, Outcome, SaveApi, StreamName};
use eventsrc_test_servers::proxy::Proxy;
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::freezer::Freezer;
use super::{ANSWER_TIMEOUT, Counts};

const TASKS: u64 = 16;

/// Streams to which all tasks save, with a time limit. Each task has a stream of its own, to which it saves without one.
const SHARED: u64 = 3;

const LIMIT: Duration = Duration::from_secs(1);

/// Number of requests and waits for connections of one save without conflicts, each of which may take a whole timeout.
const WAITS_PER_SAVE: u32 = 6;

/// Time that a busy machine may add to a call. A call without timeouts would last as long as the longest freezes.
const SLACK: Duration = Duration::from_secs(3);

/// Number of saves of a task before the first freeze, so that the writer knows the ends of some streams and its calls are
/// mostly puts.
const TURNS_BEFORE: u64 = 3;

/// Number of times that a command without an answer is saved again at once.
const REPEATS_AT_ONCE: u32 = 2;

/// Number of times that a command is saved again after the last thaw. The first one may find a connection that broke before.
const REPEATS_AT_END: u32 = 3;

/// A command, and what its saves have shown so far.
#[derive(Debug)]
struct Command {
    id: CommitId,
    key: StreamName,
    limit: Option<Duration>,
    state: State,
    /// Error of the last save that failed.
    error: Option<String>,
}

/// State of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No save has sent a put whose result is unknown.
    NotStored,
    /// A save has sent one.
    Unknown,
    /// Stored up to this sequence.
    Stored(u64),
}

/// Saves `saves` commands through `storage` while `proxy` freezes at times, and compares the outcomes with what is stored
/// `beneath`.
pub(super) async fn save_under_freezes<St>(
    storage: St,
    beneath: &St,
    proxy: &Arc<Proxy>,
    saves: u64,
    seed: u64,
) -> Result<Counts>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    // A command of a shared stream may be repeated after thousands of others.
    let settings = SaveSettings { repeats_among: 1_000_000, ..SaveSettings::default() };
    let randomness = Arc::new(Randomness::seeded(seed));
    let api = Arc::new(SaveApi::with(storage, settings, Arc::new(SystemClock), Arc::clone(&randomness)));
    let (begin, begins) = oneshot::channel();
    let mut begin = Some(begin);
    let freezer = Freezer::start(Arc::clone(proxy), seed, begins);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let turns = saves / TASKS + u64::from(task < saves % TASKS);
        let draws = StdRng::seed_from_u64(seed ^ task << 48);
        tasks.spawn(run_task(Arc::clone(&api), task, turns, Arc::clone(&randomness), draws, begin.take()));
    }
    let (mut counts, mut commands) = (Counts { saves, ..Counts::default() }, Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (made, counted) = done??;
        commands.extend(made);
        counts.add(counted);
    }
    counts.freezes = freezer.stop().await?;
    for command in commands.iter_mut().filter(|command| command.state == State::Unknown) {
        for _ in 0..REPEATS_AT_END {
            if command.state == State::Unknown {
                counts.save(&api, command).await;
            }
        }
        if command.state == State::Unknown {
            counts.violations.push(format!("not settled after the thaw: {command:?}"));
        }
    }
    if counts.unknown == 0 {
        counts.violations.push("no call had an unknown result".into());
    }
    counts.violations.extend(wrong(beneath, &commands).await?);
    Ok(counts)
}

async fn run_task<St>(
    api: Arc<SaveApi<St>>,
    task: u64,
    turns: u64,
    randomness: Arc<Randomness>,
    mut draws: StdRng,
    mut begin: Option<oneshot::Sender<()>>,
) -> Result<(Vec<Command>, Counts)>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let (mut commands, mut counts) = (Vec::new(), Counts::default());
    for turn in 0..turns {
        if turn == TURNS_BEFORE
            && let Some(begin) = begin.take()
        {
            // It fails only if the freezer has stopped.
            let _ = begin.send(());
        }
        let is_shared = draws.random();
        let name = if is_shared {
            format!("shared-{}", draws.random_range(0..SHARED))
        } else {
            format!("own-{task}")
        };
        let (id, key) = (randomness.commit_id(SystemClock.now()), StreamName::new("hung", &name)?);
        let mut command =
            Command { id, key, limit: is_shared.then_some(LIMIT), state: State::NotStored, error: None };
        counts.save(&api, &mut command).await;
        // The others are saved again after the last thaw, or given up if nothing is stored.
        if draws.random() {
            for _ in 0..REPEATS_AT_ONCE {
                if !matches!(command.state, State::Stored(_)) {
                    counts.save(&api, &mut command).await;
                }
            }
        }
        commands.push(command);
    }
    Ok((commands, counts))
}

impl Counts {
    /// Saves a command, which may be saved already, and notes its outcome.
    async fn save<St>(&mut self, api: &SaveApi<St>, command: &mut Command)
    where
        St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
    {
        let Command { id, ref key, limit, state, .. } = *command;
        let context = Context { commit_id: Some(id), limit, ..Context::default() };
        let began = SystemClock.elapsed();
        let outcome = api.save_with::<PreconditionFailed>(key, &context, Operation::insert(1)).await;
        let took = SystemClock.elapsed().saturating_sub(began);
        self.slowest = self.slowest.max(took);
        let deadline = limit.unwrap_or(ANSWER_TIMEOUT * WAITS_PER_SAVE);
        if took > deadline + SLACK {
            self.violations
                .push(format!("{key}: a save with the deadline {deadline:?} took {took:?}: {outcome:?}"));
        }
        match outcome {
            Ok(Outcome::Saved(saved)) => {
                self.found_stored += u64::from(saved.repeated && state == State::Unknown);
                command.state = State::Stored(saved.sequence);
            }
            Ok(Outcome::Contended { .. }) => self.failed += 1,
            Ok(other) => self.violations.push(format!("{key}: {other:?}")),
            Err(SaveError { unknown, source, .. }) if source.kind().is_transient() => {
                command.error = Some(format!("{source:?}"));
                if unknown {
                    self.unknown += 1;
                    command.state = State::Unknown;
                } else {
                    self.failed += 1;
                }
            }
            Err(error) => self.violations.push(format!("{key}: {error}: {:?}", error.source)),
        }
    }

    fn add(&mut self, other: Self) {
        self.unknown += other.unknown;
        self.failed += other.failed;
        self.found_stored += other.found_stored;
        self.slowest = self.slowest.max(other.slowest);
        self.violations.extend(other.violations);
    }
}

/// Returns the differences between the outcomes and what is stored.
async fn wrong<St>(beneath: &St, commands: &[Command]) -> Result<Vec<String>>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let mut streams: HashMap<&StreamName, Vec<&Command>> = HashMap::new();
    for command in commands {
        streams.entry(&command.key).or_default().push(command);
    }
    let mut wrong = Vec::new();
    for (key, commands) in streams {
        let pages: Vec<_> = beneath.events(key, None).try_collect().await?;
        let (mut ends, mut previous) = (HashMap::new(), None);
        for commit in pages.iter().flat_map(|page| page.commits()) {
            let id = commit.metadata.commit_id;
            if commit.previous != previous {
                wrong.push(format!("{key}: {id} follows {previous:?} and names {:?}", commit.previous));
            }
            if let Some(first) = ends.insert(id, commit.last()) {
                wrong.push(format!("{key}: {id} is stored twice, at {first} and {}", commit.last()));
            }
            previous = Some(id);
        }
        for command in &commands {
            let expected = match command.state {
                State::Stored(last) => Some(last),
                State::NotStored => None,
                // This is a violation already.
                State::Unknown => continue,
            };
            if ends.get(&command.id).copied() != expected {
                wrong.push(format!("{key}: stored up to {:?}: {command:?}", ends.get(&command.id)));
            }
        }
        if ends.keys().any(|id| commands.iter().all(|command| command.id != *id)) {
            wrong.push(format!("{key} has a commit of no command"));
        }
    }
    Ok(wrong)
}

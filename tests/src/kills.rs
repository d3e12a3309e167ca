//! Programs that write to an SQLite file, and are killed at random moments.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use eventsrc_core::{
    Clock, Commit, EventStorage, Metadata, Put, Randomness, ScanStorage, Segment, StreamName, SystemClock,
    Vec1,
};
use eventsrc_sqlite::{Database, SqliteStorage};
use futures::TryStreamExt;
use futures::future::{try_join, try_join_all};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// What came of the kills.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How many processes were killed.
    pub kills: u32,
    /// How many of them had a commit acknowledged before.
    pub in_the_middle: u32,
    /// How many commits were acknowledged in all.
    pub acknowledged: u64,
    /// How many commits were stored in all; those whose acknowledgement was cut off are among them.
    pub stored: u64,
    /// What was wrong, in words.
    pub violations: Vec<String>,
}

/// Kills `program`, which is `writer`, with SIGKILL at `kills` random moments.
///
/// Half of them write alone and half in pairs, and most find what was left by those killed before. After each kill, or
/// pair of kills, everything in the file is looked at: each commit that was ever acknowledged has to be there and whole,
/// no commit in part, and each stream without a hole.
///
/// # Errors
///
/// If the program cannot be run, or what it wrote not be read.
pub async fn kill_writer(program: &Path, kills: u32, seed: u64) -> Result<Report> {
    let randomness = Randomness::seeded(seed);
    let folder = tempfile::tempdir()?;
    let mut report = Report::default();
    let mut run = Run::default();
    let mut runs = 0;
    while report.kills < kills {
        if runs % RUNS_PER_FILE == 0 {
            run = Run { database: folder.path().join(format!("{runs}.db")), ..Run::default() };
        }
        let writer = |number: u64| Writer {
            program,
            database: &run.database,
            acknowledged: folder.path().join(format!("{number}.acknowledged")),
            complaints: folder.path().join(format!("{number}.complaints")),
            seed: seed.wrapping_mul(1_000_003).wrapping_add(number),
        };
        let (first, second) = (writer(2 * runs), writer(2 * runs + 1));
        let moments = (randomness.up_to(LONGEST), randomness.up_to(LONGEST));
        let mut written = if runs % 2 == 0 || report.kills + 1 == kills {
            vec![first.run_until(moments.0).await?]
        } else {
            let (first, second) = try_join(first.run_until(moments.0), second.run_until(moments.1)).await?;
            vec![first, second]
        };
        runs += 1;
        for acknowledged in &mut written {
            report.kills += 1;
            report.in_the_middle += u32::from(!acknowledged.is_empty());
            report.acknowledged += acknowledged.len() as u64;
            run.acknowledged.append(acknowledged);
        }
        let state = State::read(&run.database).await?;
        report.stored += (state.commits.len() - run.stored) as u64;
        run.stored = state.commits.len();
        let what = format!("seed {seed}, kill {}", report.kills);
        report.violations.extend(state.wrong(&run.acknowledged).map(|wrong| format!("{what}: {wrong}")));
    }
    Ok(report)
}

/// The longest that a process lives; it takes a part of that to start.
const LONGEST: Duration = Duration::from_millis(200);

const RUNS_PER_FILE: u64 = 7;

/// One file, and the processes that were killed over it.
#[derive(Default)]
struct Run {
    database: PathBuf,
    acknowledged: Vec<Acknowledged>,
    stored: usize,
}

/// A process that writes.
struct Writer<'a> {
    program: &'a Path,
    database: &'a Path,
    acknowledged: PathBuf,
    complaints: PathBuf,
    seed: u64,
}

impl Writer<'_> {
    /// Starts it, kills it at `moment`, and says what it had acknowledged.
    async fn run_until(&self, moment: Duration) -> Result<Vec<Acknowledged>> {
        let mut command = Command::new(self.program);
        command.arg(self.database).arg(self.seed.to_string()).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(File::create(&self.acknowledged)?).stderr(File::create(&self.complaints)?);
        let mut process =
            command.spawn().with_context(|| format!("cannot run {}", self.program.display()))?;
        tokio::select! {
            status = process.wait() => {
                bail!("a writer ended by itself, {}: {}", status?, fs::read_to_string(&self.complaints)?)
            }
            () = SystemClock.sleep(moment) => process.kill().await?,
        }
        acknowledged(&fs::read_to_string(&self.acknowledged)?)
    }
}

/// What a writer says of a commit once it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    stream: String,
    first: u64,
    stored: Stored,
}

/// A commit, as far as two of them are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    events: usize,
    id: String,
}

/// What a writer said; a last line that is cut off was not said.
///
/// # Errors
///
/// If it is something else.
pub fn acknowledged(said: &str) -> Result<Vec<Acknowledged>> {
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or_else(|| anyhow!("{line:?} is not what a writer says"));
        let (stream, first) = (word()?.to_owned(), word()?.parse()?);
        Ok(Acknowledged { stream, first, stored: Stored { events: word()?.parse()?, id: word()?.into() } })
    };
    whole.lines().map(parse).collect()
}

/// One event of a writer's commit: it knows which part of it.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    place: usize,
    of: usize,
    text: String,
}

type Storage = SqliteStorage<StreamName, u64, Part>;

/// Writes commits of several events from several tasks at once, and says which are stored: until it is killed, or each
/// task has stored `commits`. This is what `writer` does.
///
/// # Errors
///
/// If the storage fails, or answers what it must not.
pub async fn write(database: &Path, seed: u64, commits: Option<u64>) -> Result<()> {
    let storage: Storage = SqliteStorage::new(&Database::open(database).await?);
    let randomness = Arc::new(Randomness::seeded(seed));
    let task = |number: usize| {
        let (storage, randomness) = (storage.clone(), Arc::clone(&randomness));
        let key = StreamName::new("written", &(number % STREAMS).to_string())?;
        Ok(tokio::spawn(async move { write_stream(&storage, &key, &randomness, commits).await }))
    };
    let tasks: Vec<_> = (0..TASKS).map(task).collect::<Result<_>>()?;
    for outcome in try_join_all(tasks).await? {
        outcome?;
    }
    Ok(())
}

const TASKS: usize = 8;

/// Fewer than tasks, so that tasks race.
const STREAMS: usize = 5;

async fn write_stream(
    storage: &Storage,
    key: &StreamName,
    randomness: &Randomness,
    commits: Option<u64>,
) -> Result<()> {
    let mut next = storage.latest(key).await?.map_or(1, |head| head.sequence + 1);
    let mut stored = 0;
    while commits.is_none_or(|commits| stored < commits) {
        let commit = Arc::new(draft(key, next, randomness));
        match storage.put(Arc::clone(&commit)).await? {
            Put::Stored => {
                println!("{key} {next} {} {}", commit.len(), commit.metadata.commit_id);
                next = commit.last() + 1;
                stored += 1;
            }
            Put::Repeated { last } => bail!("a new commit of {key} is said to be stored up to {last}"),
            Put::Conflict(conflict) => {
                let head = conflict.head.context("a conflict without the head")?;
                ensure!(head.sequence >= next, "a conflict at {next} of {key}, which ends at {head:?}");
                next = head.sequence + 1;
            }
        }
    }
    Ok(())
}

/// A commit of one to six events, now and then a long one.
fn draft(key: &StreamName, first: u64, randomness: &Randomness) -> Commit<StreamName, u64, Part> {
    let time = SystemClock.now();
    let id = randomness.commit_id(time);
    let drawn = id.0.as_u128();
    let (of, length) = (1 + drawn as usize % 6, if drawn >> 8 & 15 == 0 { 9_000 } else { 40 });
    let part = |place| Part { place, of, text: "x".repeat(length) };
    let mut payloads = Vec1::new(part(0));
    payloads.extend((1..of).map(part));
    Commit { key: key.clone(), first, time, metadata: Metadata::new(id), payloads }
}

/// Everything that is in a file.
pub struct State {
    commits: HashMap<(String, u64), Stored>,
    heads: BTreeMap<String, u64>,
    wrong: Option<String>,
}

impl State {
    /// Reads all commits, and looks at each.
    ///
    /// # Errors
    ///
    /// If something cannot be read.
    pub async fn read(database: &Path) -> Result<Self> {
        let storage: Storage = SqliteStorage::new(&Database::open(database).await?);
        let mut state = Self { commits: HashMap::new(), heads: BTreeMap::new(), wrong: None };
        let mut pages = storage.scan(Segment::ALL);
        while let Some(page) = pages.try_next().await? {
            page.commits().iter().for_each(|commit| state.add(commit));
        }
        for (stream, last) in &state.heads {
            let head = storage.latest(&stream.parse()?).await?;
            if head.map(|head| head.sequence) != Some(*last) {
                state.wrong = Some(format!("{stream} ends at {last}, and says {head:?}"));
            }
        }
        Ok(state)
    }

    fn add(&mut self, commit: &Commit<StreamName, u64, Part>) {
        let stream = commit.key.to_string();
        let expected = self.heads.get(&stream).map_or(1, |last| last + 1);
        if commit.first != expected {
            self.wrong = Some(format!("{stream} goes on at {} after {}", commit.first, expected - 1));
        }
        let is_whole = |(place, part): (usize, &Part)| part.place == place && part.of == commit.len();
        if !commit.payloads.iter().enumerate().all(is_whole) {
            self.wrong = Some(format!("{stream} has a part of a commit at {}", commit.first));
        }
        self.heads.insert(stream.clone(), commit.last());
        let stored = Stored { events: commit.len(), id: commit.metadata.commit_id.to_string() };
        self.commits.insert((stream, commit.first), stored);
    }

    /// What is wrong with a file to which all these were acknowledged.
    pub fn wrong(&self, acknowledged: &[Acknowledged]) -> Option<String> {
        let is_lost =
            |said: &&Acknowledged| self.commits.get(&(said.stream.clone(), said.first)) != Some(&said.stored);
        let lost = acknowledged.iter().find(is_lost);
        self.wrong.clone().or_else(|| lost.map(|said| format!("what was acknowledged is lost: {said:?}")))
    }

    /// How many commits there are.
    pub fn commits(&self) -> usize {
        self.commits.len()
    }
}

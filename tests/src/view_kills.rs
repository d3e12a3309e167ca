//! Programs that store events in an SQLite file and keep views of them, and are killed at random moments.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::commit::Vec1;
use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::view::{Applied, Batch, CommitRun, ViewError, ViewStore};
use eventsrc_core::{Commit, EventStorage, Metadata, StreamName, ViewDefinition};
use eventsrc_sqlite::{Database, SqliteStorage, SqliteView, View, rusqlite};
use futures::TryStreamExt;
use futures::future::{try_join, try_join_all};
use rusqlite::Connection;
use tokio::process::Command;

/// Result of the kills.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Number of killed processes.
    pub kills: u32,
    /// Number of them that had reported an applied commit before.
    pub in_the_middle: u32,
    /// Number of commits in the views, in all.
    pub applied: u64,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Kills `program`, which is `view-worker`, with SIGKILL at `kills` random moments.
///
/// Half of the processes work alone and half in pairs, and most continue where killed ones stopped. After each
/// kill, or pair of kills, every row of every view must be made of exactly the commits up to its position, each
/// once and in order. The view that follows in the appends must be up to date, and all commits that were reported
/// as applied must be there.
///
/// # Errors
///
/// If the program cannot be run, or what it wrote cannot be read.
pub async fn kill_view_worker(program: &Path, kills: u32, seed: u64) -> Result<Report> {
    let randomness = Randomness::seeded(seed);
    let folder = tempfile::tempdir()?;
    let mut report = Report::default();
    let mut place = PathBuf::new();
    let mut said = BTreeMap::new();
    let mut runs = 0;
    while report.kills < kills {
        if runs % RUNS_PER_PLACE == 0 {
            place = folder.path().join(runs.to_string());
            fs::create_dir(&place)?;
            said.clear();
        }
        let worker = |number: u64| Worker {
            program,
            place: &place,
            said: folder.path().join(format!("{number}.said")),
            complaints: folder.path().join(format!("{number}.complaints")),
            seed: seed.wrapping_mul(1_000_003).wrapping_add(number),
        };
        let (first, second) = (worker(2 * runs), worker(2 * runs + 1));
        let moments = (randomness.up_to(LONGEST), randomness.up_to(LONGEST));
        let told = if runs % 2 == 0 || report.kills + 1 == kills {
            vec![first.run_until(moments.0).await?]
        } else {
            let (first, second) = try_join(first.run_until(moments.0), second.run_until(moments.1)).await?;
            vec![first, second]
        };
        runs += 1;
        for told in told {
            report.kills += 1;
            report.in_the_middle += u32::from(!told.is_empty());
            for (stream, position) in told {
                let last = said.entry(stream).or_insert(0);
                *last = position.max(*last);
            }
        }
        let (applied, wrong) = audit(&place, &said).await?;
        if runs % RUNS_PER_PLACE == 0 || report.kills >= kills {
            report.applied += applied;
        }
        let what = format!("seed {seed}, kill {}", report.kills);
        report.violations.extend(wrong.into_iter().map(|wrong| format!("{what}: {wrong}")));
    }
    Ok(report)
}

/// Longest life of a process, including its start.
const LONGEST: Duration = Duration::from_millis(200);

const RUNS_PER_PLACE: u64 = 7;

/// A process that works.
struct Worker<'a> {
    program: &'a Path,
    place: &'a Path,
    said: PathBuf,
    complaints: PathBuf,
    seed: u64,
}

impl Worker<'_> {
    /// Starts the process, kills it at `moment`, and returns the positions that it reported.
    async fn run_until(&self, moment: Duration) -> Result<Vec<(String, u64)>> {
        let mut command = Command::new(self.program);
        command.arg(self.place).arg(self.seed.to_string()).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(File::create(&self.said)?).stderr(File::create(&self.complaints)?);
        let mut process =
            command.spawn().with_context(|| format!("cannot run {}", self.program.display()))?;
        tokio::select! {
            status = process.wait() => {
                bail!("a worker ended by itself, {}: {}", status?, fs::read_to_string(&self.complaints)?)
            }
            () = SystemClock.sleep(moment) => process.kill().await?,
        }
        let said = fs::read_to_string(&self.said)?;
        // An incomplete last line is no report.
        let whole = said.rfind('\n').map_or("", |end| &said[..end]);
        let parse = |line: &str| {
            let (stream, position) = line.split_once(' ').ok_or_else(|| anyhow!("{line:?} says nothing"))?;
            Ok((stream.to_owned(), position.parse()?))
        };
        whole.lines().map(parse).collect()
    }
}

type Storage = SqliteStorage<StreamName, u64, u64>;
type TrailView = SqliteView<StreamName, u64, u64, Trail>;

/// A view whose rows list the commits that were applied to each stream, in order.
struct Trail(&'static str);

/// The view that is applied in the transactions in which commits are stored.
const FOLLOWING: &str = "following";

/// The view that workers apply later, in another file.
const LATER: &str = "later";

impl View<StreamName, u64, u64> for Trail {
    fn definition(&self) -> ViewDefinition {
        ViewDefinition::new(self.0, ["written"]).expect("the name is well-formed")
    }

    fn tables(&self) -> &[&str] {
        std::slice::from_ref(&self.0)
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        let name = self.0;
        connection.execute_batch(&format!(
            "CREATE TABLE {name}_v1 (stream TEXT PRIMARY KEY, commits TEXT NOT NULL)"
        ))
    }

    fn apply(&self, transaction: &Connection, batch: &Batch<StreamName, u64, u64>) -> Result<(), ViewError> {
        let name = self.0;
        let mut add = transaction.prepare_cached(&format!(
            "INSERT INTO {name}_v1 VALUES (?1, ?2)
             ON CONFLICT (stream) DO UPDATE SET commits = commits || excluded.commits"
        ))?;
        for commit in batch.commits() {
            add.execute([commit.key.as_str(), &mark(commit)])?;
        }
        Ok(())
    }
}

fn mark(commit: &Commit<StreamName, u64, u64>) -> String {
    format!("{}:{} ", commit.last(), commit.metadata.commit_id)
}

/// A folder with events and a view in one file, and another view in another one.
#[derive(Clone)]
struct Location {
    storage: Storage,
    following: TrailView,
    later: TrailView,
}

impl Location {
    async fn open(folder: &Path) -> Result<Self> {
        let events = Database::open(folder.join("events.db")).await?;
        let views = Database::open(folder.join("views.db")).await?;
        let following = SqliteView::open(&events, Trail(FOLLOWING)).await?;
        let later = SqliteView::open(&views, Trail(LATER)).await?;
        let storage = SqliteStorage::new(&events).with_view(&following)?;
        Ok(Self { storage, following, later })
    }
}

/// Stores commits from several tasks at once, and applies them from several more, until it is killed. This is
/// what `view-worker` does.
///
/// # Errors
///
/// If the storage or a view fails, or violates its contract.
pub async fn work(folder: &Path, seed: u64) -> Result<()> {
    let place = Location::open(folder).await?;
    let randomness = Arc::new(Randomness::seeded(seed));
    let streams: Vec<_> =
        (0..STREAMS).map(|id| StreamName::new("written", &id.to_string())).collect::<Result<_, _>>()?;
    let mut tasks = Vec::new();
    for stream in streams.iter().chain(&streams) {
        let (place, stream, randomness) = (place.clone(), stream.clone(), Arc::clone(&randomness));
        tasks.push(tokio::spawn(async move { store(&place, &stream, &randomness).await }));
    }
    for _ in 0..2 {
        let (place, streams) = (place.clone(), streams.clone());
        tasks.push(tokio::spawn(async move { apply(&place, &streams).await }));
    }
    for outcome in try_join_all(tasks).await? {
        outcome?;
    }
    Ok(())
}

const STREAMS: usize = 3;

async fn store(place: &Location, key: &StreamName, randomness: &Randomness) -> Result<()> {
    let mut next = place.storage.latest(key).await?.map_or(1, |head| head.sequence + 1);
    loop {
        let time = SystemClock.now();
        let id = randomness.commit_id(time);
        let mut payloads = Vec1::new(next);
        payloads.extend((1..1 + id.0.as_u128() as u64 % 3).map(|more| next + more));
        let commit = Commit {
            key: key.clone(),
            first: next,
            previous: None,
            time,
            metadata: Metadata::new(id),
            payloads: payloads.into(),
        };
        let last = commit.last();
        match place.storage.put(Arc::new(commit)).await? {
            Put::Stored => {
                println!("{FOLLOWING}:{key} {last}");
                next = last + 1;
            }
            Put::Repeated { last } => bail!("a new commit of {key} is said to be stored up to {last}"),
            Put::Conflict(conflict) => {
                next = conflict.head.context("a conflict without the head")?.sequence + 1;
            }
        }
    }
}

/// Applies stored commits, several streams in a batch, in a race with other tasks.
async fn apply(place: &Location, streams: &[StreamName]) -> Result<()> {
    loop {
        let mut runs = Vec::new();
        for (stream, at) in streams.iter().zip(place.later.positions_of(streams).await?) {
            ensure!(!at.quarantined, "{stream} is in quarantine");
            let from = at.position.map_or(1, |position| position + 1);
            let page = place.storage.events(stream, Some(from)).try_next().await?;
            let commits: Vec<_> = page.map_or_else(Vec::new, |page| page.commits().to_vec());
            if !commits.is_empty() {
                runs.push(CommitRun { stream: stream.clone(), from: at.position, commits });
            }
        }
        if runs.is_empty() {
            tokio::task::yield_now().await;
            continue;
        }
        let batch = Batch::new(runs);
        match place.later.apply(&batch).await? {
            Applied::Done => {
                batch
                    .position_changes()
                    .iter()
                    .for_each(|moved| println!("{LATER}:{} {}", moved.stream, moved.to));
            }
            Applied::PositionDiffers => {}
            other => bail!("a batch is answered with {other:?}"),
        }
    }
}

/// The number of commits in the views, and the violations in a folder whose processes reported these positions.
async fn audit(folder: &Path, said: &BTreeMap<String, u64>) -> Result<(u64, Vec<String>)> {
    let place = Location::open(folder).await?;
    let mut stored: BTreeMap<StreamName, Vec<(u64, String)>> = BTreeMap::new();
    let mut pages = place.storage.scan(Segment::ALL);
    while let Some(page) = pages.try_next().await? {
        for commit in page.commits() {
            stored.entry(commit.key.clone()).or_default().push((commit.last(), mark(commit)));
        }
    }
    drop(pages);
    let (mut applied, mut wrong) = (0, Vec::new());
    for (view, name) in [(&place.following, FOLLOWING), (&place.later, LATER)] {
        let positions: BTreeMap<_, _> = view.positions(None, usize::MAX).await?.into_iter().collect();
        let rows = view.read(&[], move |connection| rows(connection, name)).await?.1;
        if rows.len() != positions.len() {
            wrong.push(format!("{name} has {} rows and {} positions", rows.len(), positions.len()));
        }
        for (stream, commits) in &stored {
            let position = positions.get(stream).copied().unwrap_or(0);
            let upto: Vec<_> = commits.iter().filter(|(last, _)| *last <= position).collect();
            let expected: String = upto.iter().map(|(_, mark)| mark.as_str()).collect();
            let row = rows.get(stream.as_str()).cloned().unwrap_or_default();
            if row != expected {
                wrong.push(format!("{name} has {row:?} of {stream} at {position}, and not {expected:?}"));
            }
            if position != upto.last().map_or(0, |(last, _)| *last) {
                wrong.push(format!("{name} is at {position} of {stream}, where no commit ends"));
            }
            let head = commits.last().map_or(0, |(last, _)| *last);
            if name == FOLLOWING && position != head {
                wrong.push(format!("{name} is at {position} of {stream}, which ends at {head}"));
            }
            let promised = said.get(&format!("{name}:{stream}")).copied().unwrap_or(0);
            if position < promised {
                wrong.push(format!("{name} is at {position} of {stream}, and {promised} was promised"));
            }
            applied += upto.len() as u64;
        }
    }
    Ok((applied, wrong))
}

fn rows(connection: &Connection, table: &str) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare(&format!("SELECT stream, commits FROM {table}"))?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

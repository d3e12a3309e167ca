//! Imports and rebuilds of `git-history` that are killed at random moments.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::EventStorage;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::view::{VersionedStore, ViewDigest};
use eventsrc_examples::git_history::{Archive, CommitImported, FileEvent, FilePath, History, Versions};
use futures::TryStreamExt;
use tokio::process::{Child, Command};

use crate::git_repository::{first_parents, ls_tree};

/// Result of the kills of imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Number of killed imports.
    pub kills: u32,
    /// Number of kills at which the database had some, but not all, of the events.
    pub in_the_middle: u32,
    /// Number of completed imports, most of them after some kills.
    pub completed: u32,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Kills `program`, which is `git-history`, with SIGKILL at `kills` random moments during the import of
/// `repository`.
///
/// After each kill the tree at the last commit that is marked as imported must equal the one in git, and the next
/// run continues with the same database. A completed import is compared with an undisturbed one, event by event,
/// and the next import begins with an empty database. The last one is not killed.
///
/// # Errors
///
/// If a program cannot be run, or a database cannot be read.
pub async fn kill_import(program: &Path, repository: &Path, kills: u32, seed: u64) -> Result<Report> {
    let randomness = Randomness::seeded(seed);
    let folder = tempfile::tempdir()?;
    let undisturbed = folder.path().join("undisturbed.db");
    let began = SystemClock.now();
    finish(start(program, repository, &undisturbed, "import")?).await?;
    let whole = Duration::try_from(SystemClock.now().duration_since(began))?;
    let expected = State::read(&Archive::open(&undisturbed).await?).await?;
    ensure!(expected.commits.len() == first_parents(repository)?.len(), "the first import is not whole");

    let mut report = Report { kills: 0, in_the_middle: 0, completed: 0, violations: Vec::new() };
    loop {
        let db = folder.path().join(format!("{}.db", report.completed));
        loop {
            let mut import = start(program, repository, &db, "import")?;
            let moment = randomness.up_to(whole);
            let killed = report.kills < kills
                && tokio::select! {
                    _ = import.wait() => false,
                    () = SystemClock.sleep(moment) => true,
                };
            if !killed {
                finish(import).await?;
                break;
            }
            import.kill().await?;
            report.kills += 1;
            let state = State::read(&Archive::open(&db).await?).await?;
            let partial = (1..expected.events()).contains(&state.events());
            report.in_the_middle += u32::from(partial);
            let what = format!("seed {seed}, kill {} after {moment:?}", report.kills);
            report
                .violations
                .extend(state.wrong(repository, &expected)?.map(|wrong| format!("{what}: {wrong}")));
        }
        report.completed += 1;
        if State::read(&Archive::open(&db).await?).await? != expected {
            let what = format!("seed {seed}, after {} kills", report.kills);
            report
                .violations
                .push(format!("{what}: the import ended in another state than an undisturbed one"));
        }
        if report.kills >= kills {
            return Ok(report);
        }
    }
}

/// Result of the kills of rebuilds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RebuildReport {
    /// Number of killed rebuilds.
    pub kills: u32,
    /// Number of them that had begun to build, and had not taken over.
    pub in_the_middle: u32,
    /// Number of rebuilds that took over, most of them after some kills.
    pub completed: u32,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Kills `program`, which is `git-history`, with SIGKILL at `kills` random moments during a rebuild of the counts
/// of `repository`.
///
/// After each kill the serving version must be complete and have the digest of an undisturbed one. The next run
/// resumes the same version, and the one after it builds the next version. The last one is not killed.
///
/// # Errors
///
/// If a program cannot be run, or a database cannot be read.
pub async fn kill_rebuild(program: &Path, repository: &Path, kills: u32, seed: u64) -> Result<RebuildReport> {
    let randomness = Randomness::seeded(seed);
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("history.db");
    finish(start(program, repository, &db, "rebuild")?).await?;
    let (mut serving, expected, _) = versions(&db).await?;
    let began = SystemClock.now();
    finish(start(program, repository, &db, "rebuild")?).await?;
    let whole = Duration::try_from(SystemClock.now().duration_since(began))?;
    serving += 1;

    let mut report = RebuildReport::default();
    loop {
        let mut rebuild = start(program, repository, &db, "rebuild")?;
        let moment = randomness.up_to(whole);
        let last = report.kills >= kills;
        let killed = !last
            && tokio::select! {
                _ = rebuild.wait() => false,
                () = SystemClock.sleep(moment) => true,
            };
        if killed {
            rebuild.kill().await?;
            report.kills += 1;
        } else {
            finish(rebuild).await?;
        }
        let (now, digest, begun) = versions(&db).await?;
        let mut violation = |wrong: String| {
            report.violations.push(format!("seed {seed}, kill {} after {moment:?}: {wrong}", report.kills));
        };
        if digest != expected {
            violation(format!("version {now} serves, and is not equal to the first: {digest:?}"));
        }
        if now != serving + 1 && (now != serving || !killed) {
            violation(format!("version {now} serves after version {serving}"));
        }
        report.in_the_middle += u32::from(now == serving && begun);
        report.completed += u32::from(now > serving);
        serving = now;
        if last {
            return Ok(report);
        }
    }
}

/// The serving version, the digest of its rows, and true if the next version is begun.
async fn versions(db: &Path) -> Result<(u32, ViewDigest, bool)> {
    let versions = Versions::open(&Archive::open(db).await?).await?;
    let serving = versions.serving().await?;
    let digest = versions.version(serving).await?.digest().await?;
    Ok((serving, digest, versions.kept().await?.contains(&(serving + 1))))
}

fn start(program: &Path, repository: &Path, db: &Path, what: &str) -> Result<Child> {
    let mut command = Command::new(program);
    command.arg(repository).arg("--db").arg(db).arg(what);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().with_context(|| format!("cannot run {}", program.display()))
}

async fn finish(mut import: Child) -> Result<()> {
    let status = import.wait().await?;
    ensure!(status.success(), "it failed: {status}");
    Ok(())
}

/// All contents of an archive.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    commits: Vec<CommitImported>,
    files: BTreeMap<FilePath, Vec<FileEvent>>,
    tree: String,
}

impl State {
    /// Reads the contents of `archive`.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn read(archive: &Archive) -> Result<Self> {
        let mut state = Self { commits: Vec::new(), files: BTreeMap::new(), tree: String::new() };
        let mut pages = archive.history.events(&History, None);
        while let Some(page) = pages.try_next().await? {
            state.commits.extend(page.events().map(|event| event.payload.clone()));
        }
        let mut pages = archive.files.scan(Segment::ALL);
        while let Some(page) = pages.try_next().await? {
            for event in page.events() {
                state.files.entry(event.key().clone()).or_default().push(event.payload.clone());
            }
        }
        state.tree = archive.tree(state.commits.len() as u64).await?.to_string();
        Ok(state)
    }

    fn events(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    /// The violation in a database whose import was killed, if any.
    fn wrong(&self, repository: &Path, expected: &Self) -> Result<Option<String>> {
        if !expected.commits.starts_with(&self.commits) {
            return Ok(Some("the history has other commits".into()));
        }
        for (path, events) in &self.files {
            if !expected.files.get(path).is_some_and(|all| all.starts_with(events)) {
                return Ok(Some(format!("{path} has other events")));
            }
        }
        let tree = match self.commits.last() {
            Some(last) => ls_tree(repository, last.commit.as_str())?,
            None => String::new(),
        };
        Ok((tree != self.tree).then(|| format!("the tree at commit {} is another", self.commits.len())))
    }
}

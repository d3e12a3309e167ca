//! A git repository, read by running `git`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use eventsrc_core::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::event::{Content, ObjectId};
use super::path::FilePath;

/// A repository: a work tree, or a bare one.
#[derive(Debug, Clone)]
pub struct Repository {
    path: PathBuf,
}

impl Repository {
    /// The repository whose top is `path`.
    ///
    /// # Errors
    ///
    /// If there is no directory, or no repository, or if `path` is a directory inside a work tree.
    pub async fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            // An address may have a password in it, and is not repeated.
            let is_address = path.to_string_lossy().contains("://");
            ensure!(!is_address, "a repository is a directory here: clone what is at that address first");
            bail!("{}: there is no such directory", path.display());
        }
        let repository = Self { path: path.into() };
        repository.ask(["rev-parse", "--git-dir"]).await?;
        // `git ls-tree` prints a part of the tree there, which is not what is asked for.
        let up = repository.ask(["rev-parse", "--show-cdup"]).await?;
        let top = path.join(&up);
        ensure!(up.is_empty(), "{} is inside the work tree {}: give that", path.display(), top.display());
        Ok(repository)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The commit that is checked out, or that a clone would check out; `None` if there is none yet.
    pub async fn head(&self) -> Result<Option<ObjectId>> {
        self.commit(OsStr::new("HEAD")).await
    }

    /// The commit that git understands by `revision`, which may be a tag too.
    pub async fn commit(&self, revision: &OsStr) -> Result<Option<ObjectId>> {
        // In two steps: some revisions take whatever stands behind them for a part of them.
        let Some(object) = self.resolve(revision).await? else { return Ok(None) };
        self.resolve(format!("{object}^{{commit}}").as_ref()).await
    }

    async fn resolve(&self, revision: &OsStr) -> Result<Option<ObjectId>> {
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options"];
        let output = self.git().args(arguments).arg(revision).output().await.context("cannot run git")?;
        Ok(std::str::from_utf8(&output.stdout).ok().and_then(|text| ObjectId::new(text.trim_end())))
    }

    /// How many first-parent commits there are up to `head`.
    pub async fn count(&self, head: &ObjectId) -> Result<u64> {
        let count = self.ask(["rev-list", "--first-parent", "--count", head.as_str(), "--"]).await?;
        count.parse().with_context(|| format!("git counts {count:?} commits"))
    }

    /// The first-parent commits after `after`, up to `head`, oldest first, with what each changed against its first
    /// parent. Nothing is held in memory but the entry at hand.
    pub fn log(&self, after: Option<&ObjectId>, head: &ObjectId) -> Result<Log> {
        let mut list = self.git();
        list.args(["rev-list", "--first-parent", "--reverse", head.as_str()]);
        list.args(after.map(|after| format!("^{after}"))).arg("--");
        let mut list = Process::start(list)?;
        let commits: Stdio = list.stdout.take().context("git has no output")?.try_into()?;

        // Plumbing, told everything, so that no configuration changes what it prints.
        let mut diff = self.git();
        diff.args([
            "diff-tree",
            "--stdin",
            "-r",
            "--root",
            "--always",
            "--diff-merges=first-parent",
            "--raw",
            "-z",
        ]);
        diff.args(["--no-renames", "--no-abbrev", "--ignore-submodules=none", "--encoding=UTF-8"]);
        diff.arg("--format=%H%x00%at%x00%ct%x00%an <%ae>%x00%s").stdin(commits);
        let mut diff = Process::start(diff)?;
        let text = BufReader::with_capacity(1 << 16, diff.stdout.take().context("git has no output")?);
        Ok(Log { list, diff, text, field: Vec::new() })
    }

    /// What git answers, without the end of the line.
    async fn ask<const N: usize>(&self, arguments: [&str; N]) -> Result<String> {
        let output = self.git().args(arguments).output().await.context("cannot run git")?;
        if !output.status.success() {
            let complaints = String::from_utf8_lossy(&output.stderr);
            let complaints = complaints.trim().trim_start_matches("fatal: ");
            bail!("{}: {complaints}", self.path.display());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().into())
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        // What the caller's environment says of another repository is not meant here.
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_NAMESPACE"] {
            git.env_remove(variable);
        }
        git.args(BOUNDED)
            .arg("-C")
            .arg(&self.path)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // Ctrl-C is for us: what is in flight is saved, and git goes when it is dropped.
        #[cfg(unix)]
        git.process_group(0);
        git
    }
}

/// Git would map all of a repository's packs into memory, and is not slower for mapping a little at a time.
const BOUNDED: [&str; 6] = [
    "-c",
    "core.packedGitWindowSize=1m",
    "-c",
    "core.packedGitLimit=32m",
    "-c",
    "core.deltaBaseCacheLimit=16m",
];

/// Commits and their changes, as git prints them.
#[derive(Debug)]
pub struct Log {
    list: Process,
    diff: Process,
    text: BufReader<ChildStdout>,
    field: Vec<u8>,
}

/// A part of a [`Log`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A commit; its changes follow.
    Commit(CommitHeader),
    /// A change of the last commit: the file has this content now, or none.
    Change(FilePath, Option<Content>),
}

/// What a commit says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitHeader {
    /// Its id.
    pub id: ObjectId,
    /// Who made the change, as `name <address>`.
    pub author: String,
    /// When the author made it.
    pub authored: Timestamp,
    /// When the commit was made.
    pub committed: Timestamp,
    /// The first line of its message.
    pub summary: String,
}

impl Log {
    /// The next entry; `None` when git said everything, and said that it did.
    ///
    /// # Errors
    ///
    /// If git fails; what came before it is right, but the last commit may have more changes.
    pub async fn next(&mut self) -> Result<Option<Entry>> {
        if !self.read().await? {
            self.diff.finish().await?;
            self.list.finish().await?;
            return Ok(None);
        }
        // A line break sets the header apart from the changes.
        let field = self.field.strip_prefix(b"\n").unwrap_or(&self.field);
        if let Some(change) = field.strip_prefix(b":") {
            let content = content(change)?;
            ensure!(self.read().await?, "git broke off after a change");
            return Ok(Some(Entry::Change(FilePath::new(&self.field), content)));
        }
        let id = ObjectId::new(&self.text()).with_context(|| format!("git printed {:?}", self.text()))?;
        let authored = time(&self.following().await?);
        let committed = time(&self.following().await?);
        let author = self.following().await?;
        let summary = self.following().await?.chars().take(SUMMARY_LENGTH).collect();
        Ok(Some(Entry::Commit(CommitHeader { id, author, authored, committed, summary })))
    }

    /// Reads a field up to its NUL; false at the end.
    async fn read(&mut self) -> Result<bool> {
        self.field.clear();
        self.text.read_until(0, &mut self.field).await.context("cannot read from git")?;
        match self.field.pop() {
            Some(0) => Ok(true),
            Some(_) => bail!("git broke off"),
            None => Ok(false),
        }
    }

    async fn following(&mut self) -> Result<String> {
        ensure!(self.read().await?, "git broke off within a commit");
        Ok(self.text())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.field).into_owned()
    }
}

/// Some programs write whole novels into the first line.
const SUMMARY_LENGTH: usize = 200;

/// What a file holds after a change that git prints as `100644 100755 1111… 2222… M`; nothing if it is deleted.
fn content(change: &[u8]) -> Result<Option<Content>> {
    let parse = || {
        let mut fields = std::str::from_utf8(change).ok()?.split(' ').skip(1);
        let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
        let object = ObjectId::new(fields.nth(1)?)?;
        Some((mode != 0).then_some(Content { mode, object }))
    };
    parse().with_context(|| format!("git printed the change {:?}", String::from_utf8_lossy(change)))
}

/// The time that git prints in seconds since 1970, as near as can be: there are commits from the year 33658.
fn time(seconds: &str) -> Timestamp {
    let seconds: i64 = seconds.parse().unwrap_or_default();
    let within = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(within).unwrap_or_default()
}

/// A `git` at work, whose complaints are kept.
#[derive(Debug)]
struct Process {
    child: Child,
    stdout: Option<ChildStdout>,
    complaints: Option<JoinHandle<String>>,
}

impl Process {
    fn start(mut command: Command) -> Result<Self> {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot run git")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Ok(Self { child, stdout, complaints: stderr.map(|stderr| tokio::spawn(complaints(stderr))) })
    }

    async fn finish(&mut self) -> Result<()> {
        let status = self.child.wait().await.context("cannot wait for git")?;
        let complaints = match self.complaints.take() {
            Some(complaints) => complaints.await.unwrap_or_default(),
            None => String::new(),
        };
        ensure!(status.success(), "git failed ({status}): {}", complaints.trim());
        Ok(())
    }
}

/// The beginning of what is written; the rest is read too, or git would wait for ever.
async fn complaints(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    // Complaints that cannot be read do not change whether git failed.
    let _ = (&mut stderr).take(4096).read_to_end(&mut text).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&text).into_owned()
}

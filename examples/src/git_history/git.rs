//! A git repository, read by running the program `git`.

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

/// A repository with a work tree, or a bare one.
#[derive(Debug, Clone)]
pub struct Repository {
    path: PathBuf,
}

impl Repository {
    /// Opens the repository whose top directory is `path`.
    ///
    /// # Errors
    ///
    /// If `path` is not a directory, not a repository, or a directory inside a work tree.
    pub async fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            // A URL may contain a password, so the error does not repeat it.
            let is_address = path.to_string_lossy().contains("://");
            ensure!(!is_address, "a URL is not a directory; clone the repository first");
            bail!("{}: there is no such directory", path.display());
        }
        let repository = Self { path: path.into() };
        repository.output(["rev-parse", "--git-dir"]).await?;
        // In a subdirectory, `git ls-tree` prints only that part of the tree.
        let up = repository.output(["rev-parse", "--show-cdup"]).await?;
        let top = path.join(&up);
        ensure!(
            up.is_empty(),
            "{} is inside the work tree {}; pass the work tree instead",
            path.display(),
            top.display()
        );
        Ok(repository)
    }

    /// Returns the path of the repository.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the commit of `HEAD`; `None` in a repository without commits.
    pub async fn head(&self) -> Result<Option<ObjectId>> {
        self.commit(OsStr::new("HEAD")).await
    }

    /// Returns the commit that `revision` names, also through a tag; `None` if it names no commit.
    pub async fn commit(&self, revision: &OsStr) -> Result<Option<ObjectId>> {
        // In two steps, because `:/text` takes an appended `^{commit}` as a part of the text.
        let Some(object) = self.resolve(revision).await? else { return Ok(None) };
        self.resolve(format!("{object}^{{commit}}").as_ref()).await
    }

    async fn resolve(&self, revision: &OsStr) -> Result<Option<ObjectId>> {
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options"];
        let output = self.git().args(arguments).arg(revision).output().await.context("cannot run git")?;
        Ok(std::str::from_utf8(&output.stdout).ok().and_then(|text| ObjectId::new(text.trim_end())))
    }

    /// Returns the number of first-parent commits up to `head`.
    pub async fn count(&self, head: &ObjectId) -> Result<u64> {
        let count = self.output(["rev-list", "--first-parent", "--count", head.as_str(), "--"]).await?;
        count.parse().with_context(|| format!("git printed {count:?} instead of a number of commits"))
    }

    /// Reads the first-parent commits after `after` up to `head`, oldest first, each with its changes against its first
    /// parent. Holds one entry in memory.
    pub fn log(&self, after: Option<&ObjectId>, head: &ObjectId) -> Result<Log> {
        let mut list = self.git();
        list.args(["rev-list", "--first-parent", "--reverse", head.as_str()]);
        list.args(after.map(|after| format!("^{after}"))).arg("--");
        let mut list = Process::start(list)?;
        let commits: Stdio = list.stdout.take().context("git has no output")?.try_into()?;

        // A plumbing command with every option set, so that no configuration changes its output.
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

    /// Runs git and returns its output without the final line break.
    async fn output<const N: usize>(&self, arguments: [&str; N]) -> Result<String> {
        let output = self.git().args(arguments).output().await.context("cannot run git")?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            let message = message.trim().trim_start_matches("fatal: ");
            bail!("{}: {message}", self.path.display());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().into())
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        // The caller's environment may name another repository.
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_NAMESPACE"] {
            git.env_remove(variable);
        }
        git.args(BOUNDED)
            .arg("-C")
            .arg(&self.path)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // Ctrl-C must not reach git: this process first saves what is in flight, then drops and so kills git.
        #[cfg(unix)]
        git.process_group(0);
        git
    }
}

/// Options that limit git's memory. Without them git maps all packs of a repository; it is not slower with them.
const BOUNDED: [&str; 6] = [
    "-c",
    "core.packedGitWindowSize=1m",
    "-c",
    "core.packedGitLimit=32m",
    "-c",
    "core.deltaBaseCacheLimit=16m",
];

/// A stream of commits and their changes, parsed from the output of git.
#[derive(Debug)]
pub struct Log {
    list: Process,
    diff: Process,
    text: BufReader<ChildStdout>,
    field: Vec<u8>,
}

/// One entry of a [`Log`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A commit; its changes follow.
    Commit(CommitHeader),
    /// A change by the last commit: the new content of the file, or `None` if it was deleted.
    Change(FilePath, Option<Content>),
}

/// Header of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitHeader {
    /// Id of the commit.
    pub id: ObjectId,
    /// Author of the change, as `name <address>`.
    pub author: String,
    /// Author time.
    pub authored: Timestamp,
    /// Commit time.
    pub committed: Timestamp,
    /// First line of the message.
    pub summary: String,
}

impl Log {
    /// Returns the next entry; `None` after the last one, once git has exited with success.
    ///
    /// # Errors
    ///
    /// If git fails. The entries before the failure are valid, but the last commit can have more changes.
    pub async fn next(&mut self) -> Result<Option<Entry>> {
        if !self.read().await? {
            self.diff.finish().await?;
            self.list.finish().await?;
            return Ok(None);
        }
        // A line break separates the header from the changes.
        let field = self.field.strip_prefix(b"\n").unwrap_or(&self.field);
        if let Some(change) = field.strip_prefix(b":") {
            let content = content(change)?;
            ensure!(self.read().await?, "the output of git ended after a change");
            return Ok(Some(Entry::Change(FilePath::new(&self.field), content)));
        }
        let id = ObjectId::new(&self.text()).with_context(|| format!("git printed {:?}", self.text()))?;
        let authored = time(&self.following().await?);
        let committed = time(&self.following().await?);
        let author = self.following().await?;
        let summary = self.following().await?.chars().take(SUMMARY_LENGTH).collect();
        Ok(Some(Entry::Commit(CommitHeader { id, author, authored, committed, summary })))
    }

    /// Reads a field up to its NUL. Returns false at the end of the output.
    async fn read(&mut self) -> Result<bool> {
        self.field.clear();
        self.text.read_until(0, &mut self.field).await.context("cannot read from git")?;
        match self.field.pop() {
            Some(0) => Ok(true),
            Some(_) => bail!("the output of git ended within a field"),
            None => Ok(false),
        }
    }

    async fn following(&mut self) -> Result<String> {
        ensure!(self.read().await?, "the output of git ended within a commit");
        Ok(self.text())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.field).into_owned()
    }
}

/// Maximum number of characters of a summary; some programs write very long first lines.
const SUMMARY_LENGTH: usize = 200;

/// Parses the new content of a file from a change such as `100644 100755 1111… 2222… M`; `None` if it was deleted.
fn content(change: &[u8]) -> Result<Option<Content>> {
    let parse = || {
        let mut fields = std::str::from_utf8(change).ok()?.split(' ').skip(1);
        let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
        let object = ObjectId::new(fields.nth(1)?)?;
        Some((mode != 0).then_some(Content { mode, object }))
    };
    parse().with_context(|| format!("git printed the change {:?}", String::from_utf8_lossy(change)))
}

/// Parses a time in seconds since 1970, and clamps it to the range of [`Timestamp`]: there are commits from the year
/// 33658.
fn time(seconds: &str) -> Timestamp {
    let seconds: i64 = seconds.parse().unwrap_or_default();
    let within = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(within).unwrap_or_default()
}

/// A running `git`, whose error output is collected.
#[derive(Debug)]
struct Process {
    child: Child,
    stdout: Option<ChildStdout>,
    error_output: Option<JoinHandle<String>>,
}

impl Process {
    fn start(mut command: Command) -> Result<Self> {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot run git")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Ok(Self { child, stdout, error_output: stderr.map(|stderr| tokio::spawn(beginning_of(stderr))) })
    }

    async fn finish(&mut self) -> Result<()> {
        let status = self.child.wait().await.context("cannot wait for git")?;
        let message = match self.error_output.take() {
            Some(error_output) => error_output.await.unwrap_or_default(),
            None => String::new(),
        };
        ensure!(status.success(), "git failed ({status}): {}", message.trim());
        Ok(())
    }
}

/// Returns the beginning of the error output. Reads the rest too, so that git does not block on a full pipe.
async fn beginning_of(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    // The exit status decides whether git failed, so errors of these reads are ignored.
    let _ = (&mut stderr).take(4096).read_to_end(&mut text).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&text).into_owned()
}

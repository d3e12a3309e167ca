//! Git repositories that are made for a test, the same on every machine.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use eventsrc_examples::git_history::FilePath;

/// A bare repository, filled by `git fast-import`, so that it does not depend on file systems and configurations.
#[derive(Debug)]
pub struct TestRepository {
    path: PathBuf,
}

/// A change of a path by a commit.
#[derive(Debug, Clone)]
pub enum Change<'a> {
    /// Sets the mode and the content of the file.
    Set(&'a [u8], u32, &'a str),
    /// Makes it a submodule at this commit, of 40 digits.
    Submodule(&'a [u8], &'a str),
    /// Deletes the file, or everything in the directory.
    Delete(&'a [u8]),
    /// Deletes everything.
    DeleteAll,
}

/// A script of commits.
#[derive(Debug, Default)]
pub struct Script {
    text: Vec<u8>,
    commits: usize,
}

impl Script {
    /// Adds a commit on the branch `main`, made `seconds` after 1970, on its `parents`, of which the first is
    /// the trunk. Returns the number by which it can be named as a parent.
    pub fn commit(
        &mut self,
        seconds: i64,
        parents: &[usize],
        message: &str,
        changes: &[Change<'_>],
    ) -> usize {
        self.commits += 1;
        let number = self.commits;
        let mut head = String::new();
        if parents.is_empty() {
            head.push_str("reset refs/heads/main\n");
        }
        let author = format!("Ada Ünal <ada@example.com> {} +0200", seconds - 60);
        let committer = format!("Kim <kim@example.com> {seconds} -0330");
        let length = message.len();
        write!(
            head,
            "commit refs/heads/main\nmark :{number}\nauthor {author}\ncommitter {committer}\ndata {length}\n{message}\n"
        )
        .expect("a string takes any text");
        for (place, parent) in parents.iter().enumerate() {
            let how = if place == 0 { "from" } else { "merge" };
            writeln!(head, "{how} :{parent}").expect("a string takes any text");
        }
        self.text.extend(head.bytes());
        for change in changes {
            let path = |path: &[u8]| FilePath::new(path).quoted().into_owned();
            let line = match change {
                Change::Set(name, mode, content) => {
                    format!("M {mode:o} inline {}\ndata {}\n{content}\n", path(name), content.len())
                }
                Change::Submodule(name, commit) => format!("M 160000 {commit} {}\n", path(name)),
                Change::Delete(name) => format!("D {}\n", path(name)),
                Change::DeleteAll => "deleteall\n".into(),
            };
            self.text.extend(line.bytes());
        }
        self.text.push(b'\n');
        number
    }

    /// A history of `commits` commits with `changes` changes each: files that change often, files that change
    /// once, and deletions.
    pub fn long(commits: usize, changes: usize) -> Self {
        let mut script = Self::default();
        for commit in 1..=commits {
            let paths: Vec<String> = (0..changes)
                .map(|change| match change % 3 {
                    0 => format!("often/{change}"),
                    1 => format!("now and then/{}-{change}", commit % 17),
                    _ => format!("once/{}/{commit}-{change}", commit % 5),
                })
                .collect();
            let content = format!("commit {commit}");
            let mut all: Vec<_> =
                paths.iter().map(|path| Change::Set(path.as_bytes(), 0o100_644, &content)).collect();
            let gone = format!("now and then/{}-1", (commit + 8) % 17);
            if changes > 1 && commit > 17 {
                all.push(Change::Delete(gone.as_bytes()));
            }
            let parents: Vec<usize> = (script.commits > 0).then_some(script.commits).into_iter().collect();
            script.commit(1_700_000_000 + commit as i64, &parents, &content, &all);
        }
        script
    }
}

impl TestRepository {
    /// An empty repository at `path`, with the object format `sha1` or `sha256`.
    ///
    /// # Errors
    ///
    /// If git cannot create it.
    pub fn empty(path: &Path, format: &str) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        let repository = Self { path: path.into() };
        let format = format!("--object-format={format}");
        repository.git(&["init", "--quiet", "--bare", "--initial-branch=main", &format], &[])?;
        Ok(repository)
    }

    /// Adds the commits of `script`; the branch `main` is at the last.
    ///
    /// # Errors
    ///
    /// If git refuses.
    pub fn run(&self, script: &Script) -> Result<()> {
        self.git(&["fast-import", "--quiet", "--force"], &script.text).map(drop)
    }

    /// The path of the repository.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The output of `git` with these arguments and this input.
    ///
    /// # Errors
    ///
    /// If git fails.
    pub fn git(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
        git(&self.path, arguments, input)
    }
}

/// The output of `git` with these arguments and this input in the repository at `path`.
///
/// # Errors
///
/// If git fails.
pub fn git(path: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let mut git = Command::new("git");
    git.args(["-c", "core.quotePath=true", "-C"]).arg(path).args(arguments);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
    git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = git.spawn().context("cannot run git")?;
    child.stdin.take().context("git reads nothing")?.write_all(input)?;
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    ensure!(status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&stderr));
    Ok(stdout)
}

/// The output of `git ls-tree -r` for a commit.
///
/// # Errors
///
/// If git fails.
pub fn ls_tree(path: &Path, commit: &str) -> Result<String> {
    Ok(String::from_utf8(git(path, &["ls-tree", "-r", "--full-tree", commit], &[])?)?)
}

/// The first-parent commits up to the head, oldest first.
///
/// # Errors
///
/// If git fails.
pub fn first_parents(path: &Path) -> Result<Vec<String>> {
    let list = git(path, &["rev-list", "--first-parent", "--reverse", "HEAD"], &[])?;
    Ok(String::from_utf8(list)?.lines().map(Into::into).collect())
}

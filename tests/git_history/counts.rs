//! `churn` and `authors`, compared with git.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use eventsrc_core::Timestamp;
use eventsrc_examples::git_history::{
    Archive, AuthorRow, FilePath, FileRow, ObjectId, Versions, authors, churn,
};
use eventsrc_tests::git_repository::{TestRepository, first_parents, git};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::unusual_history::unusual;
use super::{import_all, printed, refused, run};

/// The rows of the view.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) files: Vec<FileRow>,
    pub(super) authors: Vec<AuthorRow>,
}

impl Counts {
    /// The counts from `git log` over the first-parent commits up to `head`. A rename counts as one deleted
    /// and one added file.
    pub(super) fn by_git(repository: &Path, head: &str) -> Self {
        let arguments = ["log", "--first-parent", "--reverse", "--name-status", "--no-renames"];
        let more = ["--diff-merges=first-parent", "--format=%x00%H%x00%an <%ae>%x00%at", head, "--"];
        let log = git(repository, &[&arguments[..], &more[..]].concat(), &[]).unwrap();
        let log = String::from_utf8(log).unwrap();
        let mut files: BTreeMap<FilePath, FileRow> = BTreeMap::new();
        let mut authors: BTreeMap<&str, (AuthorRow, BTreeSet<FilePath>)> = BTreeMap::new();
        let fields: Vec<_> = log.split('\0').skip(1).collect();
        for commit in fields.chunks_exact(3) {
            let (id, author) = (ObjectId::new(commit[0]).unwrap(), commit[1]);
            let mut lines = commit[2].lines();
            let time = Timestamp::from_second(lines.next().unwrap().parse().unwrap()).unwrap();
            for change in lines.filter(|line| !line.is_empty()) {
                let (status, path) = change.split_once('\t').unwrap();
                let path = FilePath::from_quoted(path).unwrap();
                let before = files.get(&path).map_or(0, |row| row.changes);
                let row = FileRow {
                    path: path.clone(),
                    changes: before + 1,
                    last_commit: id.clone(),
                    last_time: time,
                    deleted: status == "D",
                };
                files.insert(path.clone(), row);
                let nobody =
                    AuthorRow { author: author.into(), changes: 0, files: 0, first: time, last: time };
                let (row, touched) = authors.entry(author).or_insert((nobody, BTreeSet::new()));
                row.changes += 1;
                row.files += u64::from(touched.insert(path));
                row.last = time;
            }
        }
        let mut files: Vec<_> = files.into_values().collect();
        files.sort_by_key(|row| (u64::MAX - row.changes, row.path.quoted().into_owned()));
        let mut authors: Vec<_> = authors.into_values().map(|(row, _)| row).collect();
        authors.sort_by_key(|row| (u64::MAX - row.changes, row.author.clone()));
        Self { files, authors }
    }

    /// The counts of the view after a catch-up.
    pub(super) async fn of(archive: &Archive) -> Self {
        let versions = Versions::open(archive).await.unwrap();
        let query = |connection: &_| {
            Ok(Self { files: churn(connection, None)?, authors: authors(connection, None)? })
        };
        versions.up_to_date(|_| {}, query).await.unwrap()
    }

    /// The expected output of `churn`.
    pub(super) fn churn(&self) -> String {
        self.files.iter().fold(String::new(), |mut text, row| {
            let FileRow { path, changes, last_commit, last_time, deleted } = row;
            let state = if *deleted { "deleted" } else { "       " };
            let commit = &last_commit.as_str()[..10];
            writeln!(text, "{changes:>7}  {state}  {commit}  {last_time}  {path}").unwrap();
            text
        })
    }

    /// The expected output of `authors`.
    pub(super) fn authors(&self) -> String {
        self.authors.iter().fold(String::new(), |mut text, row| {
            let AuthorRow { author, changes, files, first, last } = row;
            writeln!(text, "{changes:>7}  {files:>7}  {first}  {last}  {author}").unwrap();
            text
        })
    }
}

const NAMES: [&str; 4] = ["Ada Ünal", "Kim", "O'Brien \"Bo\"", "%an"];

/// Adds commits of several authors to the branch `main`: files that are added, deleted, moved, changed in their
/// mode only, or unchanged, and merges. Some times run backwards.
fn grow(repository: &TestRepository, random: &mut StdRng, commits: usize) {
    let head = first_parents(repository.path()).is_ok().then_some("from refs/heads/main^0\n");
    let mut text = String::new();
    for number in 0..commits {
        let merges = number > 0 && random.random_range(0..5) == 0;
        let from = if number == 0 { head.unwrap_or_default() } else { "" };
        if merges {
            commit(&mut text, random, "side", "from refs/heads/main\n");
            commit(&mut text, random, "main", "merge refs/heads/side\n");
        } else {
            commit(&mut text, random, "main", from);
        }
    }
    repository.git(&["fast-import", "--quiet", "--force"], text.as_bytes()).unwrap();
}

fn commit(text: &mut String, random: &mut StdRng, branch: &str, parents: &str) {
    let name = NAMES.choose(random).unwrap();
    let address = random.random_range(0..2);
    let time = 1_600_000_000 + random.random_range(0..1_000_000);
    writeln!(text, "commit refs/heads/{branch}").unwrap();
    writeln!(text, "author {name} <{address}@example.com> {time} +0100").unwrap();
    writeln!(text, "committer Kim <kim@example.com> {time} +0000\ndata 0\n{parents}").unwrap();
    // The newline that ends the data may be missing, but not the one that ends the parents.
    text.truncate(text.trim_end_matches('\n').len() + 1);
    for _ in 0..random.random_range(0..5) {
        let path = format!("{}/ü{}", random.random_range(0..3), random.random_range(0..4));
        let content = random.random_range(0..3);
        let mode = if random.random_range(0..4) == 0 { "100755" } else { "100644" };
        match random.random_range(0..8) {
            0 => writeln!(text, "D {path}").unwrap(),
            1 => writeln!(text, "D {path}\nM {mode} inline {path} moved\ndata 1\n{content}").unwrap(),
            _ => writeln!(text, "M {mode} inline {path}\ndata 1\n{content}").unwrap(),
        }
    }
}

/// A small generated repository, its events, and the folder of both.
pub(super) async fn grown(seed: u64) -> (TempDir, TestRepository, Archive) {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    grow(&repository, &mut StdRng::seed_from_u64(seed), 25);
    let archive = Archive::open(&folder.path().join("db")).await.unwrap();
    import_all(repository.path(), &archive).await.unwrap();
    (folder, repository, archive)
}

#[tokio::test]
async fn the_counts_of_this_repository_equal_those_of_git() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(&folder.path().join("db")).await.unwrap();
    // A commit may be made during the test: the imported head counts.
    let head = import_all(root, &archive).await.unwrap().marker.unwrap();
    let counts = Counts::of(&archive).await;
    assert!(counts.files.len() > 100 && !counts.authors.is_empty());
    assert_eq!(counts, Counts::by_git(root, head.commit.commit.as_str()));
}

#[tokio::test]
async fn the_counts_of_a_growing_repository_equal_those_of_git_at_every_step() {
    for seed in 0..3 {
        let mut random = StdRng::seed_from_u64(seed);
        let (_folder, repository, archive) = grown(seed).await;
        for round in 0..3 {
            let expected = Counts::by_git(repository.path(), "HEAD");
            assert_eq!(Counts::of(&archive).await, expected, "seed {seed}, round {round}");
            assert!(
                expected.authors.len() > 2 && expected.files.iter().any(|row| row.deleted),
                "seed {seed}"
            );
            grow(&repository, &mut random, 15);
            import_all(repository.path(), &archive).await.unwrap();
        }
        // A version that is rebuilt at once has the same rows as the one that was built step by step.
        let versions = Versions::open(&archive).await.unwrap();
        Counts::of(&archive).await;
        let digest = |version| {
            let versions = versions.clone();
            async move { super::rebuilds::digest(&versions, version).await }
        };
        assert_eq!(versions.rebuild(|_| {}).await.unwrap().version, 2);
        assert_eq!(digest(1).await, digest(2).await, "seed {seed}");
        assert_eq!(Counts::of(&archive).await, Counts::by_git(repository.path(), "HEAD"), "seed {seed}");
    }
}

#[test]
fn unusual_files_and_their_counts_are_printed_as_in_git() {
    for format in ["sha1", "sha256"] {
        let (folder, repository) = unusual(format);
        let db = folder.path().join("db");
        let expected = Counts::by_git(repository.path(), "HEAD");
        let churn = printed(repository.path(), &db, &["churn"]);
        assert_eq!(churn, expected.churn(), "{format}");
        assert_eq!(printed(repository.path(), &db, &["authors"]), expected.authors(), "{format}");
        let top: String = churn.split_inclusive('\n').take(7).collect();
        assert_eq!(printed(repository.path(), &db, &["churn", "--top", "7"]), top);
        assert_eq!(printed(repository.path(), &db, &["churn", "--top", "4000000000"]), churn);
    }
}

#[test]
fn counts_at_a_commit_equal_those_of_git() {
    let (folder, repository) = unusual("sha1");
    let db = folder.path().join("history.db");
    let commits = first_parents(repository.path()).unwrap();
    let said = printed(repository.path(), &db, &["rebuild", "--up-to", "HEAD~9"]);
    let commit = &commits[commits.len() - 10];
    let file = folder.path().join(format!("history.at-{}.db", &commit[..10]));
    assert!(file.exists() && said.contains(file.to_str().unwrap()), "{said}");
    for revision in ["HEAD~9", "HEAD~2", "HEAD"] {
        let expected = Counts::by_git(repository.path(), revision);
        let printed = |command| printed(repository.path(), &db, &[command, "--at", revision]);
        assert_eq!(printed("churn"), expected.churn(), "{revision}");
        assert_eq!(printed("authors"), expected.authors(), "{revision}");
    }
    // No serving version has this number.
    let head = Counts::by_git(repository.path(), "HEAD");
    assert_eq!(printed(repository.path(), &db, &["churn"]), head.churn());

    let early = run(repository.path(), &db, &["churn", "--at", "1999-12-31"].map(AsRef::as_ref));
    assert!(early.status.success() && early.stdout.is_empty(), "{early:?}");
    let said = refused(repository.path(), &db, &["rebuild", "--up-to", "1999-12-31"]);
    assert!(said.contains("No commit was made by") && said.contains("nothing to build"), "{said}");
    let said = refused(repository.path(), &db, &["authors", "--at", "nothing"]);
    assert!(said.contains("is not a commit") && said.contains("nor a time"), "{said}");
}

#[test]
fn a_repository_without_commits_has_nothing_to_count() {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    let db = folder.path().join("db");
    for command in ["churn", "authors"] {
        assert_eq!(printed(repository.path(), &db, &[command]), "");
    }
}

#[test]
fn wrong_arguments_are_reported_and_create_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    let db = folder.path().join("db");
    for arguments in [
        &["churn", "--top", "0"][..],
        &["churn", "--top", "many"],
        &["authors", "--top", "-1"],
        &["authors", "one"],
        &["churn", "--up-to", "HEAD"],
        &["rebuild", "HEAD"],
        &["rebuild", "--top", "1"],
        &["rebuild", "--up-to"],
        &["rebuild", "--retire-old", "--up-to", "HEAD"],
    ] {
        let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        let output = run(repository.path(), &db, &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--help"), "{arguments:?}");
    }
    assert!(!db.exists());
}

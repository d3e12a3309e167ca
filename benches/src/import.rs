//! The import of a whole repository by `git-history`, compared with a program that inserts the same rows into bare SQLite.

use std::collections::HashMap;
use std::future::pending;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use eventsrc_examples::git_history::{Archive, Entry, Repository, import};
use tokio::runtime::{Builder, Runtime};

use crate::Benchmark;
use crate::bare::{Bare, BareRow};
use crate::measure::{paired, peak};
use crate::table::{Bar, Row};

pub(crate) const BENCHMARK: Benchmark = Benchmark {
    name: "import",
    about: "git-history: changes imported a second, and the memory of 100,000 changes",
    run,
    child,
};

const COMMITS: u64 = 2_000;
/// Changes of each commit.
const CHANGES: u64 = 5;
/// Number of commits with 100,000 changes in total.
const MANY_COMMITS: u64 = 20_000;
/// The same as the number of concurrent saves of `git-history`.
const ROWS_PER_TRANSACTION: usize = 256;

fn run(directory: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir_in(directory)?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let small = folder.path().join("small.git");
    make_repository(&small, COMMITS)?;

    let (mut imports, mut inserts) = (0, 0);
    let paired = paired::compare(
        |times| {
            (0..times).try_for_each(|_| {
                imports += 1;
                let db = folder.path().join(format!("ours-{imports}.db"));
                import_all(&runtime, &small, &db, COMMITS)
            })
        },
        |times| {
            (0..times).try_for_each(|_| {
                inserts += 1;
                let db = folder.path().join(format!("bare-{inserts}.db"));
                insert_all(&runtime, &small, &db)
            })
        },
    )?;
    let changes = (COMMITS * CHANGES) as f64;
    let speed = Row::new(
        "git-history import, against git and bare rusqlite, 256 rows a transaction",
        "changes/s",
        changes / paired.ours,
        changes / paired.reference,
    )
    .by_pairs(paired.speed);

    let large = folder.path().join("large.git");
    make_repository(&large, MANY_COMMITS)?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("the path is not UTF-8");
    let (large, db) = (text(&large)?, text(&folder.path().join("large.db"))?);
    let peak = peak::of_child(BENCHMARK.name, &[&large, &db])? as f64 / 1e6;
    let memory =
        Row::new("memory of git-history over 100,000 changes, against 200 MB", "MB at the peak", peak, 200.0)
            .bar(Bar::AtMost(1.0));
    Ok(vec![speed, memory])
}

/// Imports a large repository, and prints the peak memory.
fn child(arguments: &[&str]) -> Result<()> {
    let &[repository, db] = arguments else { bail!("expected a repository and a file") };
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    import_all(&runtime, repository.as_ref(), db.as_ref(), MANY_COMMITS)?;
    println!("{}", peak::of_this_process()?);
    Ok(())
}

fn import_all(runtime: &Runtime, repository: &Path, db: &Path, commits: u64) -> Result<()> {
    let imported = runtime.block_on(async {
        let (repository, archive) = (Repository::open(repository).await?, Archive::open(db).await?);
        import(&repository, &archive, |_| {}, pending()).await
    })?;
    if (imported.commits, imported.changes) != (commits, commits * CHANGES) {
        bail!("{} commits with {} changes were imported", imported.commits, imported.changes);
    }
    Ok(())
}

/// Reads the repository in the same way, and inserts one row for each change.
fn insert_all(runtime: &Runtime, repository: &Path, db: &Path) -> Result<()> {
    let mut bare = Bare::create(db)?;
    runtime.block_on(async {
        let repository = Repository::open(repository).await?;
        let head = repository.head().await?.context("the repository has commits")?;
        let mut log = repository.log(None, &head)?;
        let (mut numbers, mut rows, mut author) = (HashMap::<_, u64>::new(), Vec::new(), String::new());
        loop {
            let entry = log.next().await?;
            let at_end = entry.is_none();
            match entry {
                Some(Entry::Commit(header)) => author = serde_json::to_string(&(header.id, header.author))?,
                Some(Entry::Change(path, content)) => {
                    let number = numbers.entry(path.clone()).or_default();
                    *number += 1;
                    let content = serde_json::to_string(&content)?;
                    rows.push((path.quoted().into_owned(), *number, format!("[{content},{author}]")));
                }
                None => {}
            }
            if at_end || rows.len() == ROWS_PER_TRANSACTION {
                let rows = std::mem::take(&mut rows);
                bare.insert(rows.iter().map(|(path, number, payload)| BareRow {
                    stream: path,
                    number: *number,
                    payload: payload.clone(),
                }))?;
            }
            if at_end {
                return Ok(());
            }
        }
    })
}

/// Creates a bare repository with a linear history of 500 files in 20 directories.
fn make_repository(path: &Path, commits: u64) -> Result<()> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(path).args(arguments);
        git
    };
    std::fs::create_dir(path)?;
    if !git(&["init", "--quiet", "--bare", "--initial-branch=main"]).status()?.success() {
        bail!("git init failed");
    }
    let mut importer = git(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn()?;
    let mut stream = BufWriter::new(importer.stdin.take().context("git has no input")?);
    for commit in 0..commits {
        let author =
            format!("Ada Lovelace <ada@analytical-engine.example> {} +0000", 1_700_000_000 + commit * 60);
        let message = format!("Change {commit} of the engine");
        write!(stream, "commit refs/heads/main\nauthor {author}\ncommitter {author}\n")?;
        write!(stream, "data {}\n{message}\n", message.len())?;
        for change in 0..CHANGES {
            let file = (commit * 7 + change * 101) % 500;
            let content = format!("commit {commit}, change {change}\n");
            writeln!(stream, "M 100644 inline part-{:02}/file-{file:03}.txt", file % 20)?;
            write!(stream, "data {}\n{content}\n", content.len())?;
        }
    }
    stream.flush()?;
    drop(stream);
    if !importer.wait()?.success() {
        bail!("git fast-import failed");
    }
    Ok(())
}

//! Imports that are interrupted, and concurrent imports.

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::{env, fs};

use eventsrc_examples::git_history::{Archive, Repository, import};
use eventsrc_tests::git_kills::State;
use eventsrc_tests::git_repository::{Script, TestRepository, first_parents, ls_tree};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::{PROGRAM, import_all, printed};

fn long() -> (TempDir, TestRepository) {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    repository.run(&Script::long(300, 9)).unwrap();
    (folder, repository)
}

async fn undisturbed(folder: &TempDir, repository: &TestRepository) -> State {
    let db = folder.path().join("undisturbed");
    let archive = Archive::open(&db).await.unwrap();
    import_all(repository.path(), &archive).await.unwrap();
    State::read(&archive).await.unwrap()
}

#[tokio::test]
async fn an_interrupted_import_reports_the_rest_and_resumes() {
    let (folder, repository) = long();
    let expected = undisturbed(&folder, &repository).await;
    let commits = first_parents(repository.path()).unwrap();
    let git = Repository::open(repository.path()).await.unwrap();
    for seed in 0..3 {
        let mut random = StdRng::seed_from_u64(seed);
        let archive = Archive::open(&folder.path().join(format!("{seed}"))).await.unwrap();
        let (mut saved, mut repeated, mut interrupted) = (0, 0, 0);
        loop {
            let mut entries = random.random_range(0..500);
            let interrupt = poll_fn(|_| {
                entries -= 1;
                if entries < 0 { Poll::Ready(()) } else { Poll::Pending }
            });
            let imported = import(&git, &archive, |_| {}, interrupt).await.unwrap();
            saved += imported.changes;
            repeated += imported.repeated;
            let done = imported.marker.as_ref().map_or(0, |marker| marker.ordinal);
            assert_eq!(done + imported.left, 300, "seed {seed}");
            if let Some(marker) = imported.marker {
                let tree = archive.tree(marker.ordinal).await.unwrap().to_string();
                assert_eq!(marker.commit.commit.as_str(), commits[usize::try_from(done).unwrap() - 1]);
                assert_eq!(
                    tree,
                    ls_tree(repository.path(), marker.commit.commit.as_str()).unwrap(),
                    "seed {seed}"
                );
            }
            if imported.left == 0 {
                break;
            }
            interrupted += 1;
        }
        assert!(
            interrupted > 1 && repeated > 0,
            "seed {seed}: {interrupted} interruptions, {repeated} repeated"
        );
        assert_eq!(saved - repeated, archive.changes().await.unwrap(), "seed {seed}");
        assert!(State::read(&archive).await.unwrap() == expected, "seed {seed}");
    }
}

#[tokio::test]
async fn concurrent_imports_do_not_interfere() {
    let (folder, repository) = long();
    let expected = undisturbed(&folder, &repository).await;
    let archive = Archive::open(&folder.path().join("shared")).await.unwrap();
    let one = import_all(repository.path(), &archive);
    let other = import_all(repository.path(), &archive);
    let (one, other) = tokio::join!(one, other);
    for outcome in [one, other] {
        if let Err(error) = outcome {
            assert!(error.to_string().contains("another import"), "{error:#}");
        }
    }
    import_all(repository.path(), &archive).await.unwrap();
    assert!(State::read(&archive).await.unwrap() == expected);
}

#[tokio::test]
async fn ctrl_c_ends_an_import_with_a_message_and_it_resumes() {
    let (folder, repository) = long();
    let db = folder.path().join("db");
    let mut program = Command::new(PROGRAM);
    program.arg(repository.path()).arg("--db").arg(&db).arg("import");
    program.env("PATH", path_of_a_git_that_never_ends(&folder)).stderr(Stdio::piped());
    let mut program = program.spawn().unwrap();
    let mut stderr = BufReader::new(program.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    assert_eq!(said, "300 commits to import\n");
    let ctrl_c = Command::new("kill").arg("-INT").arg(program.id().to_string()).status().unwrap();
    assert!(ctrl_c.success());
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("interrupted: ") && said.contains("left; run the command again"), "{said}");

    assert_eq!(printed(repository.path(), &db, &["tree"]), ls_tree(repository.path(), "HEAD").unwrap());
    let state = State::read(&Archive::open(&db).await.unwrap()).await.unwrap();
    assert!(state == undisturbed(&folder, &repository).await);
}

/// A search path on which `git diff-tree` prints its output and then never ends.
fn path_of_a_git_that_never_ends(folder: &TempDir) -> String {
    let path = env::var("PATH").unwrap();
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let text = format!(
        "#!/bin/sh\nPATH='{path}'\ncase \" $* \" in *' diff-tree '*) git \"$@\"; exec sleep 1000;; esac\nexec git \"$@\"\n"
    );
    let git: &Path = &programs.join("git");
    fs::write(git, text).unwrap();
    fs::set_permissions(git, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{path}", programs.display())
}

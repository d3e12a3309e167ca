//! Wrong input gets a clear message and exit code 1, and nothing is lost.

use std::fs;
use std::path::{Path, PathBuf};

use eventsrc_examples::git_history::Archive;
use eventsrc_tests::git_repository::{Change, Script, TestRepository, first_parents, git, ls_tree};
use tempfile::TempDir;

use super::{import_all, printed, refused, run};

const PLAIN: u32 = 0o100_644;

/// A repository with three commits on the trunk; the last one merges a side branch.
fn small() -> (TempDir, TestRepository, PathBuf) {
    let mut script = Script::default();
    let first = script.commit(1_000, &[], "first", &[Change::Set(b"file", PLAIN, "1")]);
    let second = script.commit(2_000, &[first], "second", &[Change::Set(b"file", PLAIN, "2")]);
    let side = script.commit(3_000, &[first], "side", &[Change::Set(b"side", PLAIN, "1")]);
    script.commit(4_000, &[second, side], "merge", &[Change::Set(b"side", PLAIN, "1")]);
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    repository.run(&script).unwrap();
    let db = folder.path().join("db");
    (folder, repository, db)
}

#[test]
fn a_path_without_a_repository() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let nowhere = folder.path().join("nowhere");
    assert!(refused(&nowhere, &db, &["tree"]).contains("nowhere: there is no such directory"));
    let said = refused(Path::new("https://ada:geheim@example.org/r.git"), &db, &["tree"]);
    assert!(said.contains("clone") && !said.contains("geheim"), "{said}");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refused(&file, &db, &[]).contains("file: there is no such directory"));
    let plain = folder.path().join("plain");
    fs::create_dir(&plain).unwrap();
    let said = refused(&plain, &db, &["import"]);
    assert!(said.contains("plain") && said.contains("not a git repository"), "{said}");
    assert!(!db.exists(), "no database is made for nothing");
}

#[test]
fn a_directory_inside_a_work_tree() {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet"], &[]).unwrap();
    let inside = folder.path().join("a/b");
    fs::create_dir_all(&inside).unwrap();
    let said = refused(&inside, &folder.path().join("db"), &["tree"]);
    assert!(said.contains("is inside the work tree") && said.contains("a/b/../../"), "{said}");
}

#[test]
fn a_repository_without_commits_has_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    let db = folder.path().join("db");
    for arguments in [&["import"][..], &["tree"], &[]] {
        let output = printed(repository.path(), &db, arguments);
        assert_eq!(output.is_empty(), !arguments.is_empty());
    }
    assert!(refused(repository.path(), &db, &["tree", "HEAD"]).contains("is not a commit"));
}

#[test]
fn a_commit_or_a_file_that_is_not_in_the_history() {
    let (_folder, repository, db) = small();
    let commits = first_parents(repository.path()).unwrap();
    for wrong in ["nothing", "HEAD~3", "HEAD:file", "2020-13-01", "--all", ""] {
        let said = refused(repository.path(), &db, &["tree", "--", wrong]);
        assert!(said.contains("is not a commit") && said.contains("nor a time"), "{wrong}: {said}");
    }
    let said = refused(repository.path(), &db, &["tree", "HEAD^2"]);
    assert!(said.contains("is not among the first-parent commits"), "{said}");
    let said = refused(repository.path(), &db, &["log", "other"]);
    assert!(said.contains("no commit contains a file other"), "{said}");
    assert_eq!(
        printed(repository.path(), &db, &["tree", &commits[0][..10]]),
        ls_tree(repository.path(), &commits[0]).unwrap()
    );
}

#[test]
fn a_file_that_is_no_database() {
    let (_folder, repository, db) = small();
    fs::write(&db, "a letter to a friend, long enough to be taken for something else\n".repeat(100)).unwrap();
    let before = fs::read(&db).unwrap();
    let said = refused(repository.path(), &db, &["import"]);
    assert!(said.contains("cannot use") && said.contains("db"), "{said}");
    assert_eq!(fs::read(&db).unwrap(), before);
}

#[test]
fn a_branch_that_was_rewritten() {
    let (_folder, repository, db) = small();
    let tree = printed(repository.path(), &db, &["tree"]);
    let imported = first_parents(repository.path()).unwrap().pop().unwrap();

    let mut script = Script::default();
    let first = script.commit(1_000, &[], "first", &[Change::Set(b"file", PLAIN, "another")]);
    let second = script.commit(2_000, &[first], "second", &[]);
    script.commit(3_000, &[second], "third", &[]);
    repository.run(&script).unwrap();
    let head = first_parents(repository.path()).unwrap().pop().unwrap();
    for arguments in [&["import"][..], &["tree"], &["log", "file"]] {
        let said = refused(repository.path(), &db, arguments);
        assert!(said.contains(&imported) && said.contains(&head) && said.contains("rewritten"), "{said}");
    }

    // The branch is shorter than what is imported, and then missing.
    repository.git(&["update-ref", "refs/heads/main", "main~1"], &[]).unwrap();
    assert!(refused(repository.path(), &db, &["tree"]).contains(&imported));
    repository.git(&["update-ref", "-d", "refs/heads/main"], &[]).unwrap();
    assert!(refused(repository.path(), &db, &["tree"]).contains(&imported));

    // Nothing is lost.
    repository.git(&["update-ref", "refs/heads/main", &imported], &[]).unwrap();
    assert_eq!(printed(repository.path(), &db, &["tree"]), tree);
}

#[tokio::test]
async fn a_truncated_repository_is_imported_up_to_its_end_and_resumed_later() {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    repository.run(&Script::long(20, 3)).unwrap();
    let commits = first_parents(repository.path()).unwrap();
    let id = repository.git(&["rev-parse", &format!("{}^{{tree}}", commits[12])], &[]).unwrap();
    let id = String::from_utf8(id).unwrap();
    let object = repository.path().join("objects").join(&id[..2]).join(id[2..].trim_end());
    let away = folder.path().join("away");
    if !object.exists() {
        unpack(&folder, &repository);
    }
    fs::rename(&object, &away).unwrap();

    let db = folder.path().join("db");
    let said = refused(repository.path(), &db, &["import"]);
    assert!(said.contains("git failed") && said.contains(id.trim_end()), "{said}");
    {
        let archive = Archive::open(&db).await.unwrap();
        let error = import_all(repository.path(), &archive).await.unwrap_err();
        assert!(error.to_string().contains("git failed"), "{error:#}");
    }
    fs::rename(&away, &object).unwrap();
    let output = run(repository.path(), &db, &["tree".as_ref()]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), ls_tree(repository.path(), "HEAD").unwrap());
}

/// Unpacks the objects of packs into single files.
fn unpack(folder: &TempDir, repository: &TestRepository) {
    let packs = repository.path().join("objects/pack");
    let aside = folder.path().join("packs");
    fs::rename(&packs, &aside).unwrap();
    fs::create_dir(&packs).unwrap();
    for pack in fs::read_dir(&aside).unwrap().map(|entry| entry.unwrap().path()) {
        if pack.extension().is_some_and(|extension| extension == "pack") {
            repository.git(&["unpack-objects", "-q"], &fs::read(&pack).unwrap()).unwrap();
        }
    }
}

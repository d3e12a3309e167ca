//! The repository of this file, and killed imports of a repository with a longer history.

use std::path::Path;

use eventsrc_examples::git_history::{Archive, ObjectId, Point};
use eventsrc_tests::git_kills::kill_import;
use eventsrc_tests::git_repository::{Script, TestRepository, first_parents, ls_tree};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::{PROGRAM, import_all, printed};

#[tokio::test]
async fn this_repository_at_the_head_and_at_20_random_commits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let archive = Archive::open(&db).await.unwrap();
    let head = import_all(root, &archive).await.unwrap().marker.unwrap();
    // A commit may be made during the test: the imported head counts.
    let mut commits = first_parents(root).unwrap();
    commits.truncate(usize::try_from(head.ordinal).unwrap());
    assert_eq!(commits.last().unwrap(), head.commit.commit.as_str());
    let seed = 20;
    let random: Vec<_> = commits.sample(&mut StdRng::seed_from_u64(seed), 20).chain(commits.last()).collect();
    for commit in random {
        let ordinal = archive.ordinal(&Point::Commit(ObjectId::new(commit).unwrap())).await.unwrap().unwrap();
        let tree = archive.tree(ordinal).await.unwrap().to_string();
        assert_eq!(tree, ls_tree(root, commit).unwrap(), "{commit}");
    }
    let commit = &commits[commits.len() / 2];
    assert_eq!(printed(root, &db, &["tree", commit]), ls_tree(root, commit).unwrap());
}

#[tokio::test]
async fn a_killed_import_resumes_and_ends_in_the_same_state() {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    repository.run(&Script::long(500, 20)).unwrap();
    let report = kill_import(Path::new(PROGRAM), repository.path(), 5, 1).await.unwrap();
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!(report.kills, 5);
    assert!(report.in_the_middle > 0, "{report:?}");
}

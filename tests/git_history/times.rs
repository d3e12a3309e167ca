//! The tree at a point in time.

use eventsrc_tests::git_repository::{Change, Script, TestRepository, ls_tree};

use super::{printed, run};

/// The last commit, in the order of the history, that was not made later. Clocks that went backwards do not
/// change that order.
#[test]
fn a_time_means_the_last_commit_that_was_not_made_later() {
    let mut script = Script::default();
    let (first, day) = (1_577_836_800, 86_400);
    let times = [1, 3, 2, 5, 4, 6].map(|january| first + (january - 1) * day);
    let mut parents = Vec::new();
    for (place, time) in times.into_iter().enumerate() {
        let content = format!("{place}");
        let number = script.commit(time, &parents, "", &[Change::Set(b"file", 0o100_644, &content)]);
        parents = vec![number];
    }
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    repository.run(&script).unwrap();
    let db = folder.path().join("db");

    for (time, revision) in [
        ("2020-01-01", "HEAD~5"),
        ("2020-01-01T23:59:59Z", "HEAD~5"),
        ("2020-01-02", "HEAD~3"),
        ("2020-01-03", "HEAD~3"),
        ("2020-01-04", "HEAD~1"),
        ("2020-01-05 00:00", "HEAD~1"),
        ("2020-01-05 23:59", "HEAD~1"),
        ("2020-01-06T00:30:00+01:00", "HEAD~1"),
        ("2020-01-06T01:00:00+01:00", "HEAD"),
        ("2030-01-01", "HEAD"),
    ] {
        let tree = printed(repository.path(), &db, &["tree", time]);
        assert_eq!(tree, ls_tree(repository.path(), revision).unwrap(), "{time}");
    }
    let early = run(repository.path(), &db, &["tree".as_ref(), "2019-12-31".as_ref()]);
    assert!(early.status.success() && early.stdout.is_empty(), "{early:?}");
    assert!(String::from_utf8_lossy(&early.stderr).contains("No commit was made by 2019-12-31T00:00:00Z"));
}

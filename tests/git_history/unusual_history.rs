//! A repository with all unusual cases of git, and its tree at every commit.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use eventsrc_examples::git_history::Archive;
use eventsrc_tests::git_repository::{
    Change::{self, Delete, DeleteAll, Set, Submodule},
    Script, TestRepository, first_parents, ls_tree,
};
use tempfile::TempDir;

use super::{import_all, printed, run};

const PLAIN: u32 = 0o100_644;
const EXECUTABLE: u32 = 0o100_755;
const LINK: u32 = 0o120_000;

/// Every kind of path, and names that sort differently with and without a trailing `/`.
const PATHS: [&[u8]; 19] = [
    b"README",
    b"with space",
    b" ",
    b"q\"uote",
    b"back\\slash",
    b"\"\"",
    b"t\tab",
    b"new\nline",
    b"\x01\x02\x07\x08\x0b\x0c\r\x1b\x7f",
    "ünï/日本".as_bytes(),
    b"\xff\xfe not utf-8 \xc3",
    b"caf\xe9/latin-1",
    b"dir/file",
    b"dir-file",
    b"dir.file",
    b"dir0file",
    b"dir/sub/a",
    b"dir/sub.a",
    b"-n",
];

/// The history. The message of each commit names its case.
pub(super) fn unusual(format: &str) -> (TempDir, TestRepository) {
    let (mine, other) = match format {
        "sha1" => ("1".repeat(40), "2".repeat(40)),
        _ => ("1".repeat(64), "2".repeat(64)),
    };
    let long: Vec<u8> =
        (0..3999).map(|place| if place % 200 == 199 { b'/' } else { b"a\xe4"[place % 2] }).collect();
    let mut script = Script::default();
    let mut time = 1_600_000_000;
    let mut trunk = Vec::new();
    let mut commit = |parents: &[usize], message: &str, changes: &[Change<'_>]| {
        time += 3600;
        script.commit(time, parents, message, changes)
    };
    let mut then = |message: &str, changes: &[Change<'_>]| {
        let parents: Vec<usize> = trunk.last().copied().into_iter().collect();
        trunk.push(commit(&parents, message, changes));
        trunk.len()
    };
    let all: Vec<_> = PATHS.iter().map(|path| Set(path, PLAIN, "1")).collect();
    then("odd paths", &all);
    then("an executable and a link", &[Set(b"run", EXECUTABLE, "#!"), Set(b"link", LINK, "README")]);
    then("another mode, the same content", &[Set(b"README", EXECUTABLE, "1")]);
    then("", &[]);
    then("renamed, the message before is empty", &[Delete(b"dir/file"), Set(b"dir/renamed", PLAIN, "1")]);
    then("a submodule", &[Submodule(b"dir/module", &mine)]);
    then("the submodule moves", &[Submodule(b"dir/module", &other)]);
    then("a submodule becomes a file", &[Set(b"dir/module", PLAIN, "no more")]);
    then("a file becomes a submodule", &[Submodule(b"dir0file", &mine)]);
    then("a link becomes a file, a file a link", &[Set(b"link", PLAIN, "1"), Set(b"run", LINK, "link")]);
    then("a file becomes a directory", &[Delete(b"README"), Set(b"README/in it", PLAIN, "1")]);
    then("a directory becomes a file", &[Delete(b"dir"), Set(b"dir", PLAIN, "1")]);
    then("deleted: all but the odd", &[Delete(b"dir"), Delete(b"with space"), Delete("ünï".as_bytes())]);
    then("back", &[Set(b"with space", PLAIN, "1"), Set("ünï/日本".as_bytes(), PLAIN, "2")]);
    then("as it was", &[Set("ünï/日本".as_bytes(), PLAIN, "1")]);
    then("the longest path", &[Set(&long, PLAIN, "1")]);
    let base = *trunk.last().unwrap();
    let side = commit(&[base], "on the side", &[Set(b"side", PLAIN, "1"), Delete(b"-n")]);
    let side = commit(&[side], "more on the side", &[Set(b"side", PLAIN, "2"), Set(b"link", PLAIN, "side")]);
    let main = commit(&[base], "meanwhile", &[Set(b"meanwhile", PLAIN, "1")]);
    // fast-import starts from the tree of the first parent. The merge brings in the side branch and a change
    // of its own.
    let brought = [Set(b"side", PLAIN, "2"), Delete(b"-n"), Set(b"link", PLAIN, "merged")];
    let merge = commit(&[main, side], "merge", &brought);
    let octopus = commit(&[merge, side, base], "a merge that changes nothing", &[]);
    let empty = commit(&[octopus], "everything is deleted", &[DeleteAll]);
    let last = commit(&[empty], "and begins anew\n\nwith a body", &[Set(b"README", PLAIN, "2")]);
    assert!(last > empty);

    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), format).unwrap();
    repository.run(&script).unwrap();
    (folder, repository)
}

#[tokio::test]
async fn the_tree_of_every_commit_is_the_one_that_git_prints() {
    for format in ["sha1", "sha256"] {
        let (folder, repository) = unusual(format);
        let archive = Archive::open(&folder.path().join("db")).await.unwrap();
        import_all(repository.path(), &archive).await.unwrap();
        let commits = first_parents(repository.path()).unwrap();
        assert_eq!(commits.len(), 21);
        let mut different = HashSet::new();
        for (commit, ordinal) in commits.iter().zip(1..) {
            let tree = archive.tree(ordinal).await.unwrap().to_string();
            assert_eq!(tree, ls_tree(repository.path(), commit).unwrap(), "{format}, commit {ordinal}");
            different.insert(tree);
        }
        // All but the empty commit and the merge that changes nothing.
        assert_eq!(different.len(), commits.len() - 2);
    }
}

#[test]
fn the_program_prints_the_tree_of_every_commit() {
    let (folder, repository) = unusual("sha1");
    let db = folder.path().join("new/folder/db");
    let commits = first_parents(repository.path()).unwrap();
    let head = printed(repository.path(), &db, &["tree"]);
    assert_eq!(head, ls_tree(repository.path(), "HEAD").unwrap());
    for commit in &commits {
        assert_eq!(
            printed(repository.path(), &db, &["tree", commit]),
            ls_tree(repository.path(), commit).unwrap()
        );
    }
    for revision in ["main~3", "HEAD^", ":/meanwhile"] {
        assert_eq!(
            printed(repository.path(), &db, &["tree", revision]),
            ls_tree(repository.path(), revision).unwrap()
        );
    }
}

#[test]
fn a_log_shows_every_change_of_a_file() {
    let (folder, repository) = unusual("sha1");
    let db = folder.path().join("db");
    let log = printed(repository.path(), &db, &["log", "with space"]);
    let blob = "56a6051ca2b02b04ef92d5150c9ef600403cb1de";
    let lines: Vec<_> =
        log.lines().map(|line| line.split("  ").map(str::trim).filter(|f| !f.is_empty())).collect();
    let what: Vec<(Vec<&str>, String)> = lines
        .into_iter()
        .map(|fields| fields.collect::<Vec<_>>())
        .map(|fields| (vec![fields[0], fields[3], fields[4]], format!("{} {}", fields[1], fields[2])))
        .collect();
    let set = format!("100644 blob {blob}");
    let author = "Ada Ünal <ada@example.com>";
    let facts: Vec<_> = what.iter().map(|(facts, _)| facts.clone()).collect();
    assert_eq!(
        facts,
        [["1", &set, author], ["2", "deleted", author], ["3", &set, author], ["4", "deleted", author]]
    );
    let commits = first_parents(repository.path()).unwrap();
    let origins: Vec<_> = what.into_iter().map(|(_, origin)| origin).collect();
    let expected = [(1, "13:25:40"), (13, "01:25:40"), (14, "02:25:40"), (20, "10:25:40")];
    for (origin, (ordinal, time)) in origins.iter().zip(expected) {
        assert!(origin.starts_with(&commits[ordinal - 1][..10]), "{origin}");
        assert!(origin.contains(time), "{origin}");
    }
}

#[test]
fn a_file_is_named_as_it_is_or_as_git_prints_it() {
    let (folder, repository) = unusual("sha1");
    let db = folder.path().join("db");
    for (verbatim, quoted) in [
        (&b"\xff\xfe not utf-8 \xc3"[..], r#""\377\376 not utf-8 \303""#),
        ("ünï/日本".as_bytes(), r#""\303\274n\303\257/\346\227\245\346\234\254""#),
        (b"t\tab", r#""t\tab""#),
        (b"\"\"", r#""\"\"""#),
    ] {
        let log = |file: &OsStr| run(repository.path(), &db, &["log".as_ref(), "--".as_ref(), file]);
        let (first, second) = (log(OsStr::from_bytes(verbatim)), log(quoted.as_ref()));
        assert!(first.status.success() && !first.stdout.is_empty(), "{quoted}: {first:?}");
        assert_eq!(first.stdout, second.stdout, "{quoted}");
    }
}

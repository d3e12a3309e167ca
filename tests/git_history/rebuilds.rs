//! Rebuilds of the view, and their take-overs.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::task::Poll;

use eventsrc_core::view::{VersionedStore, ViewDigest};
use eventsrc_examples::git_history::{Archive, Comparison, Versions};
use eventsrc_tests::git_kills::kill_rebuild;
use eventsrc_tests::git_repository::{Script, TestRepository};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::counts::{Counts, grown};
use super::{PROGRAM, import_all, printed, refused, run};

/// The digest of the rows of a version.
pub(super) async fn digest(versions: &Versions, version: u32) -> ViewDigest {
    versions.version(version).await.unwrap().digest().await.unwrap()
}

#[tokio::test]
async fn a_rebuild_reports_its_result_and_keeps_the_version_before_it() {
    let (folder, repository, archive) = grown(1).await;
    let db = folder.path().join("db");
    let versions = Versions::open(&archive).await.unwrap();
    let expected = Counts::by_git(repository.path(), "HEAD");
    let say = |arguments: &[&str]| printed(repository.path(), &db, arguments);
    let events = archive.changes().await.unwrap();
    for (version, kept) in [(1, &[1][..]), (2, &[1, 2]), (3, &[2, 3])] {
        let said = say(&["rebuild"]);
        assert!(said.contains(&format!("version {version} from {events} events")), "{said}");
        assert_eq!(said.contains("rows equal those of version"), version > 1, "{said}");
        assert_eq!(said.contains("Removed version 1."), version == 3, "{said}");
        assert_eq!(versions.serving().await.unwrap(), version);
        assert_eq!(versions.kept().await.unwrap(), kept);
        assert_eq!(say(&["churn"]), expected.churn());
        assert_eq!(say(&["authors"]), expected.authors());
    }
    assert_eq!(say(&["rebuild", "--retire-old"]), "Removed version 2.\n");
    assert_eq!(say(&["rebuild", "--retire-old"]), "");
    assert_eq!(versions.kept().await.unwrap(), [3]);
    assert_eq!(say(&["churn"]), expected.churn());
}

#[tokio::test]
async fn changed_rows_are_reported_and_replaced() {
    let (folder, repository, archive) = grown(2).await;
    let db = folder.path().join("db");
    let expected = Counts::by_git(repository.path(), "HEAD");
    assert_eq!(Counts::of(&archive).await, expected);
    let tampered = Connection::open(&db).unwrap();
    assert_ne!(tampered.execute("UPDATE churn_v1 SET changes = changes + 1", []).unwrap(), 0);
    assert_eq!(tampered.execute("DELETE FROM authors_v1 WHERE author LIKE 'Kim%'", []).unwrap(), 2);
    drop(tampered);
    assert_ne!(Counts::of(&archive).await, expected, "the view is not looked through at each call");
    let said = printed(repository.path(), &db, &["rebuild"]);
    assert!(said.contains("rows differ from the") && said.contains("To remove version 1,"), "{said}");
    assert_eq!(Counts::of(&archive).await, expected);
}

#[tokio::test]
async fn an_unreadable_version_is_reported_and_replaced() {
    let (folder, repository, archive) = grown(3).await;
    let db = folder.path().join("db");
    let expected = Counts::by_git(repository.path(), "HEAD");
    assert_eq!(Counts::of(&archive).await, expected);
    Connection::open(&db).unwrap().execute_batch("DROP TABLE churn_v1").unwrap();
    let said = refused(repository.path(), &db, &["churn"]);
    assert!(said.contains("churn"), "{said}");
    let said = printed(repository.path(), &db, &["rebuild"]);
    assert!(said.contains("Version 1 cannot be read"), "{said}");
    assert_eq!(printed(repository.path(), &db, &["churn"]), expected.churn());
}

#[tokio::test]
async fn a_file_with_unreadable_events_is_reported_and_the_others_are_counted() {
    let (folder, repository, _) = grown(5).await;
    let db = folder.path().join("db");
    let expected = Counts::by_git(repository.path(), "HEAD");
    let second = "SELECT position, id, payloads FROM commits JOIN streams USING (stream)
        WHERE category = 'file' AND number = 2 ORDER BY position LIMIT 1";
    let (position, file, payload): (i64, String, Value) = Connection::open(&db)
        .unwrap()
        .query_row(second, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    let put = |payload: &Value| {
        let put = "UPDATE commits SET payloads = ?1 WHERE position = ?2";
        assert_eq!(Connection::open(&db).unwrap().execute(put, params![payload, position]).unwrap(), 1);
    };
    let others = |churn: &str| {
        let lines = churn.lines().filter(|line| !line.ends_with(&format!("  {file}")));
        lines.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    put(&Value::Text("junk".into()));
    for command in ["churn", "rebuild", "churn"] {
        let output = run(repository.path(), &db, &[command.as_ref()]);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{output:?}");
        assert!(stderr.contains("not counted completely") && stderr.contains(&file), "{stderr}");
        if command == "churn" {
            assert_eq!(others(&stdout), others(&expected.churn()));
            assert_ne!(stdout, expected.churn());
        }
    }
    put(&payload);
    assert_eq!(printed(repository.path(), &db, &["churn"]), expected.churn());

    // A version that would serve less does not take over.
    put(&Value::Text("junk".into()));
    let said = refused(repository.path(), &db, &["rebuild"]);
    assert!(said.contains("cannot take over") && said.contains(&file) && said.contains("payload"), "{said}");
    assert_eq!(printed(repository.path(), &db, &["churn"]), expected.churn());
    put(&payload);
    assert!(printed(repository.path(), &db, &["rebuild"]).contains("rows equal those of version 2"));
    assert_eq!(printed(repository.path(), &db, &["churn"]), expected.churn());
}

#[tokio::test]
async fn a_rebuild_that_cannot_write_reports_it_and_resumes_later() {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    repository.run(&Script::long(200, 12)).unwrap();
    let db = folder.path().join("db");
    import_all(repository.path(), &Archive::open(&db).await.unwrap()).await.unwrap();
    // A file that grows beyond the limit is an error, and does not end the program.
    let mut program = Command::new("prlimit");
    program.args(["--fsize=65536:", "sh", "-c", r#"trap "" XFSZ; exec "$0" "$@""#, PROGRAM]);
    program.arg(repository.path()).arg("--db").arg(&db).arg("rebuild");
    let mut program = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    while !said.iter().any(|line: &String| line.starts_with("Retrying after an error: ")) {
        said.push(
            lines.next().unwrap_or_else(|| panic!("the rebuild ended although it cannot write: {said:?}")),
        );
    }
    assert!(said.iter().any(|line| line.contains("the disk failed")), "{said:?}");
    let mut lift = Command::new("prlimit");
    lift.args(["--pid", &program.id().to_string(), "--fsize=unlimited:"]);
    assert!(lift.status().unwrap().success());
    said.extend(lines);
    assert!(said.iter().any(|line| line == "Resumed."), "{said:?}");
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success(), "{said:?}");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("Built version 1 from "));
    let expected = Counts::by_git(repository.path(), "HEAD");
    assert_eq!(printed(repository.path(), &db, &["churn"]), expected.churn());
}

#[tokio::test]
async fn a_rebuild_cancelled_at_any_point_resumes_with_the_same_version() {
    let (_folder, repository, archive) = grown(4).await;
    let expected = Counts::by_git(repository.path(), "HEAD");
    let versions = Versions::open(&archive).await.unwrap();
    let seed = 4;
    let mut random = StdRng::seed_from_u64(seed);
    let (mut serving, mut interrupted) = (0, 0);
    for _ in 0..30 {
        let polls = random.random_range(0..40);
        if let Some(built) = polled(versions.rebuild(|_| {}), polls).await {
            assert_eq!(built.unwrap().version, serving + 1, "seed {seed}");
        }
        let now = versions.serving().await.unwrap();
        assert!(now == serving || now == serving + 1, "seed {seed}: {now} after {serving}");
        interrupted += u32::from(now == serving && versions.kept().await.unwrap().contains(&(now + 1)));
        serving = now;
        if serving > 0 {
            assert_eq!(Counts::of(&archive).await, expected, "seed {seed}");
        }
    }
    assert!(interrupted > 3 && serving > 1, "seed {seed}: {interrupted} interrupted, {serving} built");
}

/// The output of `work` if it is ready after at most `polls` polls. Otherwise it is dropped.
async fn polled<T>(work: impl Future<Output = T>, mut polls: u32) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match polls {
        0 => Poll::Ready(None),
        _ => {
            polls -= 1;
            work.as_mut().poll(context).map(Some)
        }
    })
    .await
}

#[tokio::test]
async fn concurrent_rebuilds_and_an_import_do_not_interfere() {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    repository.run(&Script::long(60, 6)).unwrap();
    let archive = Archive::open(&folder.path().join("db")).await.unwrap();
    import_all(repository.path(), &archive).await.unwrap();
    Counts::of(&archive).await;
    repository.run(&Script::long(120, 6)).unwrap();
    let other = Archive::open(&folder.path().join("db")).await.unwrap();
    let (one, two) = (Versions::open(&archive).await.unwrap(), Versions::open(&other).await.unwrap());
    let (one, two, imported) =
        tokio::join!(one.rebuild(|_| {}), two.rebuild(|_| {}), import_all(repository.path(), &archive));
    imported.unwrap();
    // Both build the same version, and both report that it serves.
    for built in [one.unwrap(), two.unwrap()] {
        assert_eq!(built.version, 2);
        let replaced = built.replaced.unwrap();
        assert_eq!(replaced.version, 1);
        assert!(!matches!(replaced.comparison, Comparison::Unreadable(_)), "{replaced:?}");
    }
    assert_eq!(Counts::of(&archive).await, Counts::by_git(repository.path(), "HEAD"));
}

#[tokio::test]
async fn a_killed_rebuild_resumes_and_ends_equal() {
    let folder = tempfile::tempdir().unwrap();
    let repository = TestRepository::empty(&folder.path().join("repository"), "sha1").unwrap();
    repository.run(&Script::long(250, 12)).unwrap();
    let report = kill_rebuild(Path::new(PROGRAM), repository.path(), 6, 1).await.unwrap();
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!(report.kills, 6);
    assert!(report.in_the_middle > 0, "{report:?}");
}

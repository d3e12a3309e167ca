//! Killed processes and racing processes.

use std::fs::{self, File};
use std::path::Path;

use eventsrc_tests::kills::{Location, State, acknowledged, kill_writer};
use tokio::process::Command;

const WRITER: &str = env!("CARGO_BIN_EXE_writer");

/// P15 and P3, in a process that is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_no_acknowledged_commit_and_leaves_none_in_part() {
    let seed = 1;
    let report = kill_writer(Path::new(WRITER), 20, seed).await.unwrap();
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.kills >= 20, "{report:?}");
    assert!(report.in_the_middle >= 5 && report.stored >= report.acknowledged, "{report:?}");
}

/// P1 and P2, between processes.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_race_for_one_file_store_each_sequence_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("events.db");
    let start = |seed: u64| {
        let (said, complaints) =
            (folder.path().join(format!("{seed}.said")), folder.path().join(format!("{seed}.complaints")));
        let mut command = Command::new(WRITER);
        command.arg(&database).arg(seed.to_string()).arg("15").kill_on_drop(true);
        command.stdout(File::create(&said).unwrap()).stderr(File::create(&complaints).unwrap());
        (command.spawn().unwrap(), said, complaints)
    };
    let mut all = Vec::new();
    for (mut process, said, complaints) in [1, 2, 3].map(start) {
        let status = process.wait().await.unwrap();
        assert!(status.success(), "{}", fs::read_to_string(complaints).unwrap());
        all.extend(acknowledged(&fs::read_to_string(said).unwrap()).unwrap());
    }
    let state = State::read(&Location::File(database.clone())).await.unwrap();
    assert_eq!(state.wrong(&all), None);
    assert_eq!((all.len(), state.commits()), (3 * 8 * 15, 3 * 8 * 15));
}

/// The audit detects what it is for.
#[tokio::test(flavor = "multi_thread")]
async fn the_audit_finds_a_lost_commit_and_a_half_one() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("events.db");
    let written = Command::new(WRITER).arg(&database).args(["7", "5"]).output().await.unwrap();
    assert!(written.status.success(), "{written:?}");
    let all = acknowledged(&String::from_utf8(written.stdout).unwrap()).unwrap();
    assert_eq!(State::read(&Location::File(database.clone())).await.unwrap().wrong(&all), None);

    let tamper = |sql: &str| rusqlite::Connection::open(&database).unwrap().execute(sql, []).unwrap();
    // A commit of several events loses all but one of them. Then a stream loses its last commit.
    let cut = "UPDATE commits SET payloads = json_array(json(payloads -> 0)), lengths = NULL, count = 1
               WHERE position = (SELECT min(position) FROM commits WHERE count > 1)";
    assert_eq!(tamper(cut), 1);
    let wrong = State::read(&Location::File(database.clone())).await.unwrap().wrong(&[]);
    assert!(
        wrong.is_some_and(|wrong| wrong.contains("goes on at") || wrong.contains("a part")),
        "half a commit"
    );

    let other = folder.path().join("other.db");
    let written = Command::new(WRITER).arg(&other).args(["8", "5"]).output().await.unwrap();
    let all = acknowledged(&String::from_utf8(written.stdout).unwrap()).unwrap();
    let connection = rusqlite::Connection::open(&other).unwrap();
    let last = "DELETE FROM commits WHERE position = (SELECT max(position) FROM commits)";
    assert_eq!(connection.execute(last, []).unwrap(), 1);
    drop(connection);
    let wrong = State::read(&Location::File(other.clone())).await.unwrap().wrong(&all);
    assert!(wrong.is_some_and(|wrong| wrong.contains("is lost")), "a lost commit");
}

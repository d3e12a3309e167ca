//! The program itself.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use eventsrc_examples::identity::run;
use eventsrc_test_servers as servers;

/// The standard output and the error output of the program, and its success.
async fn identity(arguments: &[&str]) -> (String, String, bool) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = std::iter::once(&"identity").chain(arguments).map(OsString::from);
    let code = run(arguments, &mut out, &mut err).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(out), text(err), code == ExitCode::SUCCESS)
}

async fn on(db: &Path, arguments: &[&str]) -> (String, String, bool) {
    identity(&[&["--db", db.to_str().unwrap()], arguments].concat()).await
}

#[tokio::test]
async fn a_second_run_continues_from_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("made/by the story/identity.db");
    a_second_run_continues(async |arguments| on(&db, arguments).await).await;
}

/// Runs the program twice with these additional arguments, and checks the result.
pub(super) async fn a_second_run_continues(on: impl AsyncFn(&[&str]) -> (String, String, bool)) {
    let (first, err, success) = on(&[]).await;
    assert!(success, "{err}");
    assert!(first.contains("this is run 1"), "{first}");
    assert!(first.contains("= ada, grace\n"), "{first}");
    let (second, err, success) = on(&[]).await;
    assert!(success, "{err}");
    assert!(second.contains("Run 2 continues after the last one"), "{second}");
    assert!(second.contains("= ada, ada-2, grace-2\n"), "{second}");
    let headings = |told: &str| {
        let starts_with_number = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
        Vec::from_iter(told.lines().filter(starts_with_number).map(str::to_owned))
    };
    assert_eq!(headings(&first).len(), 10);
    assert!(first.contains("hopper <grace@example.org> \"Grace Hopper\", as of event 4"), "{first}");
    let members = second.lines().find(|line| line.contains("who is in readers")).unwrap();
    assert!(members.ends_with("  ada, ada-2"), "{members}");
    assert_eq!(headings(&first), headings(&second));

    let (shown, _, _) = on(&["show", "user", "ada"]).await;
    assert_eq!(shown, "ada <ada.king@example.org> \"Ada King\"\n");
    let (shown, _, _) = on(&["show", "group", "readers"]).await;
    assert_eq!(Vec::from_iter(shown.lines().filter_map(|line| line.split(' ').next())), ["ada", "ada-2"]);
    let (log, _, _) = on(&["log", "user", "ada-2"]).await;
    assert_eq!(log.lines().filter(|line| line.contains(" set ")).count(), 5, "{log}");
    let (log, _, _) = on(&["log", "directory"]).await;
    assert!(log.contains("released          e-mail address ada-2@example.org"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_added_later_has_all_earlier_commits() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("identity.db");
    assert!(on(&db, &[]).await.2);
    let url = servers::postgres().await.database("identity_story").await;
    let (second, err, success) = on(&db, &["--views", &url]).await;
    assert!(success, "{err}");
    let members = second.lines().find(|line| line.contains("who is in readers")).unwrap();
    assert!(members.ends_with("  ada, ada-2"), "{members}");
}

#[tokio::test]
async fn the_output_is_the_same_in_memory() {
    let (out, err, success) = identity(&["--storage", "memory"]).await;
    assert!(success, "{err}");
    for told in [
        "rejected: the e-mail address ada@example.org is taken",
        "is a member already",
        "rejected: the stream is at sequence 3, not at sequence 2",
        "with 1 put, 0 reads",
        "was saved before, at event 5",
        "= no user",
    ] {
        assert!(out.contains(told), "{told:?} is not in\n{out}");
    }
    assert_eq!(err, "");
}

#[tokio::test]
async fn bad_input_is_reported_clearly_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (db, foreign) = (folder.path().join("identity.db"), folder.path().join("notes.txt"));
    std::fs::write(&foreign, "These are notes, and no database at all. ".repeat(200)).unwrap();

    let (_, err, success) = on(&db, &["show", "user", "ada"]).await;
    assert!(!success && err.contains("there is no database at"), "{err}");
    assert!(!db.exists(), "a question makes no database");
    let (_, err, success) = on(&foreign, &[]).await;
    assert!(!success && err.starts_with("error: ") && !err.contains("StorageError"), "{err}");
    assert!(on(&db, &[]).await.2);
    let (_, err, success) = on(&db, &["show", "user", "nobody"]).await;
    assert_eq!((err.as_str(), success), ("error: there is no user nobody\n", false));
    let (_, err, success) = on(&db, &["log", "group", "No Body"]).await;
    assert!(!success && err.starts_with("error: \"No Body\" is not a valid name: "), "{err}");
    let (_, err, success) = identity(&["--storage", "memory", "show", "user", "ada"]).await;
    assert!(!success && err.contains("keeps nothing between runs"), "{err}");
    let (_, err, success) = on(&db, &["--serve", "nowhere"]).await;
    assert!(!success && err.contains("'nowhere'") && err.contains("a host and a port"), "{err}");
    let (_, err, success) = on(&db, &["--serve", "192.0.2.1:80"]).await;
    assert!(!success && err.starts_with("error: cannot listen at 192.0.2.1:80\n"), "{err}");
    let (_, err, success) = on(&db, &["--serve", "--views", "postgres://ada:geheim@127.0.0.1:1/x"]).await;
    assert!(!success && err.starts_with("error: ") && !err.contains("geheim"), "{err}");
    let (_, err, success) = on(&db, &["--views", "mysql://ada:geheim@localhost/x"]).await;
    assert!(!success && err.starts_with("error: ") && !err.contains("geheim"), "{err}");
    let (_, err, success) = identity(&["--storage", "memory", "--views", "postgres://localhost"]).await;
    assert!(!success && err.contains("cannot be used with"), "{err}");
    let (_, err, success) = identity(&["--storage", "papyrus"]).await;
    assert!(!success && err.contains("sqlite, memory, dynamo"), "{err}");
    let (_, err, success) = on(&db, &["--table", "names"]).await;
    assert!(!success && err.contains("for --storage dynamo"), "{err}");
    let (_, err, success) = on(&db, &["--serve", "127.0.0.1:0", "show", "user", "ada"]).await;
    assert!(!success && err.contains("take no --views and no --serve"), "{err}");
    let (_, err, success) = identity(&["fly"]).await;
    assert!(!success && err.contains("fly"), "{err}");
    let (out, err, success) = identity(&["--help"]).await;
    assert!(success && out.contains("--db <FILE>") && err.is_empty(), "{out}{err}");
}

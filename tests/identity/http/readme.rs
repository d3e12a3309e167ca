//! The commands of the README, executed as they are written there.

use std::path::Path;
use std::process::Stdio;

use eventsrc_core::Token;
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_examples::identity::{UserId, signed_with_key_file};
use eventsrc_test_servers as servers;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::processes::{Program, Setting};
use crate::identity::dynamo::Location;

/// The address of the server in the README.
const THERE: &str = "127.0.0.1:8080";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_of_the_readme_does_what_the_readme_shows() {
    does_what_the_readme_shows(&Setting::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_so_as_well_if_the_view_is_in_postgres() {
    let url = servers::postgres().await.database("identity_readme").await;
    does_what_the_readme_shows(&Setting::with(["--views", &url])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_so_as_well_if_the_events_are_in_dynamo() {
    does_what_the_readme_shows(&Location::new("identityreadme").await.setting()).await;
}

/// Executes each command against a server of this setting.
async fn does_what_the_readme_shows(more: &Setting) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/identity/README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("http.db");
    let program = Program::start(&db, more).await;
    let here = program.address.to_string();
    let told = program.told.join("\n").replace(db.to_str().unwrap(), "target/http.db");
    let told = told
        .replace("; the view is in Postgres", "")
        .replace("the DynamoDB table identity; the view is in ", "");
    let commands = commands(&readme);
    assert!(commands.len() > 10, "{commands:?}");
    // The first command starts the server.
    let mut outputs = vec![told.replace(&here, THERE)];
    outputs.extend(typed(&commands[1..], &here, folder.path()).await);
    let mut outputs = outputs.into_iter();
    let shown = with_outputs(&readme, || outputs.next().unwrap());
    if std::env::var_os("WRITE_README").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let difference = readme.lines().zip(shown.lines()).find(|(there, here)| lasting(there) != lasting(here));
    assert_eq!(difference, None, "WRITE_README=1 writes the actual output");
    assert_eq!(readme.lines().count(), shown.lines().count());
    assert_eq!(stale(&program, &db).await, shown_as_stale(&readme));
}

/// The reply to a request for an event that Ada does not have.
async fn stale(program: &Program, db: &Path) -> Value {
    let ada = UserId("0199c0de-0000-7000-8000-000000000ada".parse().unwrap());
    let tokens = signed_with_key_file(db, &SystemClock, &Randomness::from_system()).unwrap();
    let token = tokens.encode(&Token::claimed(&ada, 7_u64).unwrap()).unwrap();
    let asked = program.client.get(format!("/users/{}", ada.0)).header("eventsrc-at-least", token);
    asked.send().await.is(504).json()
}

fn shown_as_stale(readme: &str) -> Value {
    let (_, json) = readme.split_once("```json\n").unwrap();
    serde_json::from_str(json.split("```").next().unwrap()).unwrap()
}

/// The commands of the README, without their outputs.
fn commands(readme: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for line in consoles(readme) {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(command.into());
        } else if let Some(more) = line.strip_prefix("> ") {
            let command = commands.last_mut().unwrap();
            command.push('\n');
            command.push_str(more);
        }
    }
    commands
}

/// The lines of all consoles.
fn consoles(readme: &str) -> impl Iterator<Item = &str> {
    let parts = readme.split("```console\n").skip(1);
    parts.flat_map(|part| part.split("```").next().unwrap().lines())
}

/// The output of the shell for each of `commands`.
async fn typed(commands: &[String], here: &str, folder: &Path) -> Vec<String> {
    const END: &str = "the end of the answer";
    let script =
        Vec::from_iter(commands.iter().map(|command| format!("{command}\nprintf '\\n%s\\n' '{END}'\n")))
            .concat();
    let mut shell = Command::new("bash");
    shell
        .current_dir(folder)
        .env("TMPDIR", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut shell = shell.spawn().unwrap();
    let mut input = shell.stdin.take().unwrap();
    input.write_all(script.replace(THERE, here).as_bytes()).await.unwrap();
    drop(input);
    let output = shell.wait_with_output().await.unwrap();
    let output = String::from_utf8(output.stdout).unwrap().replace('\r', "").replace(here, THERE);
    let mut outputs = Vec::from_iter(output.split(&format!("\n{END}\n")).map(str::to_owned));
    assert_eq!(outputs.pop().as_deref(), Some(""));
    assert_eq!(outputs.len(), commands.len(), "{output}");
    outputs
}

/// The README with these outputs in place of its own.
fn with_outputs(readme: &str, mut next: impl FnMut() -> String) -> String {
    let (mut shown, mut in_console) = (Vec::new(), false);
    let mut lines = readme.lines().peekable();
    while let Some(line) = lines.next() {
        let is_typed = line.starts_with("$ ") || line.starts_with("> ");
        if line.starts_with("```") {
            in_console = line == "```console";
        } else if in_console && !is_typed {
            continue;
        }
        shown.push(line.to_owned());
        if in_console && is_typed && !lines.peek().is_some_and(|line| line.starts_with("> ")) {
            let output = next();
            shown.extend(output.trim_end().lines().map(|line| line.trim_end().to_owned()));
        }
    }
    shown.push(String::new());
    shown.join("\n")
}

/// The parts of a line that are the same in each run, without times and without tokens, whose commit ids differ.
fn lasting(line: &str) -> String {
    if line.starts_with("date: ") {
        return "date".into();
    }
    let word = |word: &'_ str| if word.contains(".identity.") { "a token".into() } else { word.to_owned() };
    line.split_inclusive(' ').map(word).collect()
}

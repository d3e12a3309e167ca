//! The program as a server that is killed and started again.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventsrc_core::CommitId;
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_examples::identity::UserId;
use eventsrc_test_servers as servers;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use super::Client;
use super::questions::signed_up;
use crate::identity::dynamo::Location;
use crate::identity::http::client::Reply;
use crate::identity::started;

/// Arguments and variables of the program, in addition to its database and the command to serve.
#[derive(Debug, Default)]
pub(in crate::identity) struct Setting {
    pub(in crate::identity) arguments: Vec<String>,
    pub(in crate::identity) environment: Vec<(&'static str, String)>,
}

impl Setting {
    /// A setting with these arguments.
    pub(super) fn with<const N: usize>(arguments: [&str; N]) -> Self {
        Self { arguments: arguments.map(str::to_owned).into(), environment: Vec::new() }
    }
}

/// The serving program. It is killed when this is dropped.
pub(super) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The lines that it printed until it listened.
    pub(super) told: Vec<String>,
    pub(super) client: Client,
    /// The address at which it listens.
    pub(super) address: SocketAddr,
}

impl Program {
    /// Starts the program on this database, and waits until it listens.
    pub(super) async fn start(db: &Path, more: &Setting) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
        command.envs(more.environment.iter().cloned());
        command.arg("--db").arg(db).args(&more.arguments).args(["--serve", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            told.push(line.clone());
            if let Some(address) = line.strip_prefix("listening on http://") {
                let address = address.parse().unwrap();
                return Self { child, lines, told, client: Client::new(address), address };
            }
        }
        panic!("the program ended before it listened: {:?}", child.wait().await);
    }

    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends SIGTERM, and waits until the program has ended.
    async fn stop(self) {
        self.signal("TERM").await;
        assert_eq!(self.last_line().await, "Stopped.");
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        let signalled = Command::new("kill").arg(format!("-{signal}")).arg(id).status().await.unwrap();
        assert!(signalled.success());
    }

    /// Waits until the program has ended with success. Returns its last line.
    async fn last_line(mut self) -> String {
        let mut told = Vec::new();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            told.push(line);
        }
        assert!(self.child.wait().await.unwrap().success(), "{told:?}");
        told.pop().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_resumes_with_all_that_it_acknowledged() {
    goes_on_after_kills(&Setting::default(), 4, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_resumes_with_a_view_in_postgres() {
    let url = servers::postgres().await.database("identity_kills").await;
    goes_on_after_kills(&Setting::with(["--views", &url]), 4, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_at_random_moments_loses_no_acknowledged_commit_in_dynamo() {
    let place = Location::new("identitykills").await;
    let answered = goes_on_after_kills(&place.setting(), 20, Duration::from_millis(100)).await;
    // The view is in a file, and would not show the loss.
    let service = started(&place.storages());
    for user in &answered {
        let id = UserId(user.id().parse().unwrap());
        let kept = service.user(id).await.unwrap().snapshot;
        let (name, email) =
            kept.value.map(|user| (user.name.unwrap().text, user.email.unwrap().text)).unwrap();
        let kept = (name.to_string(), email.to_string());
        assert_eq!(
            (user.json()["name"].as_str().unwrap(), user.json()["email"].as_str().unwrap()),
            (&*kept.0, &*kept.1)
        );
    }
}

/// Kills servers of this setting, each at a random moment after a first answer, and starts them again. Returns
/// the answered commands.
async fn goes_on_after_kills(more: &Setting, kills: usize, longest: Duration) -> Vec<Reply> {
    const CALLERS: usize = 4;
    const SEED: u64 = 20_261_121;
    let moments = Randomness::seeded(SEED);
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("identity.db");
    let mut answered: Vec<Reply> = Vec::new();
    let mut program = Program::start(&db, more).await;
    let mut read = 0;
    for kill in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let calling = Vec::from_iter((0..CALLERS).map(|caller| {
            let (client, stop) = (program.client.clone(), Arc::clone(&stop));
            tokio::spawn(sign_up_until(client, format!("user-{kill}-{caller}"), stop))
        }));
        // The kill follows an answer, in the middle of the other commands.
        let met = signed_up(&program.client, &format!("killer-{kill}")).await;
        answered.push(met);
        SystemClock.sleep(moments.up_to(longest)).await;
        program.kill().await;
        stop.store(true, Ordering::Relaxed);
        program = Program::start(&db, more).await;
        for called in calling {
            let (done, open) = called.await.unwrap();
            answered.extend(done);
            // The last command of each caller was interrupted at some point. Sent again unchanged, it
            // is carried out once.
            if let Some((who, key)) = open {
                let body = json!({"name": who, "email": format!("{who}@example.org")});
                let again = program.client.post("/users", &body).header("idempotency-key", key.clone());
                let done = again.clone().send().await.is(201);
                assert_eq!((done.id(), again.send().await.is(201).tag()), (key, done.tag()));
                answered.push(done);
            }
        }
        for user in &answered[std::mem::replace(&mut read, answered.len())..] {
            is_there(&program.client, user).await;
        }
    }
    for user in &answered {
        is_there(&program.client, user).await;
    }
    assert!(answered.len() > kills * CALLERS, "{} were answered", answered.len());
    program.stop().await;
    let left =
        Vec::from_iter(std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()));
    assert_eq!(left.len(), 2, "the database and the secret, and no log: {left:?}");
    answered
}

async fn is_there(client: &Client, user: &Reply) {
    let read = client.get(format!("/users/{}", user.id())).at_least([user]).send().await.is(200);
    assert_eq!((read.json(), read.tag()), (user.json(), user.tag()));
}

/// Signs users up until the server is gone. Returns the users of answered commands, and the one of the last
/// command.
async fn sign_up_until(
    client: Client,
    who: String,
    stop: Arc<AtomicBool>,
) -> (Vec<Reply>, Option<(String, String)>) {
    let mut done = Vec::new();
    for number in 0.. {
        let (name, CommitId(key)) =
            (format!("{who}-{number}"), Randomness::from_system().commit_id(SystemClock.now()));
        let body = json!({"name": name, "email": format!("{name}@example.org")});
        while !stop.load(Ordering::Relaxed) {
            let asked = client.post("/users", &body).header("idempotency-key", key.to_string());
            match asked.try_send().await {
                Ok(reply) if reply.status == 201 => {
                    done.push(reply);
                    break;
                }
                Ok(reply) => assert_eq!(reply.status, 503, "{reply:?}"),
                Err(_) => return (done, Some((name, key.to_string()))),
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    (done, None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_answers_all_commands_in_progress() {
    const CALLERS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("identity.db");
    let program = Program::start(&db, &Setting::default()).await;
    let mut calling = Vec::new();
    for caller in 0..CALLERS {
        let user = signed_up(&program.client, &format!("user-{caller}")).await;
        calling.push(tokio::spawn(rename_until_gone(program.client.clone(), user)));
    }
    program.stop().await;
    let program = Program::start(&db, &Setting::default()).await;
    for called in calling {
        let (id, last) = called.await.unwrap();
        let read = program.client.get(format!("/users/{id}")).at_least([&last]).send().await.is(200);
        assert_eq!(read.tag(), last.tag(), "every saved change was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_stopped_twice_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start(&folder.path().join("identity.db"), &Setting::default()).await;
    // A request whose body never comes. The server has accepted it when it asks for the body.
    let mut caller = TcpStream::connect(program.address).await.unwrap();
    let head =
        "POST /groups HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: 9\r\n";
    caller.write_all(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(&mut caller).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "HTTP/1.1 100 Continue");
    program.signal("INT").await;
    let told = program.lines.next_line().await.unwrap().unwrap();
    assert!(told.starts_with("Draining in-flight requests. "), "{told}");
    program.signal("INT").await;
    assert_eq!(program.last_line().await, "Stopped immediately.");
}

/// Changes a user until the server is gone. Returns the last answer.
async fn rename_until_gone(client: Client, user: Reply) -> (String, Reply) {
    let id = user.id();
    let mut last = user;
    for number in 0.. {
        let change = json!({"display_name": format!("Number {number}")});
        match client.patch(format!("/users/{id}"), &change).try_send().await {
            Ok(reply) => last = reply.is(204),
            Err(_) => break,
        }
    }
    (id, last)
}

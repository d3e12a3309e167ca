//! Leases, compared with the Kinesis Client Library itself: each reads what the other writes, and neither keeps a
//! lease that the other took over.

use std::process::Stdio;

use eventsrc_core::Timestamp;
use eventsrc_core::lease::{Checkpoint, Lease, LeaseStore, NewLease};
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_kinesis::dynamodb::LeaseTable;
use eventsrc_test_servers as servers;
use eventsrc_tests::dynamo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{after, moved, take, unmoved};

const NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";
const LATER: &str = "49590338271490256608559692538361571095921575989136588899";

/// The library, with access to the table of the test.
struct Library {
    input: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Library {
    async fn with_a_table() -> (Self, LeaseTable) {
        let server = servers::dynamo().await;
        let (endpoint, access_key) = (server.endpoint(), server.access_key("library"));
        let (java, libraries) = servers::kinesis_client_library();
        let mut command = Command::new(java);
        // The program is too short-lived for a better compiler to pay.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]).arg(libraries);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/kcl/Leases.java"));
        command.args([&endpoint, &access_key, "application"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        let library = Self { input: process.stdin.take().unwrap(), answers, _process: process };
        let client = Client::from_conf(dynamo::config(&endpoint, &access_key).build());
        (library, LeaseTable::new(client, "application"))
    }

    /// The library's reply to a command. Fails if it reports an error.
    async fn tell<T: DeserializeOwned>(&mut self, command: &str) -> T {
        self.input.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        let answer = self.answers.next_line().await.unwrap();
        let answer = answer.unwrap_or_else(|| panic!("the library fails to {command}"));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{command}: {answer}: {error}"))
    }

    /// All leases as the library reads them.
    async fn list(&mut self) -> Value {
        self.tell("list").await
    }

    async fn does(&mut self, command: &str) {
        assert!(self.tell::<bool>(command).await, "the library is refused to {command}");
    }

    async fn is_refused(&mut self, command: &str) {
        assert!(!self.tell::<bool>(command).await, "the library is not refused to {command}");
    }
}

async fn only(leases: &LeaseTable) -> Lease {
    let all = leases.leases().await.unwrap();
    let [lease] = <[Lease; 1]>::try_from(all).unwrap();
    lease
}

async fn renewed(leases: &LeaseTable, worker: &str, renewal: eventsrc_core::lease::Renewal) -> Option<Lease> {
    leases.renew(worker, &[renewal]).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_library_reads_what_we_write() {
    let (mut library, leases) = Library::with_a_table().await;
    leases.create_table().await.unwrap();
    library.does("create-table").await;
    let time = Timestamp::from_microsecond(1_767_225_600_000_001).unwrap();
    let new = |shard: &str, parents: &[&str], checkpoint| NewLease {
        shard: shard.into(),
        parents: parents.iter().map(|&parent| parent.into()).collect(),
        checkpoint,
    };
    let created = [
        new("1", &[], Checkpoint::TrimHorizon),
        new("2", &["1"], Checkpoint::Latest),
        new("3", &["0", "1"], Checkpoint::At(time)),
        new("4", &[], Checkpoint::TrimHorizon),
        new("5", &[], Checkpoint::TrimHorizon),
        new("6", &[], Checkpoint::TrimHorizon),
    ];
    leases.create(&created).await.unwrap();
    let free = leases.leases().await.unwrap();
    // A held lease, one in handover, one that was taken over, and one whose shard has ended.
    let held = take(&leases, &free[2], "v").await;
    renewed(&leases, "v", moved(&held, after(NUMBER, 3, Some(17)))).await.unwrap();
    let held = take(&leases, &free[3], "v").await;
    let held = renewed(&leases, "v", moved(&held, after(NUMBER, 0, None))).await.unwrap();
    assert!(leases.claim(&held, "w").await.unwrap());
    let held = take(&leases, &free[4], "v").await;
    take(&leases, &held, "w").await;
    let held = take(&leases, &free[5], "v").await;
    assert!(leases.release("v", &moved(&held, Checkpoint::End)).await.unwrap());

    let lease = |shard: &str, changes: Value| {
        let mut lease = json!({
            "shard": shard, "owner": null, "checkpoint_owner": null, "counter": 0, "switches": 0,
            "sequence_number": "TRIM_HORIZON", "sub_sequence_number": 0, "parents": [],
        });
        lease.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        lease
    };
    let expected = json!([
        lease("1", json!({})),
        lease("2", json!({ "sequence_number": "LATEST", "parents": ["1"] })),
        lease(
            "3",
            json!({
                "owner": "v", "counter": 2, "sequence_number": NUMBER, "sub_sequence_number": 3,
                "parents": ["0", "1"],
            })
        ),
        lease("4", json!({ "owner": "w", "checkpoint_owner": "v", "counter": 2, "sequence_number": NUMBER })),
        lease("5", json!({ "owner": "w", "counter": 2, "switches": 1 })),
        lease("6", json!({ "counter": 2, "sequence_number": "SHARD_END" })),
    ]);
    assert_eq!(library.list().await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_read_what_the_client_library_writes() {
    let (mut library, leases) = Library::with_a_table().await;
    library.does("create-table").await;
    library.does("create 1 TRIM_HORIZON").await;
    library.does("create 2 LATEST 0 1").await;
    library.does("create 3 AT_TIMESTAMP").await;
    library.does("create 4 SHARD_END").await;
    library.list().await;
    library.does("take 2 v").await;
    library.does(&format!("checkpoint 2 {NUMBER} 3")).await;
    library.does("take 3 v").await;
    library.does("hand-over 3 w").await;
    let lease = |shard: &str, checkpoint| Lease {
        shard: shard.into(),
        parents: Vec::new(),
        owner: None,
        next_owner: None,
        counter: 0,
        heartbeat: 0,
        checkpoint,
    };
    let mut found = leases.leases().await.unwrap();
    found[1].parents.sort();
    let expected = [
        lease("1", Checkpoint::TrimHorizon),
        Lease {
            parents: vec!["0".into(), "1".into()],
            owner: Some("v".into()),
            counter: 2,
            heartbeat: 2,
            ..lease("2", after(NUMBER, 3, None))
        },
        Lease {
            owner: Some("v".into()),
            next_owner: Some("w".into()),
            counter: 1,
            heartbeat: 1,
            // The library takes the time from its configuration.
            ..lease("3", Checkpoint::TrimHorizon)
        },
        lease("4", Checkpoint::End),
    ];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_keeps_a_lease_that_the_other_took_over() {
    let (mut library, leases) = Library::with_a_table().await;
    leases.create_table().await.unwrap();
    let new = NewLease { shard: "1".into(), parents: Vec::new(), checkpoint: Checkpoint::TrimHorizon };
    leases.create(&[new]).await.unwrap();

    // From the library to us.
    library.list().await;
    library.does("take 1 library").await;
    library.does("renew 1").await;
    let ours = take(&leases, &only(&leases).await, "ours").await;
    library.is_refused("renew 1").await;
    library.is_refused(&format!("checkpoint 1 {NUMBER} 0")).await;
    assert_eq!(only(&leases).await, ours);
    let ours = renewed(&leases, "ours", moved(&ours, after(NUMBER, 1, None))).await.unwrap();

    // And back.
    library.list().await;
    library.does("take 1 library").await;
    assert_eq!(renewed(&leases, "ours", unmoved(&ours)).await, None);
    assert!(!leases.release("ours", &moved(&ours, after("1", 0, None))).await.unwrap());
    library.does("renew 1").await;
    library.does(&format!("checkpoint 1 {LATER} 0")).await;
    let theirs = only(&leases).await;
    assert_eq!((theirs.owner.as_deref(), &theirs.checkpoint), (Some("library"), &after(LATER, 0, None)));

    // We claim the lease, and it is handed over in order: the library sees its next owner.
    assert!(leases.claim(&theirs, "ours").await.unwrap());
    let seen = library.list().await;
    assert_eq!((&seen[0]["owner"], &seen[0]["checkpoint_owner"]), (&json!("ours"), &json!("library")));
    library.does("assign 1 ours").await;
    let ours = only(&leases).await;
    assert_eq!((ours.owner.as_deref(), ours.next_owner.as_deref()), (Some("ours"), None));
    let ours = renewed(&leases, "ours", unmoved(&ours)).await.expect("it is ours");

    // The library claims the lease, and we hand it over.
    library.list().await;
    library.does("hand-over 1 library").await;
    let ours = renewed(&leases, "ours", unmoved(&ours)).await.expect("it is ours until it is handed over");
    assert_eq!(ours.next_owner.as_deref(), Some("library"));
    assert!(leases.release("ours", &unmoved(&ours)).await.unwrap());
    let seen = library.list().await;
    assert_eq!((&seen[0]["owner"], &seen[0]["checkpoint_owner"]), (&json!("library"), &json!(null)));
    library.does("renew 1").await;
}

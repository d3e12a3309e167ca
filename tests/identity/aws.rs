//! The complete path through AWS: the program in one process, in several processes, and the story of
//! `./demo-aws`.

use std::path::Path;
use std::process::Stdio;

use eventsrc_postgres::tokio_postgres::NoTls;
use eventsrc_test_servers as servers;
use eventsrc_tests::{HANG, kinesis};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::program::a_second_run_continues;

/// An empty table, an empty stream and an empty database.
struct AwsPath {
    environment: Vec<(&'static str, String)>,
    stream: String,
    views: String,
}

/// A secret that no output may contain.
const SECRET: &str = "geheim";

impl AwsPath {
    async fn new(name: &str) -> Self {
        let (dynamo, kinesis) = (servers::dynamo().await, servers::kinesis().await);
        let environment = vec![
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamo.endpoint()),
            ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", dynamo.endpoint()),
            ("AWS_ENDPOINT_URL_KINESIS", kinesis.endpoint()),
            ("AWS_ACCESS_KEY_ID", dynamo.access_key(name)),
            ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
            ("AWS_REGION", "eu-west-1".into()),
            // The user who runs the tests may have a configuration file.
            ("AWS_CONFIG_FILE", "/dev/null".into()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
        ];
        let (stream, views) = (kinesis.stream_name(name), servers::postgres().await.database(name).await);
        Self { environment, stream, views }
    }

    fn command(&self, db: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
        command.envs(self.environment.iter().cloned()).arg("--db").arg(db).args(arguments).kill_on_drop(true);
        command
    }

    /// The standard output and the error output of the program, and its success.
    async fn identity(&self, db: &Path, arguments: &[&str]) -> (String, String, bool) {
        let output = self.command(db, arguments).output().await.unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
        (out, err, output.status.success())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_continues_from_the_first_over_the_complete_path() {
    let folder = tempfile::tempdir().unwrap();
    let (way, db) = (AwsPath::new("identityway").await, folder.path().join("identity.db"));
    let all = ["--aws", "--stream", &way.stream, "--views", &way.views];
    a_second_run_continues(async |arguments| match arguments {
        [] => way.identity(&db, &all).await,
        looking => way.identity(&db, &[&["--storage", "dynamo"], looking].concat()).await,
    })
    .await;

    let (client, connection) = eventsrc_postgres::tokio_postgres::connect(&way.views, NoTls).await.unwrap();
    tokio::spawn(connection);
    let members = "SELECT name FROM members JOIN users ON id = user_id ORDER BY name";
    let members = client.query(members, &[]).await.unwrap();
    let members: Vec<String> = members.iter().map(|row| row.get(0)).collect();
    assert_eq!(members, ["ada", "ada-2"]);
    // A worker that ends normally releases its shards.
    let owners = "SELECT count(*) FROM eventsrc.shard_leases WHERE owner IS NOT NULL";
    assert_eq!(client.query_one(owners, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn missing_tables_and_streams_are_reported_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let (mut way, db) = (AwsPath::new("identitymissing").await, folder.path().join("identity.db"));
    for part in ["all", "api", "synchronizer"] {
        let (_, err, success) = way.identity(&db, &["--aws", part]).await;
        assert_eq!(
            (&*err, success),
            ("error: --aws needs a Postgres database for the view; pass its URL with --views\n", false)
        );
    }
    let (_, err, success) = way.identity(&db, &["--aws", "--storage", "memory"]).await;
    assert!(!success && err.contains("cannot be used with"), "{err}");
    let (_, err, success) = way.identity(&db, &["--aws", "postman"]).await;
    assert!(!success && err.contains("[possible values: all, api, bridge, synchronizer]"), "{err}");
    let (_, err, success) = way.identity(&db, &["--aws", "all", "show", "user", "ada"]).await;
    assert!(!success && err.contains("with --storage dynamo"), "{err}");

    way.environment.iter_mut().find(|(name, _)| *name == "AWS_ENDPOINT_URL_KINESIS").unwrap().1 =
        "http://127.0.0.1:1".into();
    let (_, err, success) = way.identity(&db, &["--aws", "bridge", "--stream", "nowhere"]).await;
    assert!(!success && err.starts_with("error: cannot create the stream nowhere\n"), "{err}");
    assert!(err.contains("refused"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanent_failure_of_the_path_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let (way, db) = (AwsPath::new("identitybroken").await, folder.path().join("identity.db"));
    let arguments = ["--aws", "--stream", &way.stream, "--views", &way.views, "--serve", "127.0.0.1:0"];
    let mut command = way.command(&db, &arguments);
    let mut program = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let users = loop {
        let line = lines.next_line().await.unwrap().expect("it listens");
        if let Some(address) = line.strip_prefix("listening on ") {
            break format!("{address}/users");
        }
    };
    kinesis::client().await.delete_stream().stream_name(&way.stream).send().await.unwrap();
    let ada = r#"{"name": "ada", "email": "ada@example.org"}"#;
    // A commit that cannot be published. The readers of the stream may notice sooner, and end the program before it answers.
    Command::new("curl").args(["-so", "/dev/null", &users, "--json", ada]).status().await.unwrap();

    let output = timeout(HANG, program.wait_with_output()).await.expect("it ends").unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let what = format!("the stream {}: ResourceNotFoundException\n", way.stream);
    assert!(!output.status.success() && err.starts_with("error: cannot ") && err.contains(&what), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demonstration_shows_what_the_readme_shows() {
    let output = Command::new(env!("CARGO_BIN_EXE_demo-aws")).kill_on_drop(true).output().await.unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{out}{err}");
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/demo-aws.md")).unwrap();
    let (_, story) = readme.split_once("$ ./demo-aws\n").expect("the README has the story");
    // The story continues in the consoles up to the next chapter, with text in between.
    let (story, _) = story.split_once("\n## ").expect("it is not the last chapter");
    let shown = story.split("```console\n").map(|part| part.split("```").next().unwrap_or_default());
    let shown: Vec<_> = shown.flat_map(str::lines).filter(|line| !line.is_empty()).map(lasting).collect();
    let told: Vec<_> = out.lines().filter(|line| !line.is_empty()).map(lasting).collect();
    assert_eq!(shown, told);
}

/// The parts of a line that are the same in each run, without ids and numbers.
fn lasting(line: &str) -> String {
    let words = line.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let lasting = words.map(|word| {
        let is_id = word.len() >= 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
        if is_id { "ID".into() } else { word.chars().filter(|c| !c.is_ascii_digit()).collect::<String>() }
    });
    lasting.collect()
}

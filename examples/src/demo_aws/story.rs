//! The story, in order.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::lease::LeaseStore;
use eventsrc_postgres::{Postgres, PostgresLeases};
use futures::{StreamExt, TryStreamExt, stream};

use super::curl::{Answer, curl};
use super::local::Local;
use super::program::{HANG, Program};
use super::rows::{Database, folded};

/// The servers, where the story is told, and by which program.
pub(super) struct Story<'a> {
    local: &'a Local,
    identity: PathBuf,
    folder: &'a Path,
    out: &'a mut (dyn Write + Send),
}

/// How many sign up while a worker is killed.
const CROWD: i64 = 200;

/// How many of them are at it at the same time.
const AT_ONCE: usize = 4;

/// How often a request is sent again that was not carried out.
const TRIES: usize = 10;

impl<'a> Story<'a> {
    /// Told by the program `identity`, with its files in `folder`.
    pub(super) fn new(
        local: &'a Local,
        identity: PathBuf,
        folder: &'a Path,
        out: &'a mut (dyn Write + Send),
    ) -> Self {
        Self { local, identity, folder, out }
    }

    pub(super) async fn tell(mut self) -> Result<()> {
        self.heading("Servers of this machine, and the four processes of a service")?;
        self.line(format_args!("DynamoDB    {}", self.local.dynamo.endpoint()))?;
        self.line(format_args!("Kinesis     {}", self.local.kinesis.endpoint()))?;
        self.line(format_args!("Postgres    {}", self.local.postgres()))?;
        self.gap()?;
        let mut api = self.start(&["--aws", "api", "--views", "$VIEWS", "--serve", "127.0.0.1:0"]).await?;
        let listening = self.hear(&mut api).await?;
        let address = listening.rsplit(' ').next().context("it says where it listens")?.to_owned();
        let bridge = self.start(&["--aws", "bridge"]).await?;
        let first = self.start(&["--aws", "synchronizer", "--views", "$VIEWS"]).await?;
        let second = self.start(&["--aws", "synchronizer", "--views", "$VIEWS"]).await?;

        let database = Database::connect(self.local).await?;
        self.a_write_becomes_a_row(&address, &database).await?;
        self.a_token_waits_for_no_bus(&address, &bridge).await?;
        self.a_worker_dies(&address, &database, first).await?;
        self.nothing_is_lost(&database).await?;

        self.heading("The others end in good order")?;
        for (name, program) in [("api", api), ("bridge", bridge), ("synchronizer", second)] {
            self.line(format_args!("$ kill {name}"))?;
            for said in program.stop().await? {
                self.line(said)?;
            }
        }
        Ok(())
    }

    async fn a_write_becomes_a_row(&mut self, address: &str, database: &Database) -> Result<()> {
        self.heading("A write becomes a row")?;
        let users = format!("{address}/users");
        let ada = r#"{"name": "ada", "email": "ada@example.org"}"#;
        self.line(format_args!("$ curl -i {users} --json '{ada}'"))?;
        let answer = curl(&[&users, "--json", ada]).await?;
        let answered = SystemClock.elapsed();
        self.answer(&answer)?;
        self.gap()?;
        let row = within(HANG, "a row", async || Ok(database.called("ada").await?.pop())).await?;
        let after = SystemClock.elapsed() - answered;
        self.line("$ psql -c \"SELECT name, email, sequence FROM users WHERE name = 'ada'\"")?;
        self.line(format_args!("{row}      after {} ms", after.as_millis()))?;
        self.gap()?;
        self.line("On its way, it was this record of Kinesis:")?;
        let record = self.record_of_a_user().await?;
        self.line(record)
    }

    async fn a_token_waits_for_no_bus(&mut self, address: &str, bridge: &Program) -> Result<()> {
        self.heading("A read with a token does not wait for the bus")?;
        self.line("$ kill -STOP bridge")?;
        bridge.signal("STOP").await?;
        let users = format!("{address}/users");
        let grace = r#"{"name": "grace", "email": "grace@example.org"}"#;
        self.line(format_args!("$ curl -i {users} --json '{grace}'"))?;
        let answer = curl(&[&users, "--json", grace]).await?;
        self.answer(&answer)?;
        let (user, token) = (answer.header("location")?, answer.header("eventsrc-token")?);
        let (user, header) = (format!("{address}{user}"), format!("Eventsrc-At-Least: {token}"));
        self.line(format_args!("$ curl -i {user} -H 'Eventsrc-At-Least: {}…'", start(token)))?;
        let asked = SystemClock.elapsed();
        let answer = curl(&[&user, "-H", &header]).await?;
        let after = SystemClock.elapsed() - asked;
        ensure!(answer.is_good(), "the token was not honoured: {}", answer.status);
        self.line(format_args!("{}      after {} ms, from DynamoDB", answer.status, after.as_millis()))?;
        self.line(&answer.body)?;
        self.line("$ kill -CONT bridge")?;
        bridge.signal("CONT").await
    }

    async fn a_worker_dies(&mut self, address: &str, database: &Database, victim: Program) -> Result<()> {
        self.heading("A worker is killed while a crowd signs up")?;
        let postgres = Postgres::connect(&self.local.views).await?;
        let leases = PostgresLeases::new(&postgres, "identity from identity");
        let are_read_by = async |workers: usize| {
            let leases = leases.leases().await?;
            let owners: BTreeSet<_> = leases.iter().filter_map(|lease| lease.owner.as_ref()).collect();
            let all = leases.iter().all(|lease| lease.owner.is_some());
            anyhow::Ok((all && owners.len() == workers).then_some(()))
        };
        within(HANG, "both to read", async || are_read_by(2).await).await?;
        self.line("Each of the two synchronizers reads some of the 4 shards.")?;
        let already = database.count().await?;
        let address = &address;
        let crowd = async {
            let signed_up = stream::iter(0..CROWD).map(|number| sign_up(address, number));
            signed_up.buffer_unordered(AT_ONCE).try_collect::<()>().await
        };
        let killing = async {
            within(HANG, "the first rows of the crowd", async || {
                Ok((database.count().await? > already + CROWD / 10).then_some(()))
            })
            .await?;
            let rows = database.count().await? - already;
            victim.kill().await?;
            let killed = SystemClock.elapsed();
            within(HANG, "the other one to take over", async || are_read_by(1).await).await?;
            anyhow::Ok((rows, SystemClock.elapsed() - killed))
        };
        let ((), (rows, after)) = tokio::try_join!(crowd, killing)?;
        self.line(format_args!("$ kill -9 synchronizer      when {rows} of {CROWD} had a row"))?;
        let after = after.as_secs_f64();
        self.line(format_args!("The other one has taken its shards over, {after:.1} s later."))?;
        within(HANG, "all rows", async || Ok((database.count().await? >= already + CROWD).then_some(())))
            .await
    }

    async fn nothing_is_lost(&mut self, database: &Database) -> Result<()> {
        self.heading("Nothing is lost, and nothing is there twice")?;
        let (rows, folded) = (database.rows().await?, folded(self.local).await?);
        let right = folded.iter().filter(|(id, user)| rows.get(*id) == Some(user)).count();
        self.line(format_args!(
            "{} users are stored in DynamoDB, and {} have a row.",
            folded.len(),
            rows.len()
        ))?;
        self.line(format_args!(
            "{right} of {} rows are what the events of their users are folded into, up to the last event.",
            rows.len()
        ))?;
        ensure!(rows == folded, "the rows are not what the events are folded into");
        Ok(())
    }

    /// Starts a process, and tells what it says first.
    async fn start(&mut self, arguments: &[&str]) -> Result<Program> {
        self.line(format_args!("$ identity {}", arguments.join(" ")))?;
        let secret = self.folder.join("identity.db");
        let own = |argument: &&str| {
            if *argument == "$VIEWS" { self.local.views.clone() } else { (*argument).into() }
        };
        let mut all: Vec<String> = arguments.iter().map(own).collect();
        all.extend(["--db".into(), secret.to_str().context("a plain folder")?.into()]);
        let mut program = Program::start(&self.identity, &all, self.local.environment())?;
        self.hear(&mut program).await?;
        Ok(program)
    }

    async fn hear(&mut self, program: &mut Program) -> Result<String> {
        let said = program.line().await?;
        self.line(&said)?;
        Ok(said)
    }

    /// What of an answer matters here.
    fn answer(&mut self, answer: &Answer) -> Result<()> {
        ensure!(answer.is_good(), "{}: {}", answer.status, answer.body);
        self.line(&answer.status)?;
        self.line(format_args!("etag: {}", answer.header("etag")?))?;
        self.line(format_args!("eventsrc-token: {}…", start(answer.header("eventsrc-token")?)))?;
        self.line(&answer.body)
    }

    /// The text of the first record of a user, as it lies in Kinesis.
    async fn record_of_a_user(&self) -> Result<String> {
        use eventsrc_kinesis::aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon;
        use eventsrc_kinesis::record::AggregatedRecord;

        let client = self.local.kinesis_client();
        let shards = client.list_shards().stream_name("identity").send().await?.shards.unwrap_or_default();
        for shard in shards {
            let from = client.get_shard_iterator().stream_name("identity").shard_id(shard.shard_id);
            let from = from.shard_iterator_type(TrimHorizon).send().await?.shard_iterator;
            for record in client.get_records().set_shard_iterator(from).send().await?.records {
                let data = record.data.into_inner();
                let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
                let texts: Vec<String> = match AggregatedRecord::read(&data) {
                    Ok(several) => several.parts().filter_map(|part| Some(text(part.ok()?.data))).collect(),
                    Err(_) => vec![text(&data)],
                };
                if let Some(text) = texts.into_iter().find(|text| text.contains(r#""stream":"user/"#)) {
                    return Ok(text);
                }
            }
        }
        bail!("there is no record of a user")
    }

    fn heading(&mut self, text: &str) -> Result<()> {
        self.gap()?;
        self.line(format_args!("== {text}"))?;
        self.gap()
    }

    fn gap(&mut self) -> Result<()> {
        self.line("")
    }

    fn line(&mut self, text: impl Display) -> Result<()> {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }
}

/// Signs up one of the crowd. The key makes the request one that can be sent again.
async fn sign_up(address: &str, number: i64) -> Result<()> {
    let body = format!(r#"{{"name": "reader-{number}", "email": "reader-{number}@example.org"}}"#);
    let key = format!("Idempotency-Key: 0199c0de-0000-7000-8000-{number:012}");
    let mut status = String::new();
    for _ in 0..TRIES {
        let answer = curl(&[&format!("{address}/users"), "--json", &body, "-H", &key]).await?;
        if answer.is_good() {
            return Ok(());
        }
        status = answer.status;
        SystemClock.sleep(Duration::from_millis(100)).await;
    }
    bail!("reader-{number} cannot sign up: {status}")
}

/// Looks again and again, until there is something.
async fn within<T>(limit: Duration, what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(limit, looking).await;
    waited.unwrap_or_else(|_| bail!("there is no sign of {what} after {} seconds", limit.as_secs()))
}

/// As much of a token as fits on a line.
fn start(token: &str) -> &str {
    token.get(..16).unwrap_or(token)
}

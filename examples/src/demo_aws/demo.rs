//! The steps of the demonstration, in order.

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

use super::curl::{Response, curl};
use super::program::{HANG, Program};
use super::rows::{Database, folded};
use super::servers::LocalServers;

/// The demonstration: its servers, its program, its files and its output.
pub(super) struct Demo<'a> {
    servers: &'a LocalServers,
    identity: PathBuf,
    folder: &'a Path,
    out: &'a mut (dyn Write + Send),
}

/// Number of users that sign up while a worker is killed.
const USERS: i64 = 200;

/// Number of concurrent sign-ups.
const CONCURRENCY: usize = 4;

/// Maximum number of attempts of a request.
const ATTEMPTS: usize = 10;

impl<'a> Demo<'a> {
    /// Creates a demonstration that runs the program `identity` with its files in `folder`.
    pub(super) fn new(
        servers: &'a LocalServers,
        identity: PathBuf,
        folder: &'a Path,
        out: &'a mut (dyn Write + Send),
    ) -> Self {
        Self { servers, identity, folder, out }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        self.heading("Local servers, and the four processes of a service")?;
        self.line(format_args!("DynamoDB    {}", self.servers.dynamo.endpoint()))?;
        self.line(format_args!("Kinesis     {}", self.servers.kinesis.endpoint()))?;
        self.line(format_args!("Postgres    {}", self.servers.postgres()))?;
        self.gap()?;
        let mut api = self.start(&["--aws", "api", "--views", "$VIEWS", "--serve", "127.0.0.1:0"]).await?;
        let listening = self.print_line(&mut api).await?;
        let address = listening.rsplit(' ').next().context("the program printed no address")?.to_owned();
        let bridge = self.start(&["--aws", "bridge"]).await?;
        let first = self.start(&["--aws", "synchronizer", "--views", "$VIEWS"]).await?;
        let second = self.start(&["--aws", "synchronizer", "--views", "$VIEWS"]).await?;

        let database = Database::connect(self.servers).await?;
        self.a_write_becomes_a_row(&address, &database).await?;
        self.a_read_with_a_token_does_not_wait(&address, &bridge).await?;
        self.a_worker_is_killed(&address, &database, first).await?;
        self.the_rows_equal_the_fold(&database).await?;

        self.heading("The other processes shut down gracefully")?;
        for (name, program) in [("api", api), ("bridge", bridge), ("synchronizer", second)] {
            self.line(format_args!("$ kill {name}"))?;
            for line in program.stop().await? {
                self.line(line)?;
            }
        }
        Ok(())
    }

    async fn a_write_becomes_a_row(&mut self, address: &str, database: &Database) -> Result<()> {
        self.heading("A write becomes a row")?;
        let users = format!("{address}/users");
        let ada = r#"{"name": "ada", "email": "ada@example.org"}"#;
        self.line(format_args!("$ curl -i {users} --json '{ada}'"))?;
        let response = curl(&[&users, "--json", ada]).await?;
        let responded = SystemClock.elapsed();
        self.response(&response)?;
        self.gap()?;
        let row = within(HANG, "row", async || Ok(database.called("ada").await?.pop())).await?;
        let after = SystemClock.elapsed() - responded;
        self.line("$ psql -c \"SELECT name, email, sequence FROM users WHERE name = 'ada'\"")?;
        self.line(format_args!("{row}      after {} ms", after.as_millis()))?;
        self.gap()?;
        self.line("This Kinesis record carried it:")?;
        let record = self.record_of_a_user().await?;
        self.line(record)
    }

    async fn a_read_with_a_token_does_not_wait(&mut self, address: &str, bridge: &Program) -> Result<()> {
        self.heading("A read with a token does not wait for the bus")?;
        self.line("$ kill -STOP bridge")?;
        bridge.signal("STOP").await?;
        let users = format!("{address}/users");
        let grace = r#"{"name": "grace", "email": "grace@example.org"}"#;
        self.line(format_args!("$ curl -i {users} --json '{grace}'"))?;
        let response = curl(&[&users, "--json", grace]).await?;
        self.response(&response)?;
        let (user, token) = (response.header("location")?, response.header("eventsrc-token")?);
        let (user, header) = (format!("{address}{user}"), format!("Eventsrc-At-Least: {token}"));
        self.line(format_args!("$ curl -i {user} -H 'Eventsrc-At-Least: {}…'", start(token)))?;
        let sent = SystemClock.elapsed();
        let response = curl(&[&user, "-H", &header]).await?;
        let after = SystemClock.elapsed() - sent;
        ensure!(response.is_success(), "the read with the token failed: {}", response.status);
        self.line(format_args!("{}      after {} ms, from DynamoDB", response.status, after.as_millis()))?;
        self.line(&response.body)?;
        self.line("$ kill -CONT bridge")?;
        bridge.signal("CONT").await
    }

    async fn a_worker_is_killed(
        &mut self,
        address: &str,
        database: &Database,
        victim: Program,
    ) -> Result<()> {
        self.heading("A worker is killed while users sign up")?;
        let postgres = Postgres::connect(&self.servers.views).await?;
        let leases = PostgresLeases::new(&postgres, "identity from identity");
        let are_read_by = async |workers: usize| {
            let leases = leases.leases().await?;
            let owners: BTreeSet<_> = leases.iter().filter_map(|lease| lease.owner.as_ref()).collect();
            let all = leases.iter().all(|lease| lease.owner.is_some());
            anyhow::Ok((all && owners.len() == workers).then_some(()))
        };
        within(HANG, "distribution of the shards", async || are_read_by(2).await).await?;
        self.line("Each of the two synchronizers reads some of the 4 shards.")?;
        let before = database.count().await?;
        let address = &address;
        let sign_ups = async {
            let signed_up = stream::iter(0..USERS).map(|number| sign_up(address, number));
            signed_up.buffer_unordered(CONCURRENCY).try_collect::<()>().await
        };
        let killing = async {
            within(HANG, "rows of new users", async || {
                Ok((database.count().await? > before + USERS / 10).then_some(()))
            })
            .await?;
            let rows = database.count().await? - before;
            victim.kill().await?;
            let killed = SystemClock.elapsed();
            within(HANG, "takeover by the other synchronizer", async || are_read_by(1).await).await?;
            anyhow::Ok((rows, SystemClock.elapsed() - killed))
        };
        let ((), (rows, after)) = tokio::try_join!(sign_ups, killing)?;
        self.line(format_args!("$ kill -9 synchronizer      after {rows} of {USERS} users had a row"))?;
        let after = after.as_secs_f64();
        self.line(format_args!("The other synchronizer took over its shards {after:.1} s later."))?;
        within(HANG, "rows of all users", async || {
            Ok((database.count().await? >= before + USERS).then_some(()))
        })
        .await
    }

    async fn the_rows_equal_the_fold(&mut self, database: &Database) -> Result<()> {
        self.heading("No event is lost or applied twice")?;
        let (rows, folded) = (database.rows().await?, folded(self.servers).await?);
        let equal = folded.iter().filter(|(id, user)| rows.get(*id) == Some(user)).count();
        self.line(format_args!(
            "{} users are stored in DynamoDB, and {} have a row.",
            folded.len(),
            rows.len()
        ))?;
        self.line(format_args!(
            "{equal} of {} rows equal the fold of their user's events, up to the last event.",
            rows.len()
        ))?;
        ensure!(rows == folded, "the rows differ from the fold of the events");
        Ok(())
    }

    /// Starts a process, and prints its command line and its first line of output.
    async fn start(&mut self, arguments: &[&str]) -> Result<Program> {
        self.line(format_args!("$ identity {}", arguments.join(" ")))?;
        let db = self.folder.join("identity.db");
        let own = |argument: &&str| {
            if *argument == "$VIEWS" { self.servers.views.clone() } else { (*argument).into() }
        };
        let mut all: Vec<String> = arguments.iter().map(own).collect();
        all.extend([
            "--db".into(),
            db.to_str().context("the path of the temporary folder is not UTF-8")?.into(),
        ]);
        let mut program = Program::start(&self.identity, &all, self.servers.environment())?;
        self.print_line(&mut program).await?;
        Ok(program)
    }

    async fn print_line(&mut self, program: &mut Program) -> Result<String> {
        let line = program.line().await?;
        self.line(&line)?;
        Ok(line)
    }

    /// Prints the status, the entity tag, the token and the body of a response.
    fn response(&mut self, response: &Response) -> Result<()> {
        ensure!(response.is_success(), "{}: {}", response.status, response.body);
        self.line(&response.status)?;
        self.line(format_args!("etag: {}", response.header("etag")?))?;
        self.line(format_args!("eventsrc-token: {}…", start(response.header("eventsrc-token")?)))?;
        self.line(&response.body)
    }

    /// Returns the text of the first Kinesis record of a user.
    async fn record_of_a_user(&self) -> Result<String> {
        use eventsrc_kinesis::aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon;
        use eventsrc_kinesis::record::AggregatedRecord;

        let client = self.servers.kinesis_client();
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

/// Signs up one user. The idempotency key makes the request safe to repeat.
async fn sign_up(address: &str, number: i64) -> Result<()> {
    let body = format!(r#"{{"name": "reader-{number}", "email": "reader-{number}@example.org"}}"#);
    let key = format!("Idempotency-Key: 0199c0de-0000-7000-8000-{number:012}");
    let mut status = String::new();
    for _ in 0..ATTEMPTS {
        let response = curl(&[&format!("{address}/users"), "--json", &body, "-H", &key]).await?;
        if response.is_success() {
            return Ok(());
        }
        status = response.status;
        SystemClock.sleep(Duration::from_millis(100)).await;
    }
    bail!("reader-{number} cannot sign up: {status}")
}

/// Polls `look` until it returns a value.
async fn within<T>(limit: Duration, what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let polling = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    };
    let polled = tokio::time::timeout(limit, polling).await;
    polled.unwrap_or_else(|_| bail!("no {what} within {} seconds", limit.as_secs()))
}

/// Returns the start of a token, which fits on a line.
fn start(token: &str) -> &str {
    token.get(..16).unwrap_or(token)
}

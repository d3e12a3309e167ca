//! Reads of recent writes from another process, which follows the bus.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::token::TokenCodec;
use eventsrc_core::{Operation, SaveApi, StreamName};
use futures::future::try_join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Bus, Part};
use crate::HANG;

/// Result of the reads.
#[derive(Debug, Default)]
pub struct ReadBack {
    /// Durations of the reads right after their writes, and of those after a pause.
    pub took: [Vec<Duration>; 2],
    /// Number of reads of the storage because the bus was late.
    pub fetches: u64,
    /// Descriptions of all violations.
    pub violations: Vec<String>,
}

/// Number of concurrent clients.
const CLIENTS: u64 = 16;

const STREAMS: u64 = 200;

/// Longest pause of a client between write and read.
const MOMENT: Duration = Duration::from_millis(600);

/// Saves `reads` events and reads each back with its token from a process that keeps a ledger by the bus alone.
/// Every other read follows after a pause. `program` is `bus-worker`.
///
/// # Errors
///
/// If a process or a server fails.
pub async fn read_back(program: &Path, bus: &Bus, reads: u64, seed: u64) -> Result<ReadBack> {
    // The ledger exists before the first read.
    bus.view().await?;
    let _bridge = worker(program, bus, Part::Bridge, Stdio::null)?;
    let reader = Reader::start(program, bus).await?;
    let saves = SaveApi::new(bus.storage());
    let left = AtomicU64::new(reads);
    let clients = (0..CLIENTS).map(|client| {
        let (saves, reader, left) = (&saves, &reader, &left);
        let mut random = StdRng::seed_from_u64(seed * CLIENTS + client);
        let randomness = Randomness::seeded(seed * CLIENTS + client);
        async move {
            let mut came = ReadBack::default();
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let key = StreamName::new("account", &random.random_range(0..STREAMS).to_string())?;
                let payload = random.random_range(-99..100);
                let saved = saves.save::<PreconditionFailed>(&key, Operation::insert(payload)).await?;
                let saved = saved.saved().context("an insert is never rejected")?;
                let later = random.random_bool(0.5);
                if later {
                    SystemClock.sleep(randomness.up_to(MOMENT)).await;
                }
                let asked = SystemClock.elapsed();
                let answer = reader.ask(&TokenCodec::unsigned().encode(&saved.token)?).await?;
                came.took[usize::from(later)].push(SystemClock.elapsed() - asked);
                if answer != saved.commit_id.to_string() {
                    let what = format!("{key} at {}: {} was saved", saved.sequence, saved.commit_id);
                    came.violations.push(format!("seed {seed}, {what}, and read: {answer:?}"));
                }
            }
            anyhow::Ok(came)
        }
    });
    let mut came = ReadBack::default();
    for client in try_join_all(clients).await? {
        for (all, took) in came.took.iter_mut().zip(client.took) {
            all.extend(took);
        }
        came.violations.extend(client.violations);
    }
    came.fetches = reader.fetches().await?;
    Ok(came)
}

fn worker(program: &Path, bus: &Bus, part: Part, pipes: fn() -> Stdio) -> Result<Child> {
    let mut command = Command::new(program);
    command.arg(part.text()).arg("calm").args(bus.arguments());
    command.stdin(pipes()).stdout(pipes()).kill_on_drop(true);
    command.spawn().with_context(|| format!("cannot run {}", program.display()))
}

type PendingReads = Arc<Mutex<HashMap<String, oneshot::Sender<String>>>>;

/// The process that answers the reads.
struct Reader {
    input: tokio::sync::Mutex<ChildStdin>,
    asked: PendingReads,
    count: AtomicU64,
    listener: JoinHandle<()>,
    _process: Child,
}

impl Reader {
    async fn start(program: &Path, bus: &Bus) -> Result<Self> {
        let mut process = worker(program, bus, Part::Reader, Stdio::piped)?;
        let mut answers = BufReader::new(process.stdout.take().context("its output is ours")?).lines();
        ensure!(answers.next_line().await?.as_deref() == Some("ready"), "it says that it is ready");
        let asked = PendingReads::default();
        let waiting = Arc::clone(&asked);
        let listener = tokio::spawn(async move {
            while let Ok(Some(line)) = answers.next_line().await {
                let (number, answer) = line.split_once(' ').unwrap_or_default();
                let reply = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(number);
                // The caller may have stopped waiting.
                reply.map(|reply| reply.send(answer.to_owned()));
            }
            // The process ended: no caller gets an answer any more.
            waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        let input = tokio::sync::Mutex::new(process.stdin.take().context("its input is ours")?);
        Ok(Self { input, asked, count: AtomicU64::default(), listener, _process: process })
    }

    /// The answer of the ledger to a token.
    async fn ask(&self, token: &str) -> Result<String> {
        let number = self.count.fetch_add(1, Ordering::Relaxed).to_string();
        let question = format!("{number} {token}\n");
        self.answer(number, &question).await
    }

    async fn fetches(&self) -> Result<u64> {
        Ok(self.answer("reads".into(), "reads\n").await?.parse()?)
    }

    async fn answer(&self, name: String, question: &str) -> Result<String> {
        let (reply, answer) = oneshot::channel();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name, reply);
        self.input.lock().await.write_all(question.as_bytes()).await?;
        // Longer than the limit of the reader, whose error has the reason.
        timeout(2 * HANG, answer).await.context("a read hangs")?.context("the reader has ended")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

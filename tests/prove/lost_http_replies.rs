//! The service stores every commit, and its reply is lost on the way. After a retry by the SDK or by the caller
//! each commit is recognised, and none is stored twice.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Result, ensure};
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::commit::vec1;
use eventsrc_core::save::{PreconditionFailed, SaveSettings};
use eventsrc_core::storage::Put;
use eventsrc_core::{
    Commit, Context, ErrorKind, EventStorage, Metadata, Operation, Outcome, SaveApi, StreamName, Timestamp,
};
use eventsrc_dynamo::DynamoStorage;
use eventsrc_tests::faulty_http::{FaultyHttp, FaultyTables, HttpFault, once, quickly};
use futures::TryStreamExt;
use tokio::task::JoinSet;

use crate::runs::{Findings, Trial};

/// Number of callers, each on a stream of its own.
const CALLERS: u64 = 32;

type Storage = DynamoStorage<StreamName, u64, u64>;

pub(crate) async fn dynamo(trial: Trial) -> Result<Findings> {
    let tables = Arc::new(FaultyTables::new("lost").await);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let turns = trial.attempts / CALLERS + u64::from(caller < trial.attempts % CALLERS);
        let key = StreamName::new("lost", &caller.to_string())?;
        callers.spawn(Caller::new(&tables, key, trial.seed ^ caller << 32).call(turns));
    }
    let (mut found, mut by_sdk) = (Findings::default(), 0);
    while let Some(done) = callers.join_next().await {
        let done = done??;
        found.violations.extend(done.violations);
        found.attempted += done.lost;
        by_sdk += done.by_sdk;
    }
    found.note =
        format!("{by_sdk} sent again by the SDK, {} by the caller", found.attempted.saturating_sub(by_sdk));
    Ok(found)
}

/// Counts of one caller.
#[derive(Default)]
struct Counts {
    lost: u64,
    /// Number of replies after which the SDK itself sent the commit again.
    by_sdk: u64,
    violations: Vec<String>,
}

struct Caller {
    key: StreamName,
    faulty: FaultyHttp,
    /// A storage with the SDK's retries, one without, and one without faults.
    retried: Storage,
    unretried: Storage,
    beneath: Storage,
    randomness: Arc<Randomness>,
}

impl Caller {
    fn new(tables: &FaultyTables, key: StreamName, seed: u64) -> Self {
        let faulty = FaultyHttp::scripted_for("PutItem");
        Self {
            key,
            retried: DynamoStorage::new(&tables.through(&faulty, quickly())),
            unretried: DynamoStorage::new(&tables.through(&faulty, once())),
            beneath: DynamoStorage::new(tables.without_faults()),
            faulty,
            randomness: Arc::new(Randomness::seeded(seed)),
        }
    }

    /// Puts and saves in turns. The SDK and the caller retry in turns.
    async fn call(self, turns: u64) -> Result<Counts> {
        let mut done = Counts::default();
        for turn in 1..=turns {
            let fault = if turn % 3 == 0 { HttpFault::ReplyLate } else { HttpFault::ReplyLost };
            self.faulty.next(fault);
            let wrong = match turn % 4 {
                0 => self.put_retried(turn).await?,
                1 => self.put_twice(turn).await?,
                2 => self.save_retried(&self.saves(&self.retried), turn).await?,
                _ => self.save_twice(&self.saves(&self.unretried), turn).await?,
            };
            done.by_sdk += u64::from(turn % 2 == 0);
            done.violations.extend(wrong.map(|wrong| format!("{} at {turn}: {wrong}", self.key)));
        }
        done.lost = self.faulty.injected().total();
        let pages: Vec<_> = self.beneath.events(&self.key, None).try_collect().await?;
        let ids: Vec<_> =
            pages.iter().flat_map(|page| page.commits()).map(|commit| commit.metadata.commit_id).collect();
        let distinct = ids.iter().collect::<HashSet<_>>().len();
        if (ids.len() as u64, distinct) != (turns, ids.len()) {
            let what = format!("{}: {} commits of {turns}, {distinct} distinct", self.key, ids.len());
            done.violations.push(what);
        }
        Ok(done)
    }

    /// A new writer, which reads the head of the stream, so that its first put is the one whose reply is lost.
    fn saves(&self, storage: &Storage) -> SaveApi<Storage> {
        let randomness = Arc::clone(&self.randomness);
        SaveApi::with(storage.clone(), SaveSettings::default(), Arc::new(SystemClock), randomness)
    }

    fn commit(&self, turn: u64) -> Arc<Commit<StreamName, u64, u64>> {
        let metadata = Metadata::new(self.randomness.commit_id(Timestamp::UNIX_EPOCH));
        let (key, time) = (self.key.clone(), Timestamp::UNIX_EPOCH);
        Arc::new(Commit { key, first: turn, previous: None, time, metadata, payloads: vec1![turn].into() })
    }

    async fn put_retried(&self, turn: u64) -> Result<Option<String>> {
        let commit = self.commit(turn);
        Ok(match self.retried.put(Arc::clone(&commit)).await? {
            Put::Repeated { last } if last == commit.last() => None,
            other => Some(format!("put again by the SDK, it came to {other:?}")),
        })
    }

    async fn put_twice(&self, turn: u64) -> Result<Option<String>> {
        let commit = self.commit(turn);
        match self.unretried.put(Arc::clone(&commit)).await {
            Ok(answer) => return Ok(Some(format!("the reply was not lost: {answer:?}"))),
            Err(error) => ensure!(error.kind() == ErrorKind::Unavailable, error),
        }
        Ok(match self.unretried.put(Arc::clone(&commit)).await? {
            Put::Repeated { last } if last == commit.last() => None,
            other => Some(format!("put again, it came to {other:?}")),
        })
    }

    async fn save_retried(&self, saves: &SaveApi<Storage>, turn: u64) -> Result<Option<String>> {
        Ok(match saves.save::<PreconditionFailed>(&self.key, Operation::insert(turn)).await? {
            Outcome::Saved(saved) if saved.repeated && saved.sequence == turn => None,
            other => Some(format!("put again by the SDK, a save came to {other:?}")),
        })
    }

    async fn save_twice(&self, saves: &SaveApi<Storage>, turn: u64) -> Result<Option<String>> {
        let error = match saves.save::<PreconditionFailed>(&self.key, Operation::insert(turn)).await {
            Ok(outcome) => return Ok(Some(format!("the reply was not lost: {outcome:?}"))),
            Err(error) => error,
        };
        let context = Context { commit_id: Some(error.commit_id), ..Context::default() };
        Ok(
            match saves.save_with::<PreconditionFailed>(&self.key, &context, Operation::insert(turn)).await? {
                Outcome::Saved(saved) if saved.repeated && saved.sequence == turn => None,
                other => Some(format!("saved again, it came to {other:?}")),
            },
        )
    }
}

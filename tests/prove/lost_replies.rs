//! Every commit is stored and every reply is lost. After a retry each commit is recognised, and none is stored
//! twice.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::Result;
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::commit::vec1;
use eventsrc_core::save::{PreconditionFailed, SaveSettings};
use eventsrc_core::storage::Put;
use eventsrc_core::{
    Commit, Context, EventStorage, MemoryStorage, Metadata, Operation, Outcome, SaveApi, StreamName,
    Timestamp,
};
use eventsrc_sqlite::{Database, SqliteStorage};
use eventsrc_testkit::{Faults, Faulty};
use futures::TryStreamExt;
use tokio::task::JoinSet;

use crate::runs::{Findings, Trial};

pub(crate) async fn memory(trial: Trial) -> Result<Findings> {
    lose_replies(MemoryStorage::<StreamName, u64, u64>::default(), trial).await
}

pub(crate) async fn sqlite(trial: Trial) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let database = Database::open(folder.path().join("lost.db")).await?;
    lose_replies(SqliteStorage::<StreamName, u64, u64>::new(&database), trial).await
}

/// Number of callers, each on a stream of its own.
const CALLERS: u64 = 64;

async fn lose_replies<St>(storage: St, trial: Trial) -> Result<Findings>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let faults = Faults { seed: trial.seed, reply_lost: 1.0, ..Faults::none() };
    let faulty = Arc::new(Faulty::new(storage, faults, Arc::new(SystemClock)));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let turns = trial.attempts / CALLERS + u64::from(caller < trial.attempts % CALLERS);
        callers.spawn(call(Arc::clone(&faulty), trial.seed ^ caller << 32, caller, turns));
    }
    let mut found = Findings::default();
    while let Some(violations) = callers.join_next().await {
        found.violations.extend(violations??);
    }
    found.attempted = faulty.injected().replies_lost;
    Ok(found)
}

/// Puts and saves in turns. Returns the violations.
async fn call<St>(faulty: Arc<Faulty<St>>, seed: u64, caller: u64, turns: u64) -> Result<Vec<String>>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let key = StreamName::new("lost", &caller.to_string())?;
    let saves = SaveApi::with(
        Arc::clone(&faulty),
        SaveSettings::default(),
        Arc::new(SystemClock),
        Arc::new(Randomness::seeded(seed)),
    );
    let ids = Randomness::seeded(!seed);
    let mut violations = Vec::new();
    for turn in 1..=turns {
        let wrong = if turn % 2 == 0 {
            let metadata = Metadata::new(ids.commit_id(Timestamp::UNIX_EPOCH));
            let commit = Commit {
                key: key.clone(),
                first: turn,
                previous: None,
                time: Timestamp::UNIX_EPOCH,
                metadata,
                payloads: vec1![turn].into(),
            };
            put_twice(&faulty, commit).await?
        } else {
            save_again(&saves, &key, turn).await?
        };
        violations.extend(wrong.map(|wrong| format!("{key} at {turn}: {wrong}")));
    }
    let pages: Vec<_> = faulty.storage().events(&key, None).try_collect().await?;
    let ids: Vec<_> =
        pages.iter().flat_map(|page| page.commits()).map(|commit| commit.metadata.commit_id).collect();
    let distinct: HashSet<_> = ids.iter().collect();
    if (ids.len() as u64, distinct.len()) != (turns, ids.len()) {
        violations.push(format!("{key}: {} commits of {turns}, {} distinct", ids.len(), distinct.len()));
    }
    Ok(violations)
}

async fn put_twice<St>(faulty: &Faulty<St>, commit: Commit<StreamName, u64, u64>) -> Result<Option<String>>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let commit = Arc::new(commit);
    if let Ok(answer) = faulty.put(Arc::clone(&commit)).await {
        return Ok(Some(format!("the reply was not lost: {answer:?}")));
    }
    Ok(match faulty.storage().put(Arc::clone(&commit)).await? {
        Put::Repeated { last } if last == commit.last() => None,
        other => Some(format!("put again, it came to {other:?}")),
    })
}

/// Saves until a reply arrives. Conflicts lose their replies, too, so the first save may only tell that its writer was
/// behind, and the second one stores the commit.
async fn save_again<St>(
    saves: &SaveApi<Arc<Faulty<St>>>,
    key: &StreamName,
    turn: u64,
) -> Result<Option<String>>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let mut context = Context::default();
    for lost in 0..3 {
        match saves.save_with::<PreconditionFailed>(key, &context, Operation::insert(turn)).await {
            Ok(Outcome::Saved(saved)) if saved.repeated && saved.sequence == turn => return Ok(None),
            Ok(other) => return Ok(Some(format!("after {lost} lost replies, it came to {other:?}"))),
            Err(error) => context.commit_id = Some(error.commit_id),
        }
    }
    Ok(Some("the third save had no reply".into()))
}

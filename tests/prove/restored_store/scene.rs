//! One restore, and a save on old knowledge to each stream.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::clock::Randomness;
use eventsrc_core::save::{PreconditionFailed, SaveError};
use eventsrc_core::{Commit, ErrorKind, EventStorage, Outcome, StreamName};
use futures::{StreamExt, TryStreamExt, stream};

use super::plan::{Kind, Plan};
use super::stores::Restorable;
use super::writers::{Digest, Writer};

/// Number of streams that are written at the same time.
const CONCURRENCY: usize = 16;

/// A stream and its writer.
struct Actor<St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>> {
    key: StreamName,
    plan: Plan,
    writer: Writer<St>,
}

/// Plays all plans on `store`, each on a stream of its own. Returns the number of saves that were refused as diverged, and
/// the violations.
pub(super) async fn play<R: Restorable>(
    store: &mut R,
    plans: Vec<Plan>,
    seed: u64,
) -> Result<(u64, Vec<String>)> {
    let randomness = Arc::new(Randomness::seeded(seed));
    let handles = store.handles();
    let mut actors = Vec::new();
    for (plan, handle) in plans.into_iter().zip(handles.iter().cycle()) {
        let key = StreamName::new("restored", &plan.number.to_string())?;
        let writer = Writer::new(plan.writer, handle.clone(), Arc::clone(&randomness));
        actors.push(Actor { key, plan, writer });
    }
    let actors = for_each(actors, |mut actor| async move {
        let kept = actor.plan.kept.clone();
        actor.save_all(&kept).await?;
        Ok(actor)
    });
    let actors = actors.await?;
    store.back_up().await.context("the backup failed")?;
    let actors = for_each(actors, |mut actor| async move {
        let lost = actor.plan.lost.clone();
        actor.save_all(&lost).await?;
        actor.writer = actor.writer.restart().await?;
        Ok(actor)
    });
    let actors = actors.await?;
    store.restore().await.context("the restore failed")?;
    let other = store.new_handle().await?;
    let checked = for_each(actors, |actor| {
        let (other, randomness) = (other.clone(), Arc::clone(&randomness));
        async move {
            let rival = Writer::new(Kind::Saves, other.clone(), randomness);
            let mut rival = Actor { key: actor.key.clone(), plan: actor.plan.clone(), writer: rival };
            let regrown = actor.plan.regrown.clone();
            match rival.save_all(&regrown).await {
                Ok(()) => actor.check(&other).await,
                Err(error) => Ok((false, Some(format!("another writer after the restore: {error:?}")))),
            }
        }
    });
    let mut found = (0, Vec::new());
    for (diverged, wrong) in checked.await? {
        found.0 += u64::from(diverged);
        found.1.extend(wrong.map(|wrong| format!("seed {seed}: {wrong}")));
    }
    Ok(found)
}

async fn for_each<T, U, F>(items: Vec<T>, mut act: impl FnMut(T) -> F) -> Result<Vec<U>>
where
    U: Send + 'static,
    F: Future<Output = Result<U>> + Send + 'static,
{
    let tasks = stream::iter(items).map(|item| tokio::spawn(act(item))).buffer_unordered(CONCURRENCY);
    tasks.map(|result| result?).try_collect().await
}

type Stored = Vec<Arc<Commit<StreamName, u64, u64>>>;

impl<St> Actor<St>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64> + Clone,
{
    /// Saves commits with these numbers of events, all of which must be stored.
    async fn save_all(&mut self, commits: &[usize]) -> Result<()> {
        for events in commits {
            let id = self.plan.with_id.then(|| self.writer.new_id());
            let outcome = self.writer.save(&self.key, *events, id).await;
            let outcome = outcome.with_context(|| format!("{}: a save failed", self.key))?;
            ensure!(matches!(&outcome, Outcome::Saved(_)), "{}: {outcome:?}", self.key);
        }
        Ok(())
    }

    /// Saves on old knowledge, and then again. Returns true if the first save was refused, and a violation if there is one.
    async fn check<O>(mut self, other: &O) -> Result<(bool, Option<String>)>
    where
        O: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
    {
        // A snapshot only saves reads, and is not used if it does not fit.
        let is_refused = !self.plan.lost.is_empty() && self.plan.writer != Kind::Snapshot;
        let (mut wrong, mut diverged) = (None, false);
        for is_first in [true, false] {
            let before = stored(other, &self.key).await?;
            let is_repeated = is_first && self.plan.writer == Kind::Repeats;
            let new_id = self.plan.with_id.then(|| self.writer.new_id());
            let id = if is_repeated { self.writer.last_id() } else { new_id };
            let outcome = self.writer.save(&self.key, self.plan.events, id).await;
            let after = stored(other, &self.key).await?;
            let found = if is_first && is_refused {
                diverged = is_diverged(&outcome);
                self.writer.drop_token();
                refused_wrong(&outcome, &before, &after)
            } else if is_repeated {
                repeated_wrong(&outcome, &before, &after)
            } else {
                saved_wrong(&outcome, &before, &after, &self.plan)
            };
            let which = if is_first { "first" } else { "next" };
            wrong = wrong.or(found.map(|found| {
                let outcome = describe(&outcome);
                format!("{}, {which} save: {found}; {outcome}; {:?}", self.key, self.plan)
            }));
        }
        Ok((diverged, wrong))
    }
}

type SaveResult = Result<Outcome<PreconditionFailed>, SaveError>;

fn is_diverged(outcome: &SaveResult) -> bool {
    outcome.as_ref().is_err_and(|error| error.source.kind() == ErrorKind::Diverged && !error.unknown)
}

fn describe(outcome: &SaveResult) -> String {
    match outcome {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => format!("{error}: {:?}", error.source),
    }
}

/// Returns what is wrong with a save that must be refused.
fn refused_wrong(outcome: &SaveResult, before: &Stored, after: &Stored) -> Option<&'static str> {
    match () {
        () if before != after => Some("it changed the stream"),
        () if !is_diverged(outcome) => Some("it was not refused"),
        () => None,
    }
}

/// Returns what is wrong with a repeated save whose commit is stored.
fn repeated_wrong(outcome: &SaveResult, before: &Stored, after: &Stored) -> Option<&'static str> {
    match outcome {
        _ if before != after => Some("it changed the stream"),
        Ok(Outcome::Saved(saved)) if saved.repeated => None,
        _ => Some("its commit was not found"),
    }
}

/// Returns what is wrong with a save that must be decided on what is stored.
fn saved_wrong(outcome: &SaveResult, before: &Stored, after: &Stored, plan: &Plan) -> Option<&'static str> {
    let Ok(Outcome::Saved(saved)) = outcome else { return Some("it was not saved") };
    let Some((last, rest)) = after.split_last() else { return Some("it is not stored") };
    let decided_on = if plan.writer.folds() { digest(before) } else { end(before) };
    let previous = before.last().map(|commit| commit.metadata.commit_id);
    match () {
        () if rest != before => Some("it changed more than the end of the stream"),
        () if (last.metadata.commit_id, last.last()) != (saved.commit_id, saved.sequence) => {
            Some("it is not the last commit")
        }
        () if last.previous != previous => Some("it does not name the commit before it"),
        () if last.len() != plan.events || last.payloads.iter().any(|seen| *seen != decided_on) => {
            Some("it was decided on something else than what is stored")
        }
        () => None,
    }
}

fn end(commits: &Stored) -> u64 {
    commits.last().map_or(0, |commit| commit.last())
}

fn digest(commits: &Stored) -> u64 {
    let payloads = commits.iter().flat_map(|commit| &commit.payloads);
    payloads.fold(0, |digest, payload| Digest::after(digest, *payload))
}

async fn stored<St>(storage: &St, key: &StreamName) -> Result<Stored>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>,
{
    let pages: Vec<_> = storage.events(key, None).try_collect().await?;
    Ok(pages.iter().flat_map(|page| page.commits().to_vec()).collect())
}

//! Uniqueness: claims of names and addresses on one directory stream, and their release.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eventsrc_core::commit::Vec1;
use eventsrc_core::{
    Consistency, Decider, Decision, EventStorage, Operation, Outcome, Query, QueryApi, SaveApi, Saved,
    Snapshot, StorageError, StreamName,
};

use super::command::{Command, Failure, Reason, Step, into_result};
use super::events::DirectoryEvent;
use super::folds::{Claim, ClaimsOf, ClaimsOn};
use super::keys::{DirectoryKey, Entry};

/// The directory of unique names and addresses.
///
/// The sequence of the commit that makes a claim identifies it, and a release names the claim that it ends. A release
/// that is late or repeated therefore never ends a later claim of the same entry.
pub(super) struct Directory<D>
where
    D: EventStorage<Key = DirectoryKey, Sequence = u64, Payload = DirectoryEvent>,
{
    by_entry: Decider<Arc<D>, ClaimsOn>,
    by_owner: Decider<Arc<D>, ClaimsOf>,
}

/// Entries that a command has claimed.
pub(super) struct ClaimedEntries {
    pub(super) saved: Saved,
    /// True if this claim still holds all of them.
    pub(super) is_held: bool,
}

type ByEntry = Snapshot<u64, BTreeMap<Entry, Claim>>;
type ByOwner = Snapshot<u64, BTreeMap<Entry, u64>>;

impl<D> Directory<D>
where
    D: EventStorage<Key = DirectoryKey, Sequence = u64, Payload = DirectoryEvent>,
{
    pub(super) fn new(storage: Arc<D>, saves: Arc<SaveApi<Arc<D>>>) -> Self {
        let by_entry = QueryApi::keyed(Arc::clone(&storage), ClaimsOn, |_: &BTreeSet<Entry>| DirectoryKey);
        let by_owner = QueryApi::keyed(storage, ClaimsOf, |_: &StreamName| DirectoryKey);
        Self {
            by_entry: Decider::new(Arc::clone(&saves), Arc::new(by_entry)),
            by_owner: Decider::new(saves, Arc::new(by_owner)),
        }
    }

    /// Claims all of `entries` for `owner` in one commit, or none of them. An entry that the owner already has is claimed
    /// again.
    pub(super) async fn claim(
        &self,
        command: &Command,
        owner: &StreamName,
        entries: &[Entry],
    ) -> Result<ClaimedEntries, Failure> {
        let entries = BTreeSet::from_iter(entries.iter().cloned());
        let (owner, wanted) = (owner.clone(), entries.clone());
        let operation = Operation::new(move |known: &ByEntry| {
            let claims = known.value.as_ref();
            let taken = |entry: &&Entry| {
                claims.and_then(|claims| claims.get(*entry)).is_some_and(|claim| claim.owner != owner)
            };
            let taken = wanted.iter().filter(taken).cloned().map(Reason::Taken).collect();
            let claimed = wanted
                .iter()
                .map(|entry| DirectoryEvent::Claimed { entry: entry.clone(), owner: owner.clone() })
                .collect();
            match Vec1::try_from_vec(taken) {
                Ok(reasons) => Decision::Reject(reasons),
                Err(_) => Decision::Save(Vec1::try_from_vec(claimed).expect("there is at least one entry")),
            }
        });
        let outcome = self.by_entry.save_with(&entries, &command.context(Step::Claim), operation).await?;
        let saved = into_result(outcome)?;
        // The claim of a repeated command can be released already, or belong to another command with the same id.
        let is_held = !saved.repeated || {
            let claims =
                self.by_entry.query().get(&entries, Consistency::LatestEvent).await?.unwrap_or_default();
            entries.iter().all(|entry| claims.get(entry).is_some_and(|claim| claim.at == saved.sequence))
        };
        Ok(ClaimedEntries { saved, is_held })
    }

    /// Releases one claim. Has no effect if it was released before.
    pub(super) async fn release(&self, command: &Command, entry: Entry, claim: u64) -> Result<(), Failure> {
        let entries = BTreeSet::from([entry.clone()]);
        let operation = Operation::new(move |known: &ByEntry| {
            let current = known.value.as_ref().and_then(|claims| claims.get(&entry));
            if current.is_some_and(|current| current.at == claim) {
                return Decision::save(DirectoryEvent::Released { entry: entry.clone(), claim });
            }
            Decision::reject(NothingToDo)
        });
        done(&self.by_entry.save_with(&entries, &command.follow_up(), operation).await?)
    }

    /// Releases all claims of `owner`. Has no effect if there are none.
    pub(super) async fn release_all(&self, command: &Command, owner: &StreamName) -> Result<(), Failure> {
        let operation = Operation::new(|known: &ByOwner| {
            let claims = known.value.iter().flatten();
            let released =
                claims.map(|(entry, claim)| DirectoryEvent::Released { entry: entry.clone(), claim: *claim });
            Vec1::try_from_vec(released.collect())
                .map_or_else(|_| Decision::reject(NothingToDo), Decision::Save)
        });
        done(&self.by_owner.save_with(owner, &command.follow_up(), operation).await?)
    }

    /// Returns the owner of `entry`.
    pub(super) async fn owner(&self, entry: Entry) -> Result<Option<StreamName>, StorageError> {
        let entries = BTreeSet::from([entry]);
        let claims = self.by_entry.query().get(&entries, Consistency::LatestEvent).await?;
        Ok(claims.and_then(|claims| claims.into_values().next()).map(|claim| claim.owner))
    }
}

/// Reason for a release that is not saved, because there is nothing to release. It is not a failure.
struct NothingToDo;

fn done(outcome: &Outcome<NothingToDo, u64>) -> Result<(), Failure> {
    match outcome {
        Outcome::Saved(_) | Outcome::Rejected { .. } => Ok(()),
        Outcome::Contended { attempts } => Err(Failure::Busy { attempts: *attempts }),
    }
}

//! What has to be unique: claims on the one master stream, and their release.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eventsrc_core::commit::Vec1;
use eventsrc_core::{
    Consistency, Decider, Decision, EventStorage, Operation, Outcome, Query, QueryApi, SaveApi, Saved,
    Snapshot, StorageError, StreamName,
};

use super::command::{Command, Failure, Reason, Step, carried_out};
use super::events::DirectoryEvent;
use super::folds::{Claim, ClaimsOf, ClaimsOn};
use super::keys::{DirectoryKey, Entry};

/// Says who has which address and which name.
///
/// A claim is named by the sequence of the commit that made it, and a release names the claim that it gives up. So a
/// release that comes late, or twice, never takes an entry away that was claimed again since.
pub(super) struct Directory<D>
where
    D: EventStorage<Key = DirectoryKey, Sequence = u64, Payload = DirectoryEvent>,
{
    by_entry: Decider<Arc<D>, ClaimsOn>,
    by_owner: Decider<Arc<D>, ClaimsOf>,
}

/// Entries that were claimed for a command.
pub(super) struct Entries {
    pub(super) saved: Saved,
    /// Whether all of them are still held by this very claim.
    pub(super) held: bool,
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

    /// Claims all of `entries` for `owner`, in one commit, or none of them. One that the owner has already is claimed
    /// anew.
    pub(super) async fn claim(
        &self,
        command: &Command,
        owner: &StreamName,
        entries: &[Entry],
    ) -> Result<Entries, Failure> {
        let asked = BTreeSet::from_iter(entries.iter().cloned());
        let (owner, wanted) = (owner.clone(), asked.clone());
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
                Err(_) => Decision::Save(Vec1::try_from_vec(claimed).expect("an entry is asked for")),
            }
        });
        let saved =
            carried_out(self.by_entry.save_with(&asked, &command.context(Step::Claim), operation).await?)?;
        // A command that is sent again may find its claim released, or the claim of another command with its id.
        let held = !saved.repeated || {
            let claims =
                self.by_entry.query().get(&asked, Consistency::LatestEvent).await?.unwrap_or_default();
            asked.iter().all(|entry| claims.get(entry).is_some_and(|claim| claim.at == saved.sequence))
        };
        Ok(Entries { saved, held })
    }

    /// Gives up one claim; does nothing if it was given up before.
    pub(super) async fn release(&self, command: &Command, entry: Entry, claim: u64) -> Result<(), Failure> {
        let asked = BTreeSet::from([entry.clone()]);
        let operation = Operation::new(move |known: &ByEntry| {
            let current = known.value.as_ref().and_then(|claims| claims.get(&entry));
            if current.is_some_and(|current| current.at == claim) {
                return Decision::save(DirectoryEvent::Released { entry: entry.clone(), claim });
            }
            Decision::reject(NothingToDo)
        });
        done(&self.by_entry.save_with(&asked, &command.follow_up(), operation).await?)
    }

    /// Gives up all that `owner` has; does nothing if that is nothing.
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

    /// Who has `entry`.
    pub(super) async fn owner(&self, entry: Entry) -> Result<Option<StreamName>, StorageError> {
        let asked = BTreeSet::from([entry]);
        let claims = self.by_entry.query().get(&asked, Consistency::LatestEvent).await?;
        Ok(claims.and_then(|claims| claims.into_values().next()).map(|claim| claim.owner))
    }
}

/// Why a release is not saved, which is no failure.
struct NothingToDo;

fn done(outcome: &Outcome<NothingToDo, u64>) -> Result<(), Failure> {
    match outcome {
        Outcome::Saved(_) | Outcome::Rejected { .. } => Ok(()),
        Outcome::Contended { attempts } => Err(Failure::Busy { attempts: *attempts }),
    }
}

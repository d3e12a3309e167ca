//! Uniqueness: claims of names and addresses on one directory stream, and their release.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use eventsrc_core::commit::Vec1;
use eventsrc_core::{
    Decider, Decision, EventStorage, Operation, Outcome, QueryApi, SaveApi, Saved, Snapshot, StorageError,
    StreamName,
};

use super::command::{Command, Failure, Reason, Step, into_result};
use super::events::DirectoryEvent;
use super::folds::{AllClaims, Claims};
use super::keys::{DirectoryKey, Entry};

/// The directory of unique names and addresses.
///
/// The sequence of the commit that makes a claim identifies it, and a release names the claim that it ends. A release
/// that is late or repeated therefore never ends a later claim of the same entry.
pub(super) struct Directory<D>
where
    D: EventStorage<Key = DirectoryKey, Sequence = u64, Payload = DirectoryEvent>,
{
    claims: Decider<Arc<D>, AllClaims>,
}

/// Entries that a command has claimed.
pub(super) struct ClaimedEntries {
    pub(super) saved: Saved,
    /// True if this claim still holds all of them.
    pub(super) is_held: bool,
}

type Known = Snapshot<u64, Claims>;

impl<D> Directory<D>
where
    D: EventStorage<Key = DirectoryKey, Sequence = u64, Payload = DirectoryEvent>,
{
    pub(super) fn new(saves: Arc<SaveApi<Arc<D>>>) -> Self {
        Self { claims: Decider::with(saves, |storage| QueryApi::new(storage, AllClaims)) }
    }

    /// Claims all of `entries` for `owner` in one commit, or none of them. An entry that the owner already has is claimed
    /// again.
    pub(super) async fn claim(
        &self,
        command: &Command,
        owner: &StreamName,
        entries: &[Entry],
    ) -> Result<ClaimedEntries, Failure> {
        let (owner, wanted) = (owner.clone(), BTreeSet::from_iter(entries.iter().cloned()));
        let operation = Operation::new(move |known: &Known| {
            let taken = |entry: &&Entry| {
                let claim = known.value.as_ref().and_then(|claims| claims.on(entry));
                claim.is_some_and(|claim| claim.owner != owner)
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
        let outcome = self.claims.save_with(&DirectoryKey, &command.context(Step::Claim), operation).await?;
        let saved = into_result(outcome)?;
        // The claim of a repeated command can be released already, or belong to another command with the same id.
        let is_claimed = |known: &Known| {
            let on = |entry| known.value.as_ref().and_then(|claims| claims.on(entry));
            entries.iter().all(|entry| on(entry).is_some_and(|claim| claim.at == saved.sequence))
        };
        let is_held = !saved.repeated || self.claims.read(&DirectoryKey, is_claimed).await?;
        Ok(ClaimedEntries { saved, is_held })
    }

    /// Releases one claim. Has no effect if it was released before.
    pub(super) async fn release(&self, command: &Command, entry: Entry, claim: u64) -> Result<(), Failure> {
        self.save_releases(command, move |claims| {
            let is_held = claims.on(&entry).is_some_and(|current| current.at == claim);
            is_held.then(|| DirectoryEvent::Released { entry: entry.clone(), claim }).into_iter().collect()
        })
        .await
    }

    /// Releases all claims of `owner`. Has no effect if there are none.
    pub(super) async fn release_all(&self, command: &Command, owner: &StreamName) -> Result<(), Failure> {
        let owner = owner.clone();
        self.save_releases(command, move |claims| {
            let released = claims.of(&owner).map(|(entry, claim)| (entry.clone(), claim.at));
            released.map(|(entry, claim)| DirectoryEvent::Released { entry, claim }).collect()
        })
        .await
    }

    /// Saves the releases that `releases` finds due.
    async fn save_releases(
        &self,
        command: &Command,
        releases: impl Fn(&Claims) -> Vec<DirectoryEvent> + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        let operation = Operation::<_, Infallible, _>::new(move |known: &Known| {
            let releases = known.value.as_ref().map(&releases).unwrap_or_default();
            Vec1::try_from_vec(releases).map_or(Decision::Nothing, Decision::Save)
        });
        match self.claims.save_with(&DirectoryKey, &command.follow_up(), operation).await? {
            Outcome::Saved(_) | Outcome::Unchanged(_) => Ok(()),
            Outcome::Rejected { reasons, .. } => match *reasons.first() {},
            Outcome::Contended { attempts } => Err(Failure::Busy { attempts }),
        }
    }

    /// Returns the owner of `entry`.
    pub(super) async fn owner(&self, entry: Entry) -> Result<Option<StreamName>, StorageError> {
        let owner = |known: &Known| Some(known.value.as_ref()?.on(&entry)?.owner.clone());
        self.claims.read(&DirectoryKey, owner).await
    }
}

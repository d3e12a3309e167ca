//! Writers whose knowledge is older than the restored storage.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use eventsrc_core::clock::{Clock, Randomness, SystemClock};
use eventsrc_core::commit::Vec1;
use eventsrc_core::query::SnapshotPolicy;
use eventsrc_core::save::{PreconditionFailed, SaveError, SaveSettings};
use eventsrc_core::snapshot::MemorySnapshots;
use eventsrc_core::token::{TokenCodec, TokenKey};
use eventsrc_core::{
    CommitId, Context, Decider, Decision, Event, EventStorage, Fold, Operation, Outcome, QueryApi, SaveApi,
    Snapshot, StreamName, Token,
};

use super::plan::Kind;

type Snapshots = Arc<MemorySnapshots<StreamName, u64, u64>>;

/// Digest of all events of a stream, in order.
pub(super) struct Digest;

impl Digest {
    pub(super) fn after(digest: u64, payload: u64) -> u64 {
        digest.wrapping_mul(1_000_003).wrapping_add(payload).wrapping_add(1)
    }
}

impl Fold<StreamName, u64, u64> for Digest {
    type Key = StreamName;
    type Value = u64;

    fn apply(&self, _: &StreamName, digest: &mut Option<u64>, event: Event<'_, StreamName, u64, u64>) {
        *digest = Some(Self::after(digest.unwrap_or(0), *event.payload));
    }
}

/// A writer of one stream. Its events are what it decided on: the last sequence, or the digest.
pub(super) struct Writer<St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64>> {
    storage: St,
    randomness: Arc<Randomness>,
    /// They survive a restore.
    snapshots: Snapshots,
    decider: Decider<St, Digest, Snapshots>,
    saves: Arc<SaveApi<St>>,
    kind: Kind,
    token: Token,
    /// Id of the last saved commit.
    last: Option<CommitId>,
}

impl<St> Writer<St>
where
    St: EventStorage<Key = StreamName, Sequence = u64, Payload = u64> + Clone,
{
    pub(super) fn new(kind: Kind, storage: St, randomness: Arc<Randomness>) -> Self {
        Self::start(kind, storage, randomness, Snapshots::default())
    }

    fn start(kind: Kind, storage: St, randomness: Arc<Randomness>, snapshots: Snapshots) -> Self {
        let clock = Arc::new(SystemClock);
        let saves = SaveApi::with(storage.clone(), SaveSettings::default(), clock, Arc::clone(&randomness));
        let saves = Arc::new(saves);
        let policy = if kind == Kind::Snapshot { SnapshotPolicy::Every(1) } else { SnapshotPolicy::Never };
        let decider = Decider::with(Arc::clone(&saves), |storage| {
            QueryApi::new(storage, Digest).with_snapshots(Arc::clone(&snapshots), policy)
        });
        Self { storage, randomness, snapshots, decider, saves, kind, token: Token::default(), last: None }
    }

    /// Returns an idempotency key for a new command.
    pub(super) fn new_id(&self) -> CommitId {
        self.randomness.commit_id(SystemClock.now())
    }

    /// Returns the id of the last saved commit.
    pub(super) fn last_id(&self) -> Option<CommitId> {
        self.last
    }

    /// Saves a commit of `events` events, and remembers its token if the kind of the writer has one.
    pub(super) async fn save(
        &mut self,
        key: &StreamName,
        events: usize,
        commit_id: Option<CommitId>,
    ) -> Result<Outcome<PreconditionFailed>, SaveError> {
        let context = Context { commit_id, token: self.token.clone(), ..Context::default() };
        let all = move |seen: u64| {
            Decision::Save(Vec1::try_from_vec(vec![seen; events]).expect("a commit has an event"))
        };
        let outcome = if self.kind.folds() {
            let by_digest = Operation::new(move |known: &Snapshot<u64, u64>| all(known.value.unwrap_or(0)));
            self.decider.save_with(key, &context, by_digest).await?
        } else {
            let by_sequence = Operation::new(move |known: &Option<u64>| all(known.unwrap_or(0)));
            self.saves.save_with(key, &context, by_sequence).await?
        };
        if let Outcome::Saved(saved) = &outcome {
            self.last = Some(saved.commit_id);
            if self.kind.has_token() {
                self.token = saved.token.clone();
            }
        }
        Ok(outcome)
    }

    /// Forgets what the process of the writer would lose at its end, and keeps the token as text, or the snapshots. A
    /// writer that only remembers goes on.
    pub(super) async fn restart(self) -> Result<Self> {
        if matches!(self.kind, Kind::Saves | Kind::Decider | Kind::Repeats) {
            return Ok(self);
        }
        self.decider.query().flush().await;
        let key = TokenKey::new("test", "a secret of this test").map_err(|error| anyhow!(error))?;
        let codec = TokenCodec::signed(key, []);
        let token = codec.decode(&codec.encode(&self.token)?)?;
        let next = Self::start(self.kind, self.storage, self.randomness, self.snapshots);
        Ok(Self { token, ..next })
    }

    /// Drops the token, as a client does that reads again after an error.
    pub(super) fn drop_token(&mut self) {
        self.token = Token::default();
    }
}

//! A worker of a group: renews, takes and claims leases, and reads their shards.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::lease::{Checkpoint, Lease, LeasePlan, LeaseStore, LeaseWatch, Renewal};
use eventsrc_core::retry::Backoff;
use eventsrc_core::{ErrorKind, StorageError};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::discovery::{missing_leases, obsolete_leases, skipped_leases};
use super::progress::Progress;
use super::reader::{ReadOutcome, ReaderContext, read_shard, stop_requested};
use super::status::ShardStatus;
use crate::record::Decoder;
use crate::source::ShardSource;

/// One of the workers that share the shards of a stream.
pub(super) struct Worker<So: ShardSource, L, D: Decoder<So::Record>> {
    context: Arc<ReaderContext<So, D>>,
    leases: L,
    name: String,
    watch: LeaseWatch,
    held: BTreeMap<String, HeldLease>,
    readers: JoinSet<ReadOutcome>,
    /// Shards that are left to other workers, each until the given time.
    avoided: HashMap<String, Duration>,
    /// Time of the next discovery of shards.
    next_discovery: Duration,
    /// Number of consecutive discoveries in which the children of an ended shard were missing.
    child_lookups: u32,
    /// Time of the last renewal of the leases.
    last_renewal: Duration,
    backoff: Option<Backoff>,
}

/// A lease that this worker holds.
struct HeldLease {
    lease: Lease,
    /// Checkpoint in the lease store.
    stored_checkpoint: Checkpoint,
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    reader: AbortHandle,
}

impl<So: ShardSource, L: LeaseStore, D: Decoder<So::Record>> Worker<So, L, D> {
    pub(super) fn new(context: Arc<ReaderContext<So, D>>, leases: L, name: String) -> Self {
        let now = context.environment.clock.elapsed();
        Self {
            watch: LeaseWatch::new(context.settings.expiry, context.settings.handover),
            context,
            leases,
            name,
            held: BTreeMap::new(),
            readers: JoinSet::new(),
            avoided: HashMap::new(),
            next_discovery: now,
            child_lookups: 0,
            last_renewal: now,
            backoff: None,
        }
    }

    /// Runs until `stop` is set.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let wait = match self.run_round().await {
                Ok(()) => {
                    self.backoff = None;
                    self.context.board.clear_error();
                    self.context.settings.expiry / 3
                }
                Err(error) => {
                    self.context.board.record_error(error);
                    self.drop_expired_leases();
                    let retry = &self.context.settings.retry;
                    let backoff = self.backoff.get_or_insert_with(|| retry.start());
                    backoff.wait(&self.context.environment.randomness).max(MIN_WAIT)
                }
            };
            let next_round = self.context.environment.clock.sleep(wait);
            tokio::pin!(next_round);
            loop {
                tokio::select! {
                    () = &mut next_round => break,
                    Some(ended) = self.readers.join_next_with_id() => {
                        if self.reader_ended(ended).await {
                            break;
                        }
                    }
                    () = stop_requested(&mut stop) => return self.drain().await,
                }
            }
            self.update_status();
        }
    }

    /// Renews the held leases, discovers shards if it is time, and takes and claims leases.
    async fn run_round(&mut self) -> Result<(), StorageError> {
        self.renew().await?;
        if self.now() >= self.next_discovery {
            self.discover().await?;
        }
        let leases = self.leases.leases().await?;
        let now = self.now();
        let observation = self.watch.look(&leases, now);
        let is_read_elsewhere =
            |lease: &&Lease| lease.owner.as_ref().is_some_and(|owner| *owner != self.name);
        let read_elsewhere = leases.iter().filter(is_read_elsewhere).map(|lease| lease.shard.as_str());
        self.context.board.clear_unreadable(read_elsewhere);
        self.avoided.retain(|_, until| *until > now);
        let plan =
            LeasePlan::new(&leases, &observation, &self.name, |lease| self.held.contains_key(&lease.shard));
        for lease in plan.take {
            if !self.avoided.contains_key(&lease.shard)
                && let Some(lease) = self.leases.take(lease, &self.name).await?
            {
                self.context.board.record_taken();
                self.start(lease);
            }
        }
        if let Some(lease) = plan.claim
            && !self.avoided.contains_key(&lease.shard)
            && self.leases.claim(lease, &self.name).await?
        {
            self.context.board.record_claimed();
        }
        self.update_status();
        Ok(())
    }

    /// Renews the heartbeat of all held leases, and stores new checkpoints.
    async fn renew(&mut self) -> Result<(), StorageError> {
        let renewals: Vec<_> = self.held.values().map(HeldLease::renewal).collect();
        let renewed = self.leases.renew(&self.name, &renewals).await?;
        self.last_renewal = self.now();
        for (Renewal { lease, checkpoint }, renewed) in renewals.into_iter().zip(renewed) {
            let Some(held) = self.held.get_mut(&lease.shard) else { continue };
            match renewed {
                Some(renewed) => {
                    if renewed.next_owner.is_some() {
                        held.stop.send_replace(true);
                    }
                    held.stored_checkpoint = checkpoint.unwrap_or_else(|| renewed.checkpoint.clone());
                    held.lease = renewed;
                }
                None => {
                    self.context.board.record_lost(&lease.shard);
                    self.drop_lease(&lease.shard);
                }
            }
        }
        Ok(())
    }

    /// Creates leases for shards that have none, and removes obsolete ones.
    async fn discover(&mut self) -> Result<(), StorageError> {
        let initial = self.context.settings.initial;
        let shards = self.context.source.shards().await?;
        let mut leases = self.leases.leases().await?;
        let is_new_group = leases.is_empty();
        let skipped = skipped_leases(&shards, &leases, initial);
        if !skipped.is_empty() {
            self.leases.create(&skipped).await?;
            leases = self.leases.leases().await?;
        }
        let missing = missing_leases(&shards, &leases, initial, is_new_group);
        if !missing.is_empty() {
            self.leases.create(&missing).await?;
        }
        let obsolete = obsolete_leases(&shards, &leases);
        if !obsolete.is_empty() {
            self.leases.remove(&obsolete).await?;
        }
        // A shard that has ended was split or merged. The service may list its children a moment later.
        let is_childless = |lease: &&Lease| {
            let id = &lease.shard;
            shards.iter().any(|shard| shard.id == *id)
                && !shards.iter().any(|shard| shard.parents.contains(id))
        };
        let lacks_children =
            leases.iter().filter(|lease| lease.has_ended()).any(|lease| is_childless(&lease));
        self.child_lookups = if lacks_children { self.child_lookups.saturating_add(1) } else { 0 };
        let soon = (1..=MAX_CHILD_LOOKUPS).contains(&self.child_lookups);
        let wait =
            if soon { self.context.settings.expiry / 10 } else { self.context.settings.discover_every };
        self.next_discovery = self.now() + wait;
        Ok(())
    }

    fn start(&mut self, lease: Lease) {
        // The reader of an earlier ownership may still run.
        self.drop_lease(&lease.shard);
        let progress = Progress::new(lease.checkpoint.clone());
        let (stop, stopped) = watch::channel(false);
        let reader = read_shard(Arc::clone(&self.context), lease.clone(), Arc::clone(&progress), stopped);
        let reader = self.readers.spawn(reader);
        let stored_checkpoint = lease.checkpoint.clone();
        self.held.insert(lease.shard.clone(), HeldLease { lease, stored_checkpoint, progress, stop, reader });
    }

    /// Releases the lease of a shard whose reader has ended. Returns true if the next round should start at once.
    async fn reader_ended(&mut self, ended: Result<(Id, ReadOutcome), JoinError>) -> bool {
        let (reader, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let what = format!("the reader of a shard failed: {error}");
                (error.id(), ReadOutcome::Failed(StorageError::new(ErrorKind::Invalid, what)))
            }
        };
        // A reader without a held lease was aborted because its lease was lost.
        let Some((shard, held)) = self.held.iter().find(|(_, held)| held.reader.id() == reader) else {
            return false;
        };
        let shard = shard.clone();
        let mut renewal = held.renewal();
        match outcome {
            ReadOutcome::Ended => {
                // The leases of the children come first: a group whose leases have all ended would have no shard to
                // continue with.
                self.next_discovery = self.now();
                self.child_lookups = 0;
                if let Err(error) = self.discover().await {
                    self.context.board.record_error(error);
                }
                renewal.checkpoint = Some(Checkpoint::End);
            }
            ReadOutcome::Stopped => {}
            ReadOutcome::Unacknowledged => {
                self.avoided.insert(shard.clone(), self.now() + self.context.settings.expiry / 3);
            }
            ReadOutcome::Failed(error) => {
                self.context.board.record_unreadable(&shard, error);
                self.avoided.insert(shard.clone(), self.now() + self.context.settings.expiry);
            }
        }
        self.release(&shard, &renewal).await;
        true
    }

    /// Releases a lease. If the call fails, the lease expires.
    async fn release(&mut self, shard: &str, renewal: &Renewal) {
        self.drop_lease(shard);
        match self.leases.release(&self.name, renewal).await {
            Ok(true) => {}
            Ok(false) => self.context.board.record_lost(shard),
            Err(error) => self.context.board.record_error(error),
        }
    }

    /// Stops the readers of leases that other workers may have taken over, because the last renewal is too long ago.
    fn drop_expired_leases(&mut self) {
        if self.now().saturating_sub(self.last_renewal) >= self.context.settings.expiry {
            let shards: Vec<_> = self.held.keys().cloned().collect();
            for shard in shards {
                self.context.board.record_lost(&shard);
                self.drop_lease(&shard);
            }
        }
    }

    fn drop_lease(&mut self, shard: &str) {
        if let Some(held) = self.held.remove(shard) {
            held.reader.abort();
        }
    }

    /// Stops all readers gracefully, and releases their leases.
    async fn drain(mut self) {
        for held in self.held.values() {
            held.stop.send_replace(true);
        }
        while !self.readers.is_empty() {
            let next_renewal = self.context.environment.clock.sleep(self.context.settings.expiry / 3);
            tokio::select! {
                Some(ended) = self.readers.join_next_with_id() => {
                    self.reader_ended(ended).await;
                }
                () = next_renewal => {
                    if let Err(error) = self.renew().await {
                        self.context.board.record_error(error);
                    }
                }
            }
            self.update_status();
        }
    }

    fn update_status(&self) {
        let status = |held: &HeldLease| ShardStatus {
            checkpoint: Some(held.progress.checkpoint()),
            unacknowledged: held.progress.unacknowledged(),
            behind_latest: None,
            is_handing_over: *held.stop.borrow(),
        };
        let shards = self.held.iter().map(|(shard, held)| (shard.clone(), status(held))).collect();
        self.context.board.set_shards(shards);
    }

    fn now(&self) -> Duration {
        self.context.environment.clock.elapsed()
    }
}

impl HeldLease {
    /// Renewal of the lease, with the checkpoint if it has changed.
    fn renewal(&self) -> Renewal {
        let checkpoint = self.progress.checkpoint();
        let checkpoint = (checkpoint != self.stored_checkpoint).then_some(checkpoint);
        Renewal { lease: self.lease.clone(), checkpoint }
    }
}

/// Number of consecutive discoveries at a short interval while the children of an ended shard are missing.
const MAX_CHILD_LOOKUPS: u32 = 10;

/// Lower bound of the random backoff, so that no retry loop spins.
const MIN_WAIT: Duration = Duration::from_millis(10);

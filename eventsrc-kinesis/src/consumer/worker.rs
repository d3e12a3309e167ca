//! A worker of a group: it keeps its leases, and reads their shards.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::lease::{Checkpoint, Lease, LeasePlan, LeaseStore, LeaseWatch, Renewal};
use eventsrc_core::retry::Backoff;
use eventsrc_core::{ErrorKind, StorageError};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::discovery::{forgotten, missing, passed_over};
use super::progress::Progress;
use super::reader::{Outcome, Reading, read, told};
use super::status::ShardStatus;
use crate::record::Decoder;
use crate::source::ShardSource;

/// One of the workers that share the shards of a stream.
pub(super) struct Worker<So: ShardSource, L, D: Decoder<So::Record>> {
    reading: Arc<Reading<So, D>>,
    leases: L,
    name: String,
    watch: LeaseWatch,
    held: BTreeMap<String, Held>,
    readers: JoinSet<Outcome>,
    /// Shards that could not be read here, and until when others shall try.
    avoided: HashMap<String, Duration>,
    /// When to look for shards again.
    discovery: Duration,
    /// How often there were shards that have ended and of which nothing was made.
    looks: u32,
    /// When the leases were renewed last.
    renewed: Duration,
    backoff: Option<Backoff>,
}

/// A lease that this worker holds.
struct Held {
    lease: Lease,
    /// What the store knows.
    kept: Checkpoint,
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    reader: AbortHandle,
}

impl<So: ShardSource, L: LeaseStore, D: Decoder<So::Record>> Worker<So, L, D> {
    pub(super) fn new(reading: Arc<Reading<So, D>>, leases: L, name: String) -> Self {
        let now = reading.environment.clock.elapsed();
        Self {
            watch: LeaseWatch::new(reading.settings.expiry, reading.settings.handover),
            reading,
            leases,
            name,
            held: BTreeMap::new(),
            readers: JoinSet::new(),
            avoided: HashMap::new(),
            discovery: now,
            looks: 0,
            renewed: now,
            backoff: None,
        }
    }

    /// Works until it is told to stop.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let wait = match self.round().await {
                Ok(()) => {
                    self.backoff = None;
                    self.reading.board.is_well();
                    self.reading.settings.expiry / 3
                }
                Err(error) => {
                    self.reading.board.failed(error);
                    self.stop_what_expired();
                    let retry = &self.reading.settings.retry;
                    let backoff = self.backoff.get_or_insert_with(|| retry.start());
                    backoff.wait(&self.reading.environment.randomness).max(LEAST_WAIT)
                }
            };
            let round = self.reading.environment.clock.sleep(wait);
            tokio::pin!(round);
            loop {
                tokio::select! {
                    () = &mut round => break,
                    Some(ended) = self.readers.join_next_with_id() => {
                        if self.ended(ended).await {
                            break;
                        }
                    }
                    () = told(&mut stop) => return self.leave().await,
                }
            }
            self.show();
        }
    }

    /// Looks at everything once, and does what is to be done.
    async fn round(&mut self) -> Result<(), StorageError> {
        self.renew().await?;
        if self.now() >= self.discovery {
            self.discover().await?;
        }
        let leases = self.leases.leases().await?;
        let now = self.now();
        let sighting = self.watch.look(&leases, now);
        let is_read = |lease: &&Lease| lease.owner.as_ref().is_some_and(|owner| *owner != self.name);
        self.reading.board.are_read(leases.iter().filter(is_read).map(|lease| lease.shard.as_str()));
        self.avoided.retain(|_, until| *until > now);
        let plan =
            LeasePlan::new(&leases, &sighting, &self.name, |lease| self.held.contains_key(&lease.shard));
        for lease in plan.take {
            if !self.avoided.contains_key(&lease.shard)
                && let Some(lease) = self.leases.take(lease, &self.name).await?
            {
                self.reading.board.took();
                self.start(lease);
            }
        }
        if let Some(lease) = plan.claim
            && !self.avoided.contains_key(&lease.shard)
            && self.leases.claim(lease, &self.name).await?
        {
            self.reading.board.claimed();
        }
        self.show();
        Ok(())
    }

    /// Says that this worker lives, and how far it is.
    async fn renew(&mut self) -> Result<(), StorageError> {
        let renewals: Vec<_> = self.held.values().map(Held::renewal).collect();
        let renewed = self.leases.renew(&self.name, &renewals).await?;
        self.renewed = self.now();
        for (Renewal { lease, checkpoint }, renewed) in renewals.into_iter().zip(renewed) {
            let Some(held) = self.held.get_mut(&lease.shard) else { continue };
            match renewed {
                Some(renewed) => {
                    if renewed.next_owner.is_some() {
                        held.stop.send_replace(true);
                    }
                    held.kept = checkpoint.unwrap_or_else(|| renewed.checkpoint.clone());
                    held.lease = renewed;
                }
                None => {
                    self.reading.board.lost(&lease.shard);
                    self.drop_lease(&lease.shard);
                }
            }
        }
        Ok(())
    }

    /// Makes leases for shards that have none.
    async fn discover(&mut self) -> Result<(), StorageError> {
        let initial = self.reading.settings.initial;
        let shards = self.reading.source.shards().await?;
        let mut leases = self.leases.leases().await?;
        let beginning = leases.is_empty();
        let over = passed_over(&shards, &leases, initial);
        if !over.is_empty() {
            self.leases.create(&over).await?;
            leases = self.leases.leases().await?;
        }
        let missing = missing(&shards, &leases, initial, beginning);
        if !missing.is_empty() {
            self.leases.create(&missing).await?;
        }
        let forgotten = forgotten(&shards, &leases);
        if !forgotten.is_empty() {
            self.leases.remove(&forgotten).await?;
        }
        // A shard that has ended was split or merged, and the service may show it a moment later.
        let is_childless = |lease: &&Lease| {
            let id = &lease.shard;
            shards.iter().any(|shard| shard.id == *id)
                && !shards.iter().any(|shard| shard.parents.contains(id))
        };
        let waits = leases.iter().filter(|lease| lease.has_ended()).any(|lease| is_childless(&lease));
        self.looks = if waits { self.looks.saturating_add(1) } else { 0 };
        let soon = (1..=LOOKS).contains(&self.looks);
        let wait =
            if soon { self.reading.settings.expiry / 10 } else { self.reading.settings.discover_every };
        self.discovery = self.now() + wait;
        Ok(())
    }

    fn start(&mut self, lease: Lease) {
        // A lease that this worker held without knowing may be taken anew while its reader runs.
        self.drop_lease(&lease.shard);
        let progress = Progress::new(lease.checkpoint.clone());
        let (stop, stopped) = watch::channel(false);
        let reader = read(Arc::clone(&self.reading), lease.clone(), Arc::clone(&progress), stopped);
        let reader = self.readers.spawn(reader);
        let kept = lease.checkpoint.clone();
        self.held.insert(lease.shard.clone(), Held { lease, kept, progress, stop, reader });
    }

    /// What becomes of a shard whose reader has ended; true if others have to be looked at soon.
    async fn ended(&mut self, ended: Result<(Id, Outcome), JoinError>) -> bool {
        let (reader, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let what = format!("the reader of a shard broke off: {error}");
                (error.id(), Outcome::Failed(StorageError::new(ErrorKind::Invalid, what)))
            }
        };
        // One that is not held any more was stopped because its lease was lost.
        let Some((shard, held)) = self.held.iter().find(|(_, held)| held.reader.id() == reader) else {
            return false;
        };
        let shard = shard.clone();
        let mut renewal = held.renewal();
        match outcome {
            Outcome::Ended => {
                // Those that were made of it first: a group whose shards have all ended would not know where to go on.
                self.discovery = self.now();
                self.looks = 0;
                if let Err(error) = self.discover().await {
                    self.reading.board.failed(error);
                }
                renewal.checkpoint = Some(Checkpoint::End);
            }
            Outcome::Stopped => {}
            Outcome::Refused => {
                self.avoided.insert(shard.clone(), self.now() + self.reading.settings.expiry / 3);
            }
            Outcome::Failed(error) => {
                self.reading.board.cannot_read(&shard, error);
                self.avoided.insert(shard.clone(), self.now() + self.reading.settings.expiry);
            }
        }
        self.release(&shard, &renewal).await;
        true
    }

    /// Gives a lease up. If that cannot be said, it expires.
    async fn release(&mut self, shard: &str, renewal: &Renewal) {
        self.drop_lease(shard);
        match self.leases.release(&self.name, renewal).await {
            Ok(true) => {}
            Ok(false) => self.reading.board.lost(shard),
            Err(error) => self.reading.board.failed(error),
        }
    }

    /// Stops reading what others may have taken over by now.
    fn stop_what_expired(&mut self) {
        if self.now().saturating_sub(self.renewed) >= self.reading.settings.expiry {
            let shards: Vec<_> = self.held.keys().cloned().collect();
            for shard in shards {
                self.reading.board.lost(&shard);
                self.drop_lease(&shard);
            }
        }
    }

    fn drop_lease(&mut self, shard: &str) {
        if let Some(held) = self.held.remove(shard) {
            held.reader.abort();
        }
    }

    /// Gives everything up in good order.
    async fn leave(mut self) {
        for held in self.held.values() {
            held.stop.send_replace(true);
        }
        while !self.readers.is_empty() {
            let round = self.reading.environment.clock.sleep(self.reading.settings.expiry / 3);
            tokio::select! {
                Some(ended) = self.readers.join_next_with_id() => {
                    self.ended(ended).await;
                }
                () = round => {
                    if let Err(error) = self.renew().await {
                        self.reading.board.failed(error);
                    }
                }
            }
            self.show();
        }
    }

    fn show(&self) {
        let shown = |held: &Held| {
            let (checkpoint, open) = (Some(held.progress.checkpoint()), held.progress.open());
            ShardStatus { checkpoint, open, behind: None, is_leaving: *held.stop.borrow() }
        };
        self.reading
            .board
            .reads(self.held.iter().map(|(shard, held)| (shard.clone(), shown(held))).collect());
    }

    fn now(&self) -> Duration {
        self.reading.environment.clock.elapsed()
    }
}

impl Held {
    /// What is to be told of it.
    fn renewal(&self) -> Renewal {
        let checkpoint = self.progress.checkpoint();
        let checkpoint = (checkpoint != self.kept).then_some(checkpoint);
        Renewal { lease: self.lease.clone(), checkpoint }
    }
}

/// How often in a row what was made of a shard is looked for soon.
const LOOKS: u32 = 10;

/// Even a lucky draw does not turn waiting into spinning.
const LEAST_WAIT: Duration = Duration::from_millis(10);

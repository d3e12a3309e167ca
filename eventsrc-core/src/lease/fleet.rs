//! Simulation of workers that join, leave, die and hand over leases in a random order, until no lease moves any more.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::balance::LeasePlan;
use super::contract::{Checkpoint, Lease, LeaseStore, NewLease, Renewal};
use super::memory::MemoryLeases;
use super::watch::LeaseWatch;

const ROUND: Duration = Duration::from_secs(2);
const EXPIRY: Duration = Duration::from_secs(10);
const HANDOVER: Duration = Duration::from_secs(30);

/// Rounds after which no lease moves any more: enough to detect dead workers, and one for each move.
const LONG: u32 = 60;

struct Fleet {
    leases: MemoryLeases,
    workers: Vec<Worker>,
    made: usize,
    rounds: u32,
    draws: StdRng,
    /// Number of leases that a worker handed over to a next owner, or lost to a takeover.
    moves: usize,
}

struct Worker {
    name: String,
    watch: LeaseWatch,
    held: BTreeMap<String, Lease>,
    /// True if the worker renews its leases, but hands none over.
    is_stubborn: bool,
}

impl Fleet {
    async fn new(seed: u64, shards: usize) -> Self {
        let fleet = Self {
            leases: MemoryLeases::default(),
            workers: Vec::new(),
            made: 0,
            rounds: 0,
            draws: StdRng::seed_from_u64(seed),
            moves: 0,
        };
        for shard in 0..shards {
            fleet.shard(&shard.to_string(), &[]).await;
        }
        fleet
    }

    async fn shard(&self, shard: &str, parents: &[&str]) {
        let parents = parents.iter().map(ToString::to_string).collect();
        let lease = NewLease { shard: shard.to_owned(), parents, checkpoint: Checkpoint::TrimHorizon };
        self.leases.create(&[lease]).await.unwrap();
    }

    fn join(&mut self, workers: usize) {
        for _ in 0..workers {
            self.made += 1;
            let watch = LeaseWatch::new(EXPIRY, HANDOVER);
            let name = format!("worker {}", self.made);
            self.workers.push(Worker { name, watch, held: BTreeMap::new(), is_stubborn: false });
        }
    }

    /// Removes a random worker, which releases its leases first if `releases` is true.
    async fn leave(&mut self, releases: bool) {
        let at = self.draws.random_range(0..self.workers.len());
        let Worker { name, held, .. } = self.workers.swap_remove(at);
        if releases {
            for lease in held.into_values() {
                self.leases.release(&name, &Renewal { lease, checkpoint: None }).await.unwrap();
            }
        }
    }

    /// Lets every worker act once in each round, in a random order.
    async fn rounds(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.rounds += 1;
            self.workers.shuffle(&mut self.draws);
            for worker in &mut self.workers {
                // The clock of each worker has an origin of its own.
                let since = Duration::from_secs(worker.name.len() as u64 * 1_000) + ROUND * self.rounds;
                self.moves += worker.act(&self.leases, since).await;
            }
        }
    }

    /// Number of leases of each worker.
    fn loads(&self) -> Vec<usize> {
        self.workers.iter().map(|worker| worker.held.len()).collect()
    }

    /// Asserts that live workers hold all ready leases in equal shares, and that no lease moves any more.
    async fn assert_stable(&mut self, seed: u64) {
        let owners = async |fleet: &Self| {
            let leases = fleet.leases.leases().await.unwrap().into_iter();
            leases
                .map(|lease| (lease.shard, lease.owner, lease.next_owner, lease.counter))
                .collect::<Vec<_>>()
        };
        let before = owners(self).await;
        self.rounds(20).await;
        assert_eq!(owners(self).await, before, "seed {seed}: a lease moves");
        let all = self.leases.leases().await.unwrap();
        let unread: HashMap<_, _> =
            all.iter().filter(|lease| !lease.has_ended()).map(|lease| (&lease.shard, lease)).collect();
        for lease in unread.values() {
            let is_ready = !lease.parents.iter().any(|parent| unread.contains_key(parent));
            let holder = self.workers.iter().find(|worker| worker.held.contains_key(&lease.shard));
            let holder = holder.map(|worker| worker.name.clone());
            assert_eq!(holder.is_some(), is_ready, "seed {seed}: {lease:?}");
            assert_eq!((&lease.owner, &lease.next_owner), (&holder, &None), "seed {seed}: {lease:?}");
        }
        let loads = self.loads();
        assert!(
            loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1,
            "seed {seed}: the loads are uneven: {loads:?}"
        );
    }
}

impl Worker {
    /// Renews the leases, hands over what is claimed, and carries out the next plan. Returns the number of leases that
    /// the worker handed over or lost.
    async fn act(&mut self, store: &MemoryLeases, elapsed: Duration) -> usize {
        let mut moves = 0;
        let renewals: Vec<_> =
            self.held.values().map(|lease| Renewal { lease: lease.clone(), checkpoint: None }).collect();
        for (lease, renewed) in renewals.iter().zip(store.renew(&self.name, &renewals).await.unwrap()) {
            match renewed {
                Some(renewed) if renewed.next_owner.is_some() && !self.is_stubborn => {
                    let renewal = Renewal { lease: renewed, checkpoint: None };
                    assert!(store.release(&self.name, &renewal).await.unwrap());
                    self.held.remove(&lease.lease.shard);
                    moves += 1;
                }
                Some(renewed) => drop(self.held.insert(renewed.shard.clone(), renewed)),
                None => {
                    self.held.remove(&lease.lease.shard);
                    moves += 1;
                }
            }
        }
        let leases = store.leases().await.unwrap();
        let observation = self.watch.look(&leases, elapsed);
        let plan =
            LeasePlan::new(&leases, &observation, &self.name, |lease| self.held.contains_key(&lease.shard));
        for lease in plan.take {
            let taken =
                store.take(lease, &self.name).await.unwrap().expect("no other worker acts at the same time");
            self.held.insert(taken.shard.clone(), taken);
        }
        if let Some(lease) = plan.claim {
            assert!(store.claim(lease, &self.name).await.unwrap());
        }
        moves
    }
}

/// Returns the minimum number of moves that make `loads` even, if `free` more leases go to the workers with the least.
fn needed(loads: &[usize], free: usize) -> usize {
    let (all, workers) = (loads.iter().sum::<usize>() + free, loads.len());
    let above = loads.iter().map(|load| load.saturating_sub(all.div_ceil(workers))).sum::<usize>();
    let below = loads.iter().map(|load| (all / workers).saturating_sub(*load)).sum::<usize>();
    above.max(below.saturating_sub(free))
}

#[tokio::test]
async fn workers_that_join_and_leave_share_all_leases_with_few_moves() {
    for seed in 0..50 {
        let mut draws = StdRng::seed_from_u64(seed);
        let shards = draws.random_range(1..25);
        let mut fleet = Fleet::new(seed, shards).await;
        fleet.join(draws.random_range(1..6));
        fleet.rounds(LONG).await;
        fleet.assert_stable(seed).await;
        for _ in 0..4 {
            match draws.random_range(0..3) {
                0 => fleet.join(draws.random_range(1..4)),
                choice if fleet.workers.len() > 1 => fleet.leave(choice == 1).await,
                _ => fleet.join(1),
            }
            let (before, loads) = (fleet.moves, fleet.loads());
            let free = shards - loads.iter().sum::<usize>();
            let needed = needed(&loads, free);
            fleet.rounds(LONG).await;
            fleet.assert_stable(seed).await;
            let moves = fleet.moves - before;
            // A free lease may go to a worker with a full share first, as long as some workers do not yet know of a
            // dead worker, or of a live one that holds no lease.
            assert!(moves <= 2 * needed + free, "seed {seed}: {moves} moves, but {needed} are enough");
        }
    }
}

#[tokio::test]
async fn workers_share_all_leases_after_many_joins_and_departures() {
    for seed in 0..25 {
        let mut draws = StdRng::seed_from_u64(seed);
        let mut fleet = Fleet::new(seed, draws.random_range(1..25)).await;
        for _ in 0..30 {
            match draws.random_range(0..4) {
                0 if fleet.workers.len() > 1 => fleet.leave(true).await,
                1 if fleet.workers.len() > 1 => fleet.leave(false).await,
                _ => fleet.join(1),
            }
            fleet.rounds(draws.random_range(0..4)).await;
        }
        // A next owner may be dead as well, and the lease that it receives has to expire again.
        fleet.rounds(2 * LONG).await;
        fleet.assert_stable(seed).await;
    }
}

#[tokio::test]
async fn children_of_split_and_merged_shards_wait_for_their_parents() {
    for seed in 0..25 {
        let mut draws = StdRng::seed_from_u64(seed);
        let mut fleet = Fleet::new(seed, 4).await;
        fleet.join(draws.random_range(1..5));
        for (child, parents) in [("4", &["0"][..]), ("5", &["0"]), ("6", &["1", "2"]), ("7", &["6", "3"])] {
            fleet.shard(child, parents).await;
        }
        fleet.rounds(LONG).await;
        fleet.assert_stable(seed).await;
        let mut ends = ["0", "1", "2"];
        ends.shuffle(&mut draws);
        for shard in ends.into_iter().chain(["6", "3"]) {
            let worker = fleet.workers.iter_mut().find(|worker| worker.held.contains_key(shard)).unwrap();
            let renewal =
                Renewal { lease: worker.held.remove(shard).unwrap(), checkpoint: Some(Checkpoint::End) };
            assert!(fleet.leases.release(&worker.name, &renewal).await.unwrap());
            if draws.random() {
                fleet.leases.remove(&[shard.to_owned()]).await.unwrap();
            }
            fleet.rounds(LONG).await;
            fleet.assert_stable(seed).await;
        }
        assert_eq!(fleet.loads().iter().sum::<usize>(), 3, "4, 5 and 7 are left");
    }
}

#[tokio::test]
async fn overdue_leases_are_taken_from_a_worker_that_hands_none_over() {
    for seed in 0..20 {
        let mut fleet = Fleet::new(seed, 9).await;
        fleet.join(1);
        fleet.workers[0].is_stubborn = true;
        fleet.rounds(LONG).await;
        fleet.join(2);
        fleet.rounds(LONG).await;
        fleet.assert_stable(seed).await;
        assert_eq!(fleet.moves, 6);
    }
}

//! The in-memory reference for leases, with one defect at a time.

pub(crate) mod claiming;
pub(crate) mod creating;
mod defect;
pub(crate) mod releasing;
pub(crate) mod renewing;
mod sound;
pub(crate) mod taking;
pub(crate) mod visibility;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsrc_core::lease::{Lease, LeaseStore, MemoryLeases, NewLease, Renewal};
use eventsrc_testkit::conformance::LeaseBackend;
use tokio::sync::Semaphore;

pub(crate) use defect::{Answer, Defect};
pub(crate) use sound::{Sound, is_held};

/// A rule, the description of the defect, and the defect.
pub(crate) type Proof = (&'static str, &'static str, Defect);

/// The backend of stores with one defect.
pub(crate) struct WrongBackend(pub(crate) Defect);

/// State shared by all handles.
#[derive(Default)]
pub(crate) struct Shared {
    leases: MemoryLeases,
    noted: Mutex<BTreeSet<String>>,
}

impl LeaseBackend for WrongBackend {
    type Store = Wrong;
    type Location = Arc<Shared>;

    async fn create(&self) -> Self::Location {
        Arc::default()
    }

    async fn open(&self, place: &Self::Location) -> Wrong {
        Wrong { shared: Arc::clone(place), defect: self.0, known: Mutex::default(), lock: Semaphore::new(1) }
    }
}

/// A handle.
pub(crate) struct Wrong {
    shared: Arc<Shared>,
    defect: Defect,
    /// The leases that this handle has seen since its last write, for defects that use it.
    known: Mutex<Option<Vec<Lease>>>,
    lock: Semaphore,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wrong {
    fn sound(&self) -> Sound<'_> {
        Sound::new(self)
    }

    /// The leases that a call finds at its start. Other calls may run in between.
    async fn looks(&self) -> Sound<'_> {
        let found = self.sound();
        tokio::task::yield_now().await;
        found
    }
}

impl LeaseStore for Wrong {
    async fn leases(&self) -> Answer<Vec<Lease>> {
        match self.defect {
            Defect::Leases(leases) => leases(&self.sound()),
            _ => self.shared.leases.leases().await,
        }
    }

    async fn create(&self, leases: &[NewLease]) -> Answer<()> {
        locked(&self.known).take();
        match self.defect {
            Defect::Create(create) => create(&self.looks().await, leases),
            _ => self.shared.leases.create(leases).await,
        }
    }

    async fn take(&self, lease: &Lease, worker: &str) -> Answer<Option<Lease>> {
        locked(&self.known).take();
        match self.defect {
            Defect::Take(take) => take(&self.looks().await, lease, worker),
            Defect::TakeInTurn(take) => {
                let _alone = self.lock.acquire().await.expect("open");
                take(&self.looks().await, lease, worker)
            }
            _ => self.shared.leases.take(lease, worker).await,
        }
    }

    async fn claim(&self, lease: &Lease, worker: &str) -> Answer<bool> {
        locked(&self.known).take();
        match self.defect {
            Defect::Claim(claim) => claim(&self.looks().await, lease, worker),
            _ => self.shared.leases.claim(lease, worker).await,
        }
    }

    async fn renew(&self, worker: &str, held: &[Renewal]) -> Answer<Vec<Option<Lease>>> {
        locked(&self.known).take();
        match self.defect {
            Defect::Renew(renew) => renew(&self.looks().await, worker, held),
            Defect::RenewEach(renew) => {
                let on = self.looks().await;
                held.iter().map(|renewal| renew(&on, worker, renewal)).collect()
            }
            _ => self.shared.leases.renew(worker, held).await,
        }
    }

    async fn release(&self, worker: &str, lease: &Renewal) -> Answer<bool> {
        locked(&self.known).take();
        match self.defect {
            Defect::Release(release) => release(&self.looks().await, worker, lease),
            _ => self.shared.leases.release(worker, lease).await,
        }
    }

    async fn remove(&self, shards: &[String]) -> Answer<()> {
        locked(&self.known).take();
        match self.defect {
            Defect::Remove(remove) => remove(&self.looks().await, shards),
            _ => self.shared.leases.remove(shards).await,
        }
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        if let Defect::Dropped(dropped) = self.defect {
            dropped(&self.sound());
        }
    }
}

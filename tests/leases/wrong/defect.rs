//! The defects of a lease store.

use eventsrc_core::StorageError;
use eventsrc_core::lease::{Lease, NewLease, Renewal};

use super::Sound;

pub(crate) type Answer<T> = Result<T, StorageError>;

/// A defect of the store: what it does instead of the reference.
#[derive(Clone, Copy)]
pub(crate) enum Defect {
    /// No defect.
    None,
    /// It changes the list of leases.
    Leases(fn(&Sound<'_>) -> Answer<Vec<Lease>>),
    /// It changes how leases are created.
    Create(fn(&Sound<'_>, &[NewLease]) -> Answer<()>),
    /// It changes how leases are taken.
    Take(fn(&Sound<'_>, &Lease, &str) -> Answer<Option<Lease>>),
    /// It changes how leases are taken, and the calls of a handle run one after the other.
    TakeInTurn(fn(&Sound<'_>, &Lease, &str) -> Answer<Option<Lease>>),
    /// It changes how leases are claimed.
    Claim(fn(&Sound<'_>, &Lease, &str) -> Answer<bool>),
    /// It changes how leases are renewed.
    Renew(fn(&Sound<'_>, &str, &[Renewal]) -> Answer<Vec<Option<Lease>>>),
    /// It changes how each lease is renewed.
    RenewEach(fn(&Sound<'_>, &str, &Renewal) -> Answer<Option<Lease>>),
    /// It changes how leases are released.
    Release(fn(&Sound<'_>, &str, &Renewal) -> Answer<bool>),
    /// It changes how leases are removed.
    Remove(fn(&Sound<'_>, &[String]) -> Answer<()>),
    /// It acts when a handle is dropped.
    Dropped(fn(&Sound<'_>)),
}

//! The ways in which a store for leases can be wrong.

use eventsrc_core::StorageError;
use eventsrc_core::lease::{Lease, NewLease, Renewal};

use super::Sound;

pub(crate) type Answer<T> = Result<T, StorageError>;

/// In which way the store is wrong: what it does instead of what the reference does.
#[derive(Clone, Copy)]
pub(crate) enum Defect {
    /// In none.
    None,
    /// It lists other leases.
    Leases(fn(&Sound<'_>) -> Answer<Vec<Lease>>),
    /// It makes leases in its own way.
    Create(fn(&Sound<'_>, &[NewLease]) -> Answer<()>),
    /// It takes in its own way.
    Take(fn(&Sound<'_>, &Lease, &str) -> Answer<Option<Lease>>),
    /// So it does, and a handle makes one call after the other.
    TakeInTurn(fn(&Sound<'_>, &Lease, &str) -> Answer<Option<Lease>>),
    /// It has other ideas of heirs.
    Claim(fn(&Sound<'_>, &Lease, &str) -> Answer<bool>),
    /// It renews in its own way.
    Renew(fn(&Sound<'_>, &str, &[Renewal]) -> Answer<Vec<Option<Lease>>>),
    /// It renews each lease in its own way.
    RenewEach(fn(&Sound<'_>, &str, &Renewal) -> Answer<Option<Lease>>),
    /// It releases in its own way.
    Release(fn(&Sound<'_>, &str, &Renewal) -> Answer<bool>),
    /// It forgets in its own way.
    Remove(fn(&Sound<'_>, &[String]) -> Answer<()>),
    /// It does something when a handle goes.
    Dropped(fn(&Sound<'_>)),
}

//! The stream that benchmarks fold and decode: events of an account, of realistic size and variety.

use std::sync::Arc;

use eventsrc_core::commit::{Payloads, Vec1};
use eventsrc_core::{Commit, CommitId, Event, Fold, Metadata, StreamName, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An event of an account: 72 bytes in memory, about 120 as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Opened { owner: String, limit: i64 },
    Deposited { amount: i64, from: String, reference: String },
    Withdrawn { amount: i64, fee: i64, to: String, reference: String },
    OwnerSet { owner: String, email: String },
    LimitSet { limit: i64 },
    Closed { reason: String },
}

/// Value of the fold. It has no text, so that the loop and not the allocator determines the cost of a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Account {
    pub(crate) balance: i64,
    pub(crate) limit: i64,
    pub(crate) fees: i64,
    pub(crate) overdrawn: u64,
    pub(crate) owners: u64,
}

/// The `match` that both sides of a benchmark compile.
#[inline]
pub(crate) fn apply(account: &mut Option<Account>, event: &AccountEvent) {
    match (event, &mut *account) {
        (AccountEvent::Opened { limit, .. }, _) => {
            *account = Some(Account { limit: *limit, owners: 1, ..Account::default() });
        }
        (AccountEvent::Deposited { amount, .. }, Some(account)) => account.balance += amount,
        (AccountEvent::Withdrawn { amount, fee, .. }, Some(account)) => {
            account.balance -= amount + fee;
            account.fees += fee;
            account.overdrawn += u64::from(account.balance < -account.limit);
        }
        (AccountEvent::OwnerSet { .. }, Some(account)) => account.owners += 1,
        (AccountEvent::LimitSet { limit }, Some(account)) => account.limit = *limit,
        (AccountEvent::Closed { .. }, _) => *account = None,
        (_, None) => {}
    }
}

/// The same `match` as a fold.
pub(crate) struct Statement;

impl Fold<StreamName, u64, AccountEvent> for Statement {
    type Key = StreamName;
    type Value = Account;

    fn apply(
        &self,
        _: &StreamName,
        value: &mut Option<Account>,
        event: Event<'_, StreamName, u64, AccountEvent>,
    ) {
        apply(value, event.payload);
    }
}

/// Key of the stream of the events.
pub(crate) fn key() -> StreamName {
    StreamName::new("account", "DE89370400440532013000").expect("the name is well-formed")
}

/// Returns the first `count` events of an account that is never closed. They are the same in each call.
pub(crate) fn events(count: usize) -> impl Iterator<Item = AccountEvent> {
    (0..count).map(|index| {
        let number = index as i64;
        // A fixed pattern without a short period, so that branch prediction is not trivial.
        let kind = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59;
        match kind {
            _ if index == 0 => AccountEvent::Opened { owner: "Ada Lovelace".into(), limit: 100_000 },
            0..12 => AccountEvent::Deposited {
                amount: 12_345 + number % 1_000,
                from: format!("GB29NWBK60161331926{:03}", number % 1_000),
                reference: format!("invoice {number:08} of the analytical engine"),
            },
            12..26 => AccountEvent::Withdrawn {
                amount: 11_000 + number % 1_000,
                fee: 25,
                to: format!("FR14200410100505000{:03}", number % 1_000),
                reference: format!("order {number:08} of punched cards"),
            },
            26..29 => AccountEvent::OwnerSet {
                owner: format!("Ada Lovelace, countess {number}"),
                email: format!("ada.{number}@analytical-engine.example"),
            },
            _ => AccountEvent::LimitSet { limit: 100_000 + number % 50_000 },
        }
    })
}

/// Returns the same events in commits of `size` events.
pub(crate) fn commits(
    count: usize,
    size: usize,
) -> impl Iterator<Item = Arc<Commit<StreamName, u64, AccountEvent>>> {
    let mut events = events(count);
    let mut first = 1;
    std::iter::from_fn(move || {
        let payloads = Vec1::try_from_vec(events.by_ref().take(size).collect()).ok()?;
        let commit = commit(key(), first, payloads);
        first += commit.len() as u64;
        Some(Arc::new(commit))
    })
}

/// Creates a commit whose id and time are derived from its first sequence.
pub(crate) fn commit<E>(
    key: StreamName,
    first: u64,
    payloads: impl Into<Payloads<E>>,
) -> Commit<StreamName, u64, E> {
    let time = Timestamp::from_second(1_700_000_000 + first as i64).expect("the time is in range");
    Commit { key, first, previous: None, time, metadata: Metadata::new(id(first)), payloads: payloads.into() }
}

/// Creates a commit id from a number.
pub(crate) fn id(number: u64) -> CommitId {
    CommitId(Uuid::from_u64_pair(0x0193_d6a0_0000_7000, 0x8000_0000_0000_0000 | number))
}

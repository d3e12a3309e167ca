//! The streams that these tests save to: a directory of entries, with several keys on one stream.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::save::{PreconditionFailed, SaveSettings};
use eventsrc_core::storage::CountingStorage;
use eventsrc_core::{Event, Fold, MemoryStorage, Outcome, QueryApi, SaveApi, StreamKey, Timestamp};
use futures::future::BoxFuture;

/// A directory: one stream for each first letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Letter(pub(crate) char);

impl StreamKey for Letter {
    fn category(&self) -> &str {
        "letter"
    }

    fn id(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        let mut letters = id.chars();
        let letter = letters.next()?;
        (category == "letter" && letters.next().is_none()).then_some(Self(letter))
    }
}

/// An event of a directory: an entry is added or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Set { name: String, value: u32 },
    Deleted { name: String },
}

pub(crate) fn set(name: &str, value: u32) -> Entry {
    Entry::Set { name: name.into(), value }
}

pub(crate) fn deleted(name: &str) -> Entry {
    Entry::Deleted { name: name.into() }
}

/// The value of one name: many query keys on one stream.
pub(crate) struct ByName;

impl Fold<Letter, u64, Entry> for ByName {
    type Key = String;
    type Value = u32;

    fn apply(&self, key: &String, value: &mut Option<u32>, event: Event<'_, Letter, u64, Entry>) {
        match event.payload {
            Entry::Set { name, value: new } if name == key => *value = Some(*new),
            Entry::Deleted { name } if name == key => *value = None,
            Entry::Set { .. } | Entry::Deleted { .. } => {}
        }
    }
}

pub(crate) type Directory = Arc<CountingStorage<MemoryStorage<Letter, u64, Entry>>>;

pub(crate) const A: Letter = Letter('a');

pub(crate) fn directory() -> Directory {
    Arc::new(CountingStorage::new(MemoryStorage::default()))
}

pub(crate) fn by_name(directory: Directory) -> QueryApi<Directory, ByName> {
    QueryApi::keyed(directory, ByName, |name: &String| Letter(name.chars().next().unwrap_or('?')))
}

/// A `SaveApi` with its own randomness, so that no two of them generate the same commit ids.
pub(crate) fn saves<St: eventsrc_core::EventStorage>(storage: St) -> SaveApi<St> {
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    let randomness = Randomness::seeded(WRITERS.fetch_add(1, Ordering::Relaxed));
    SaveApi::with(storage, SaveSettings::default(), Arc::new(StepClock::default()), Arc::new(randomness))
}

/// A clock that advances by one second at each reading. Its sleeps return at once.
#[derive(Debug, Default)]
pub(crate) struct StepClock(AtomicI64);

impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        second(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn sleep(&self, _: std::time::Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::task::yield_now())
    }
}

pub(crate) fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a second in range")
}

pub(crate) fn sequence<R: std::fmt::Debug>(outcome: Outcome<R>) -> u64 {
    match outcome {
        Outcome::Saved(saved) => saved.sequence,
        other => panic!("nothing was saved: {other:?}"),
    }
}

pub(crate) fn reasons<R: std::fmt::Debug>(outcome: Outcome<R>) -> Vec<R> {
    match outcome {
        Outcome::Rejected { reasons, .. } => reasons.into(),
        other => panic!("not rejected: {other:?}"),
    }
}

pub(crate) fn moved(expected: Option<u64>, actual: Option<u64>) -> Vec<PreconditionFailed> {
    let text = |sequence: Option<u64>| sequence.map(|sequence| sequence.to_string());
    vec![PreconditionFailed::Moved { expected: text(expected), actual: text(actual) }]
}

//! A storage of `u64` sequences with one defect at a time, and the proofs of the rules about numbers that are no
//! sequences.

use std::sync::Arc;

use eventsrc_core::storage::{CommitOf, PageOf, Put, PutOf};
use eventsrc_core::{ErrorKind, EventStorage, Head, MemoryStorage, StorageError};
use eventsrc_testkit::conformance::{Backend, Capabilities, Sample, SampleKey};
use futures::stream::BoxStream;

type Memory = MemoryStorage<SampleKey, u64, Sample>;

/// A rule, the description of the defect, and the defect.
pub(crate) type Proof = (&'static str, &'static str, NumberDefect);

/// A defect of the storage.
#[derive(Clone, Copy)]
pub(crate) enum NumberDefect {
    /// No defect.
    None,
    /// It answers some puts with `Stored`.
    Acknowledge(fn(&CommitOf<Memory>) -> bool),
    /// It stores the events that have a sequence, and refuses the commit.
    StoreTheRest,
}

pub(crate) fn proofs() -> Vec<Proof> {
    use NumberDefect::{Acknowledge, StoreTheRest};
    vec![
        (
            "a_commit_before_the_first_sequence_is_refused",
            "0 is a sequence like any other",
            Acknowledge(|commit| commit.first == 0),
        ),
        (
            "a_commit_before_the_first_sequence_is_refused",
            "only the last event is looked at",
            Acknowledge(|commit| commit.first == 0 && commit.len() > 1),
        ),
        (
            "a_commit_past_the_last_number_is_refused",
            "the last number is computed with an overflow",
            Acknowledge(|commit| commit.first.wrapping_add(commit.len() as u64) < commit.first),
        ),
        (
            "a_commit_before_the_first_sequence_changes_nothing",
            "the events that have a sequence are stored",
            StoreTheRest,
        ),
    ]
}

/// The backend of these storages.
pub(crate) struct WrongNumberBackend(pub(crate) NumberDefect);

impl Backend for WrongNumberBackend {
    type Storage = WrongNumbers;
    type Location = Arc<Memory>;

    fn capabilities(&self) -> Capabilities {
        Capabilities { decodes: false, ..Capabilities::ALL }
    }

    async fn create(&self) -> Self::Location {
        Arc::default()
    }

    async fn open(&self, memory: &Self::Location) -> WrongNumbers {
        WrongNumbers { memory: Arc::clone(memory), defect: self.0 }
    }
}

pub(crate) struct WrongNumbers {
    memory: Arc<Memory>,
    defect: NumberDefect,
}

impl EventStorage for WrongNumbers {
    type Key = SampleKey;
    type Sequence = u64;
    type Payload = Sample;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        match self.defect {
            NumberDefect::Acknowledge(is_stored) if is_stored(&commit) => return Ok(Put::Stored),
            NumberDefect::StoreTheRest if commit.first == 0 && commit.len() > 1 => {
                let mut rest = (*commit).clone();
                let payloads: Vec<_> = rest.payloads.into_iter().skip(1).collect();
                (rest.first, rest.payloads) = (1, payloads.try_into().expect("one event is left"));
                drop(self.memory.put(rest.into()).await?);
                return Err(StorageError::new(ErrorKind::Invalid, "refused").on(&commit.key));
            }
            _ => {}
        }
        self.memory.put(commit).await
    }

    async fn recent(&self, key: &SampleKey, count: usize) -> Result<Vec<Head<u64>>, StorageError> {
        self.memory.recent(key, count).await
    }

    fn events(
        &self,
        key: &SampleKey,
        from: Option<u64>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.memory.events(key, from)
    }
}

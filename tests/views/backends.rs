//! The in-memory view stores for the conformance suite. The SQL ones are next to their other tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use eventsrc_core::clock::SystemClock;
use eventsrc_core::view::{MemoryView, StreamPosition, ViewError, ViewStore};
use eventsrc_core::{Event, Sequence, StorageError, StreamName, ViewDefinition};
use eventsrc_testkit::conformance::{
    SampleKey, ViewBackend, ViewCapabilities, ViewRows, ViewSample, ViewSequenceOf,
};
use eventsrc_testkit::{Faults, FaultyView};
use futures::FutureExt;
use futures::future::BoxFuture;

type Memory<S> = Arc<MemoryView<SampleKey, S, ViewSample, ViewRows>>;

/// Views over shared memory.
pub(super) struct InMemory<S, V>(fn(Memory<S>) -> V, fn(&V) -> &Memory<S>);

pub(super) fn memory<S: Sequence>() -> InMemory<S, Memory<S>> {
    InMemory(|memory| memory, |memory| memory)
}

pub(super) fn faulty_without_faults<S: Sequence>() -> InMemory<S, FaultyView<Memory<S>>> {
    InMemory(|memory| FaultyView::new(memory, Faults::none(), Arc::new(SystemClock)), FaultyView::view)
}

fn write<S: Sequence>(
    rows: &mut ViewRows,
    event: Event<'_, SampleKey, S, ViewSample>,
) -> Result<(), ViewError> {
    for line in ViewSample::lines(&event) {
        let line = line?;
        rows.entry(line.name).or_default().push_str(&line.text.unwrap_or_default());
    }
    Ok(())
}

impl<S, V> ViewBackend for InMemory<S, V>
where
    S: Sequence,
    V: ViewStore<Key = SampleKey, Sequence = S, Payload = ViewSample>,
{
    type Store = V;
    type Location = Mutex<HashMap<ViewDefinition, Memory<S>>>;

    fn capabilities(&self) -> ViewCapabilities {
        ViewCapabilities {
            has_tables: false,
            has_rules: false,
            has_rules_at_the_end: false,
            can_be_interrupted: false,
        }
    }

    async fn create(&self) -> Self::Location {
        Mutex::default()
    }

    async fn open(&self, place: &Self::Location, definition: &ViewDefinition) -> V {
        let mut views = place.lock().expect("nothing panics with it");
        let new = || Arc::new(MemoryView::new(definition.clone(), write::<S>));
        (self.0)(Arc::clone(views.entry(definition.clone()).or_insert_with(new)))
    }

    async fn rows(&self, store: &V) -> Result<ViewRows, StorageError> {
        Ok((self.1)(store).read(&[], ViewRows::clone).1)
    }

    async fn read(
        &self,
        store: &V,
        streams: &[StreamName],
    ) -> Result<(Vec<StreamPosition<ViewSequenceOf<Self>>>, ViewRows), StorageError> {
        Ok((self.1)(store).read(streams, ViewRows::clone))
    }

    async fn interrupt(&self, _: &Self::Location) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }

    async fn hide_table(&self, _: &Self::Location, _: &ViewDefinition) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

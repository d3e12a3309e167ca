//! A view backend whose stores inject faults.

use std::sync::Arc;

use eventsrc_core::view::StreamPosition;
use eventsrc_core::{StorageError, StreamName, ViewDefinition};
use futures::future::BoxFuture;

use super::backend::{ViewBackend, ViewCapabilities, ViewRows, ViewSequenceOf};
use crate::faulty::{FaultSource, FaultyView};

/// A backend whose view stores inject faults. Rows are read without faults.
///
/// All handles draw from one source, so one seed determines the faults of a whole suite.
#[derive(Debug)]
pub struct FaultyViewBackend<B> {
    backend: Arc<B>,
    source: Arc<FaultSource>,
}

impl<B> FaultyViewBackend<B> {
    /// Wraps `backend` with faults from `source`.
    pub fn new(backend: Arc<B>, source: Arc<FaultSource>) -> Self {
        Self { backend, source }
    }
}

impl<B: ViewBackend> ViewBackend for FaultyViewBackend<B> {
    type Store = FaultyView<B::Store>;
    type Location = B::Location;

    fn capabilities(&self) -> ViewCapabilities {
        self.backend.capabilities()
    }

    async fn create(&self) -> Self::Location {
        self.backend.create().await
    }

    async fn open(&self, location: &Self::Location, definition: &ViewDefinition) -> Self::Store {
        FaultyView::with(self.backend.open(location, definition).await, Arc::clone(&self.source))
    }

    async fn rows(&self, store: &Self::Store) -> Result<ViewRows, StorageError> {
        self.backend.rows(store.view()).await
    }

    async fn read(
        &self,
        store: &Self::Store,
        streams: &[StreamName],
    ) -> Result<(Vec<StreamPosition<ViewSequenceOf<Self>>>, ViewRows), StorageError> {
        self.backend.read(store.view(), streams).await
    }

    async fn interrupt(&self, location: &Self::Location) -> BoxFuture<'static, ()> {
        self.backend.interrupt(location).await
    }

    async fn hide_table(
        &self,
        location: &Self::Location,
        definition: &ViewDefinition,
    ) -> BoxFuture<'static, ()> {
        self.backend.hide_table(location, definition).await
    }
}

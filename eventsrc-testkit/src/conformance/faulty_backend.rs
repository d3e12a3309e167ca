//! Backends whose storages inject faults.

use std::sync::Arc;

use super::backend::{Backend, Capabilities, SnapshotBackend, SnapshotCapabilities};
use crate::faulty::{FaultSource, Faulty, FaultySnapshots};

/// A backend whose event storages inject faults.
///
/// All handles draw from one source, so one seed determines the faults of a whole suite.
#[derive(Debug)]
pub struct FaultyBackend<B> {
    backend: Arc<B>,
    source: Arc<FaultSource>,
}

impl<B> FaultyBackend<B> {
    /// Wraps `backend` with faults from `source`.
    pub fn new(backend: Arc<B>, source: Arc<FaultSource>) -> Self {
        Self { backend, source }
    }
}

impl<B: Backend> Backend for FaultyBackend<B> {
    type Storage = Faulty<B::Storage>;
    type Location = B::Location;

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    async fn create(&self) -> Self::Location {
        self.backend.create().await
    }

    async fn open(&self, location: &Self::Location) -> Self::Storage {
        Faulty::with(self.backend.open(location).await, Arc::clone(&self.source))
    }
}

/// A backend whose snapshot storages inject faults.
///
/// All handles draw from one source, so one seed determines the faults of a whole suite.
#[derive(Debug)]
pub struct FaultySnapshotBackend<B> {
    backend: Arc<B>,
    source: Arc<FaultSource>,
}

impl<B> FaultySnapshotBackend<B> {
    /// Wraps `backend` with faults from `source`.
    pub fn new(backend: Arc<B>, source: Arc<FaultSource>) -> Self {
        Self { backend, source }
    }
}

impl<B: SnapshotBackend> SnapshotBackend for FaultySnapshotBackend<B> {
    type Storage = FaultySnapshots<B::Storage>;
    type Location = B::Location;

    fn capabilities(&self) -> SnapshotCapabilities {
        self.backend.capabilities()
    }

    async fn create(&self) -> Self::Location {
        self.backend.create().await
    }

    async fn open(&self, location: &Self::Location, name: &str) -> Self::Storage {
        FaultySnapshots::with(self.backend.open(location, name).await, Arc::clone(&self.source))
    }
}

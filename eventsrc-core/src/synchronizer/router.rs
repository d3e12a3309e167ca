//! Routing of requests to workers.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use tokio::sync::mpsc;

use super::pending_ack::PendingAck;
use super::worker::Request;
use crate::stream::StreamName;
use crate::view::ViewStore;

/// Capacity of a worker's request queue. Senders wait while it is full.
pub(super) const QUEUED_REQUESTS: usize = 32;

/// Sends each request to the worker that owns its stream.
pub(super) struct Router<V: ViewStore> {
    pub(super) workers: Vec<mpsc::Sender<Request<V>>>,
    /// Queue of requested sweeps. The acknowledgement waits for the streams that the sweep finds behind.
    pub(super) sweeps: mpsc::Sender<PendingAck>,
}

impl<V: ViewStore> Router<V> {
    /// Returns the index of the worker that owns the stream.
    pub(super) fn worker_of(&self, stream: &StreamName) -> usize {
        if self.workers.len() == 1 {
            return 0;
        }
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(stream);
        (hash % self.workers.len() as u64) as usize
    }

    /// Sends a request about `stream` to its worker. Returns false if the workers have stopped.
    pub(super) async fn send(&self, stream: &StreamName, request: Request<V>) -> bool {
        self.workers[self.worker_of(stream)].send(request).await.is_ok()
    }
}

impl<V: ViewStore> Clone for Router<V> {
    fn clone(&self) -> Self {
        Self { workers: self.workers.clone(), sweeps: self.sweeps.clone() }
    }
}

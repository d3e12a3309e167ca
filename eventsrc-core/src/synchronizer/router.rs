//! Handing requests to the worker whose stream they are about.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use tokio::sync::mpsc;

use super::pending_ack::PendingAck;
use super::worker::Request;
use crate::stream::StreamName;
use crate::view::ViewStore;

/// How many requests wait for a worker before those who ask have to.
pub(super) const REQUESTS: usize = 32;

/// Where requests are handed to the worker whose stream they are about.
pub(super) struct Router<V: ViewStore> {
    pub(super) workers: Vec<mpsc::Sender<Request<V>>>,
    /// Where a sweep is asked for, of which whatever it finds is a part of the delivery.
    pub(super) sweeps: mpsc::Sender<PendingAck>,
}

impl<V: ViewStore> Router<V> {
    /// Which worker has this stream.
    pub(super) fn worker_of(&self, stream: &StreamName) -> usize {
        if self.workers.len() == 1 {
            return 0;
        }
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(stream);
        (hash % self.workers.len() as u64) as usize
    }

    /// Hands over a request about `stream`; false if the workers have stopped.
    pub(super) async fn ask(&self, stream: &StreamName, request: Request<V>) -> bool {
        self.workers[self.worker_of(stream)].send(request).await.is_ok()
    }
}

impl<V: ViewStore> Clone for Router<V> {
    fn clone(&self) -> Self {
        Self { workers: self.workers.clone(), sweeps: self.sweeps.clone() }
    }
}

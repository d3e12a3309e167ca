//! The streams of a writer: what it remembers of each, and the queue of the saves that wait for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::recent_ids::RecentIds;
use crate::commit::Head;
use crate::stream::StreamKey;

/// Streams of a writer. One save of a stream runs at a time, and the others wait in order, so that the writers of one
/// process do not conflict with each other.
pub(super) struct Streams<K, S> {
    remembered: Cache<K, Remembered<S>>,
    queues: Mutex<HashMap<K, Queue>>,
    /// Largest number of saves of one stream, the running one included.
    limit: usize,
}

/// What a writer remembers of a stream. It may be stale.
#[derive(Debug, Clone)]
pub(super) struct Remembered<S> {
    /// Latest head that a save of this writer has seen.
    pub(super) head: Option<Head<S>>,
    /// Ids of the last commits; `None` until a save with an idempotency key needs them.
    pub(super) recent: Option<RecentIds<S>>,
    /// True after a put whose result is unknown or that was repeated: the stream has probably gone on, and the next save
    /// reads it first.
    pub(super) is_doubtful: bool,
}

impl<S> Default for Remembered<S> {
    fn default() -> Self {
        Self { head: None, recent: None, is_doubtful: false }
    }
}

/// Queue of one stream. It exists while the stream has a save.
#[derive(Default)]
struct Queue {
    turn: Arc<AsyncMutex<()>>,
    saves: usize,
}

impl<K: StreamKey, S: Clone> Streams<K, S> {
    /// Creates the streams of a writer that remembers up to `remembered` of them. Up to `limit` saves of a stream wait.
    pub(super) fn new(remembered: usize, limit: usize) -> Self {
        Self { remembered: Cache::new(remembered), queues: Mutex::default(), limit: limit.saturating_add(1) }
    }

    /// Waits for the turn of a save. Returns `None` at once if too many saves of the stream wait.
    pub(super) async fn enter<'a>(&'a self, key: &'a K) -> Option<Turn<'a, K, S>> {
        let lock = {
            let mut queues = self.queues();
            let queue = queues.entry(key.clone()).or_default();
            if queue.saves >= self.limit {
                return None;
            }
            queue.saves += 1;
            Arc::clone(&queue.turn)
        };
        let mut turn = Turn { streams: self, key, guard: None, remembered: Remembered::default() };
        turn.guard = Some(lock.lock_owned().await);
        if let Some((_, remembered)) = self.remembered.remove(key) {
            turn.remembered = remembered;
        }
        Some(turn)
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<K, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turn of one save on its stream. When it is dropped, the next save gets its turn, with what this one remembers.
pub(super) struct Turn<'a, K: StreamKey, S: Clone> {
    streams: &'a Streams<K, S>,
    key: &'a K,
    /// `None` while the save waits.
    guard: Option<OwnedMutexGuard<()>>,
    pub(super) remembered: Remembered<S>,
}

impl<K: StreamKey, S: Clone> Drop for Turn<'_, K, S> {
    fn drop(&mut self) {
        if self.guard.is_some() && self.remembered.head.is_some() {
            self.streams.remembered.insert(self.key.clone(), std::mem::take(&mut self.remembered));
        }
        drop(self.guard.take());
        let mut queues = self.streams.queues();
        if let Some(queue) = queues.get_mut(self.key) {
            queue.saves -= 1;
            if queue.saves == 0 {
                queues.remove(self.key);
            }
        }
    }
}

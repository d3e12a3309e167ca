//! Progress of one shard: its deliveries, their acknowledgements, and the checkpoint.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsrc_core::feed::Acknowledgement;
use eventsrc_core::lease::{Checkpoint, ShardPosition};
use tokio::sync::Notify;

/// Deliveries of one shard that the checkpoint does not cover yet. Deliveries are acknowledged in any order. The checkpoint
/// is a watermark: it ends right before the first unacknowledged delivery.
pub(super) struct Progress {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// Deliveries after the checkpoint, in order.
    pending: VecDeque<PendingDelivery>,
    /// Number of the first pending delivery.
    first: u64,
    checkpoint: Checkpoint,
    /// True if an acknowledgement was dropped unused.
    has_dropped: bool,
}

struct PendingDelivery {
    /// Position of its last record; `None` if it was not made from records.
    position: Option<ShardPosition>,
    is_acknowledged: bool,
}

impl Progress {
    pub(super) fn new(checkpoint: Checkpoint) -> Arc<Self> {
        let state = State { pending: VecDeque::new(), first: 0, checkpoint, has_dropped: false };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// Registers the next delivery, which ends at `position`, and returns its acknowledgement.
    pub(super) fn register(self: &Arc<Self>, position: Option<ShardPosition>) -> Acknowledgement {
        let mut state = self.state();
        let number = state.first + state.pending.len() as u64;
        state.pending.push_back(PendingDelivery { position, is_acknowledged: false });
        let pending_ack = PendingAck { progress: Arc::clone(self), number, is_acknowledged: false };
        Acknowledgement::new(move || pending_ack.acknowledge())
    }

    /// Registers records up to `position` that contain no change; they need no acknowledgement.
    pub(super) fn pass_over(self: &Arc<Self>, position: ShardPosition) {
        self.register(Some(position)).acknowledge();
    }

    /// Point up to which all deliveries are acknowledged.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.state().checkpoint.clone()
    }

    /// Number of deliveries after the checkpoint.
    pub(super) fn unacknowledged(&self) -> usize {
        self.state().pending.len()
    }

    /// True if an acknowledgement was dropped unused.
    pub(super) fn has_dropped(&self) -> bool {
        self.state().has_dropped
    }

    /// Waits until fewer than `limit` deliveries are pending. Returns false if an acknowledgement was dropped unused.
    pub(super) async fn wait_for_room(&self, limit: usize) -> bool {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                if state.has_dropped {
                    return false;
                }
                if state.pending.len() < limit.max(1) {
                    return true;
                }
            }
            changed.await;
        }
    }

    /// Waits until all deliveries are acknowledged. Returns false if an acknowledgement was dropped unused.
    pub(super) async fn wait_for_all(&self) -> bool {
        self.wait_for_room(1).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn acknowledge(&mut self, number: u64) {
        let index = usize::try_from(number - self.first).expect("pending deliveries fit into memory");
        self.pending[index].is_acknowledged = true;
        while self.pending.front().is_some_and(|delivery| delivery.is_acknowledged) {
            let delivery = self.pending.pop_front().expect("there is a first delivery");
            self.first += 1;
            if let Some(position) = delivery.position {
                self.checkpoint = Checkpoint::After(position);
            }
        }
    }
}

/// Acknowledgement of one delivery, before it is used or dropped.
struct PendingAck {
    progress: Arc<Progress>,
    number: u64,
    is_acknowledged: bool,
}

impl PendingAck {
    fn acknowledge(mut self) {
        self.is_acknowledged = true;
        self.progress.state().acknowledge(self.number);
        self.progress.changed.notify_waiters();
    }
}

impl Drop for PendingAck {
    fn drop(&mut self) {
        if !self.is_acknowledged {
            self.progress.state().has_dropped = true;
            self.progress.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn position(number: usize) -> ShardPosition {
        ShardPosition { sequence_number: number.to_string().into(), part: 0, time: None }
    }

    proptest! {
        #[test]
        fn the_checkpoint_ends_before_the_first_unacknowledged_delivery(
            order in Just((0..20).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let progress = Progress::new(Checkpoint::TrimHorizon);
            let mut pending: Vec<_> = (0..20).map(|number| Some(progress.register(Some(position(number))))).collect();
            for next in order {
                pending[next].take().unwrap().acknowledge();
                let missing = pending.iter().position(Option::is_some).unwrap_or(20);
                let last = missing.checked_sub(1);
                let expected = last.map_or(Checkpoint::TrimHorizon, |last| Checkpoint::After(position(last)));
                prop_assert_eq!(progress.checkpoint(), expected);
                prop_assert_eq!(progress.unacknowledged(), 20 - missing);
            }
            prop_assert_eq!(progress.wait_for_all().now_or_never(), Some(true));
        }
    }

    #[test]
    fn a_dropped_acknowledgement_stops_the_checkpoint() {
        let progress = Progress::new(Checkpoint::TrimHorizon);
        progress.pass_over(position(1));
        let dropped = progress.register(Some(position(2)));
        assert_eq!(progress.wait_for_room(2).now_or_never(), Some(true));
        assert_eq!(progress.wait_for_room(1).now_or_never(), None);
        drop(dropped);
        progress.pass_over(position(3));
        assert_eq!(progress.wait_for_room(9).now_or_never(), Some(false));
        assert_eq!(progress.checkpoint(), Checkpoint::After(position(1)));
    }

    #[test]
    fn a_delivery_without_records_holds_the_checkpoint_back() {
        let progress = Progress::new(Checkpoint::TrimHorizon);
        let anything = progress.register(None);
        progress.pass_over(position(7));
        assert_eq!(progress.checkpoint(), Checkpoint::TrimHorizon);
        anything.acknowledge();
        assert_eq!(progress.checkpoint(), Checkpoint::After(position(7)));
    }
}

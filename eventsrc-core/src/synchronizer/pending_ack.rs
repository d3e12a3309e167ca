//! Acknowledgement of a delivery once all its parts are processed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::feed::Acknowledgement;

/// One part of a delivery, held until the part is processed. The delivery is acknowledged once all its parts are
/// settled. If a part is dropped without being settled, for example because a worker ends, the delivery stays
/// unacknowledged.
#[derive(Debug)]
pub(super) struct PendingAck(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    unsettled: AtomicUsize,
    acknowledgement: Option<Acknowledgement>,
    /// Keeps the channel open while there are parts.
    _in_flight: InFlight,
}

/// Sender held by each delivery in flight. The receiver of the channel sees its end once all deliveries are done.
pub(super) type InFlight = tokio::sync::mpsc::Sender<()>;

impl PendingAck {
    /// Creates the first part of a delivery.
    pub(super) fn new(acknowledgement: Acknowledgement, in_flight: InFlight) -> Self {
        Self(Arc::new(Parts {
            unsettled: AtomicUsize::new(1),
            acknowledgement: Some(acknowledgement),
            _in_flight: in_flight,
        }))
    }

    /// True if both are parts of the same delivery.
    pub(super) fn is_of_same_delivery(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Marks this part as processed.
    pub(super) fn settle(self) {
        self.0.unsettled.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A clone is another part of the same delivery.
impl Clone for PendingAck {
    fn clone(&self) -> Self {
        self.0.unsettled.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if *self.unsettled.get_mut() == 0
            && let Some(acknowledgement) = self.acknowledgement.take()
        {
            acknowledgement.acknowledge();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn ack() -> (PendingAck, Arc<AtomicBool>) {
        let acknowledged = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&acknowledged);
        let acknowledgement = Acknowledgement::new(move || flag.store(true, Ordering::Relaxed));
        (PendingAck::new(acknowledgement, tokio::sync::mpsc::channel(1).0), acknowledged)
    }

    #[test]
    fn a_delivery_is_acknowledged_once_all_its_parts_are_settled() {
        let (first, acknowledged) = ack();
        let second = first.clone();
        first.settle();
        assert!(!acknowledged.load(Ordering::Relaxed));
        second.settle();
        assert!(acknowledged.load(Ordering::Relaxed));
    }

    #[test]
    fn a_dropped_part_leaves_the_delivery_unacknowledged() {
        let (first, acknowledged) = ack();
        drop(first.clone());
        first.settle();
        assert!(!acknowledged.load(Ordering::Relaxed));
    }
}

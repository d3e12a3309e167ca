//! Knowing when all parts of a delivery were dealt with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::feed::Acknowledgement;

/// One part of a delivery, held until it is dealt with. The delivery is acknowledged once all its parts are settled; a part
/// that is dropped before that, as by a worker that ends, leaves it unacknowledged.
#[derive(Debug)]
pub(super) struct PendingAck(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    unsettled: AtomicUsize,
    acknowledgement: Option<Acknowledgement>,
    /// Open for as long as there are parts.
    _open: Open,
}

/// Kept by whatever is under way; whoever waits sees the other end of the channel close.
pub(super) type Open = tokio::sync::mpsc::Sender<()>;

impl PendingAck {
    /// The first part of a delivery.
    pub(super) fn new(acknowledgement: Acknowledgement, open: Open) -> Self {
        let parts =
            Parts { unsettled: AtomicUsize::new(1), acknowledgement: Some(acknowledgement), _open: open };
        Self(Arc::new(parts))
    }

    /// Whether both are parts of one delivery.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// This part was dealt with.
    pub(super) fn settle(self) {
        self.0.unsettled.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Another part.
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
        let told = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&told);
        let acknowledgement = Acknowledgement::new(move || tell.store(true, Ordering::Relaxed));
        (PendingAck::new(acknowledgement, tokio::sync::mpsc::channel(1).0), told)
    }

    #[test]
    fn a_delivery_is_acknowledged_once_all_its_parts_are_settled() {
        let (first, told) = ack();
        let second = first.clone();
        first.settle();
        assert!(!told.load(Ordering::Relaxed));
        second.settle();
        assert!(told.load(Ordering::Relaxed));
    }

    #[test]
    fn a_part_that_is_dropped_leaves_it_unacknowledged() {
        let (first, told) = ack();
        drop(first.clone());
        first.settle();
        assert!(!told.load(Ordering::Relaxed));
    }
}

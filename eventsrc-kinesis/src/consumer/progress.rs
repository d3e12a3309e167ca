//! How far the records of a shard were dealt with.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsrc_core::feed::Acknowledgement;
use eventsrc_core::lease::{Checkpoint, ShardPosition};
use tokio::sync::Notify;

/// What was handed over of a shard, and what of it was dealt with. Deliveries are acknowledged in any order; the checkpoint is
/// right before the first that was not.
pub(super) struct Progress {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// What was handed over and is not behind the checkpoint yet, in order.
    open: VecDeque<Open>,
    /// The number of the first of them.
    first: u64,
    checkpoint: Checkpoint,
    refused: bool,
}

struct Open {
    /// The last of the records; none if it was not made of records.
    place: Option<ShardPosition>,
    done: bool,
}

impl Progress {
    pub(super) fn new(checkpoint: Checkpoint) -> Arc<Self> {
        let state = State { open: VecDeque::new(), first: 0, checkpoint, refused: false };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// What is handed over next ends at `place`; to be acknowledged once it was dealt with.
    pub(super) fn hand_over(self: &Arc<Self>, place: Option<ShardPosition>) -> Acknowledgement {
        let mut state = self.state();
        let number = state.first + state.open.len() as u64;
        state.open.push_back(Open { place, done: false });
        let handed = Handed { progress: Arc::clone(self), number, done: false };
        Acknowledgement::new(move || handed.acknowledge())
    }

    /// Records up to `place` were read, and there is nothing in them to be dealt with.
    pub(super) fn pass(self: &Arc<Self>, place: ShardPosition) {
        self.hand_over(Some(place)).acknowledge();
    }

    /// Up to where everything was dealt with.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.state().checkpoint.clone()
    }

    /// How many deliveries are not behind the checkpoint yet.
    pub(super) fn open(&self) -> usize {
        self.state().open.len()
    }

    /// Whether something was dropped without its acknowledgement.
    pub(super) fn is_refused(&self) -> bool {
        self.state().refused
    }

    /// Waits until there are fewer than `limit` open deliveries; false if one was dropped without its acknowledgement.
    pub(super) async fn room(&self, limit: usize) -> bool {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                if state.refused {
                    return false;
                }
                if state.open.len() < limit.max(1) {
                    return true;
                }
            }
            changed.await;
        }
    }

    /// Waits until all that was handed over was dealt with; false if some of it was not.
    pub(super) async fn settled(&self) -> bool {
        self.room(1).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn acknowledge(&mut self, number: u64) {
        let place = usize::try_from(number - self.first).expect("what is open fits into memory");
        self.open[place].done = true;
        while self.open.front().is_some_and(|open| open.done) {
            let done = self.open.pop_front().expect("there is a first one");
            self.first += 1;
            if let Some(place) = done.place {
                self.checkpoint = Checkpoint::After(place);
            }
        }
    }
}

/// What was handed over, until it is acknowledged or dropped.
struct Handed {
    progress: Arc<Progress>,
    number: u64,
    done: bool,
}

impl Handed {
    fn acknowledge(mut self) {
        self.done = true;
        self.progress.state().acknowledge(self.number);
        self.progress.changed.notify_waiters();
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if !self.done {
            self.progress.state().refused = true;
            self.progress.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn place(number: usize) -> ShardPosition {
        ShardPosition { sequence_number: number.to_string().into(), part: 0, time: None }
    }

    proptest! {
        #[test]
        fn the_checkpoint_is_right_before_the_first_that_was_not_acknowledged(order in Just((0..20).collect::<Vec<usize>>()).prop_shuffle()) {
            let progress = Progress::new(Checkpoint::TrimHorizon);
            let mut handed: Vec<_> = (0..20).map(|number| Some(progress.hand_over(Some(place(number))))).collect();
            for next in order {
                handed[next].take().unwrap().acknowledge();
                let missing = handed.iter().position(Option::is_some).unwrap_or(20);
                let expected = missing.checked_sub(1).map_or(Checkpoint::TrimHorizon, |last| Checkpoint::After(place(last)));
                prop_assert_eq!(progress.checkpoint(), expected);
                prop_assert_eq!(progress.open(), 20 - missing);
            }
            prop_assert_eq!(progress.settled().now_or_never(), Some(true));
        }
    }

    #[test]
    fn what_is_dropped_without_its_acknowledgement_was_not_dealt_with() {
        let progress = Progress::new(Checkpoint::TrimHorizon);
        progress.pass(place(1));
        let refused = progress.hand_over(Some(place(2)));
        assert_eq!(progress.room(2).now_or_never(), Some(true));
        assert_eq!(progress.room(1).now_or_never(), None);
        drop(refused);
        progress.pass(place(3));
        assert_eq!(progress.room(9).now_or_never(), Some(false));
        assert_eq!(progress.checkpoint(), Checkpoint::After(place(1)));
    }

    #[test]
    fn what_is_made_of_no_record_holds_the_checkpoint_back() {
        let progress = Progress::new(Checkpoint::TrimHorizon);
        let anything = progress.hand_over(None);
        progress.pass(place(7));
        assert_eq!(progress.checkpoint(), Checkpoint::TrimHorizon);
        anything.acknowledge();
        assert_eq!(progress.checkpoint(), Checkpoint::After(place(7)));
    }
}

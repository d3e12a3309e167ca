//! The views of a location, and the serving version of each.

use std::collections::BTreeMap;

use eventsrc_core::view::{Applied, StreamPosition, TakeOver};
use eventsrc_core::{ErrorKind, StorageError, StreamName};
use eventsrc_testkit::conformance::ViewRows;

use super::kept::{B, Kept, S, TakenOver};

/// The name and version of a view.
pub(crate) type Which = (String, u32);

/// All views of a location.
#[derive(Clone, Default)]
pub(crate) struct Views {
    pub(crate) kept: BTreeMap<Which, Kept>,
    pub(crate) serving: BTreeMap<String, u32>,
}

impl Views {
    pub(crate) fn of(&mut self, which: &Which) -> &mut Kept {
        self.kept.entry(which.clone()).or_default()
    }

    /// The state of a version, or the empty state.
    pub(crate) fn kept(&self, which: &Which) -> Kept {
        self.kept.get(which).cloned().unwrap_or_default()
    }

    /// The state of each version of a view.
    pub(crate) fn versions(&self, which: &Which) -> impl Iterator<Item = &Kept> {
        self.kept.iter().filter(|((name, _), _)| *name == which.0).map(|(_, kept)| kept)
    }

    pub(crate) fn serving(&self, which: &Which) -> Which {
        (which.0.clone(), self.serving.get(&which.0).copied().unwrap_or(which.1))
    }

    /// The positions and rows that readers of the view see.
    pub(crate) fn read(&self, which: &Which, streams: &[StreamName]) -> (Vec<StreamPosition<S>>, ViewRows) {
        let kept = self.kept(&self.serving(which));
        (streams.iter().map(|stream| kept.place(stream)).collect(), kept.rows)
    }

    pub(crate) fn retire(&mut self, which: &Which) -> Result<(), StorageError> {
        if self.serving(which) == *which {
            return Err(StorageError::new(ErrorKind::Invalid, "it serves"));
        }
        self.kept.remove(which);
        Ok(())
    }

    /// The correct take-over with the batch that was brought.
    pub(crate) fn take_over(&mut self, which: &Which, brought: &B) -> TakenOver {
        let serving = self.serving(which);
        let serving = self.of(&serving).clone();
        let mut caught_up = self.of(which).clone();
        let behind = caught_up.behind(&serving).into_iter().map(|change| change.stream);
        let quarantined: Vec<_> =
            behind.filter(|stream| caught_up.quarantined.contains_key(stream)).collect();
        if !quarantined.is_empty() {
            return Ok(TakeOver::Quarantined(quarantined));
        }
        match caught_up.apply(brought)? {
            Applied::Done if caught_up.behind(&serving).is_empty() => {
                *self.of(which) = caught_up;
                self.serving.insert(which.0.clone(), which.1);
                Ok(TakeOver::Done)
            }
            Applied::Done => Ok(TakeOver::Behind),
            other => Ok(other.into()),
        }
    }
}

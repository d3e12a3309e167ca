//! Unique names of streams at a server that all callers share.

use std::sync::atomic::{AtomicU64, Ordering};

/// Generates unique names.
#[derive(Default)]
pub(super) struct StreamNames {
    count: AtomicU64,
}

impl StreamNames {
    /// Returns a unique name that begins with `prefix`, see
    /// [`Ferrokinesis::stream_name`](crate::Ferrokinesis::stream_name).
    pub(super) fn next(&self, prefix: &str) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        assert!(prefix.len() <= 100 && prefix.chars().all(is_plain), "{prefix:?} is no name for a stream");
        format!("{prefix}-{:06}", self.count.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names = StreamNames::default();
        assert_eq!(["events", "events"].map(|prefix| names.next(prefix)), ["events-000000", "events-000001"]);
    }

    #[test]
    #[should_panic(expected = "is no name for a stream")]
    fn an_invalid_prefix_is_refused() {
        StreamNames::default().next("events/1");
    }
}

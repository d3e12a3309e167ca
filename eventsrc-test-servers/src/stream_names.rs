//! Names of streams at a server that all its callers share.

use std::sync::atomic::{AtomicU64, Ordering};

/// Gives each name once.
#[derive(Default)]
pub(super) struct StreamNames {
    given: AtomicU64,
}

impl StreamNames {
    /// A name that begins with `prefix`, as [`Ferrokinesis::stream_name`](crate::Ferrokinesis::stream_name) promises it.
    pub(super) fn next(&self, prefix: &str) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        assert!(prefix.len() <= 100 && prefix.chars().all(is_plain), "{prefix:?} is no name for a stream");
        format!("{prefix}-{:06}", self.given.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice() {
        let names = StreamNames::default();
        assert_eq!(["events", "events"].map(|prefix| names.next(prefix)), ["events-000000", "events-000001"]);
    }

    #[test]
    #[should_panic(expected = "is no name for a stream")]
    fn a_name_that_no_stream_could_have_is_refused() {
        StreamNames::default().next("events/1");
    }
}

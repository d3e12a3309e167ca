//! What is in the way of a rebuild.

use crate::error::{StorageError, describe};
use crate::synchronizer::Status;

/// What is in the way, as a synchronizer tells; `None` if nothing is.
pub(super) fn of<S>(status: Result<Status<S>, StorageError>) -> Option<String> {
    match status {
        Ok(Status { trouble, waiting, .. }) => {
            let waiting =
                waiting.into_iter().map(|waiting| format!("{}: {}", waiting.stream, waiting.reason));
            trouble.into_iter().chain(waiting).next()
        }
        // The view's database is asked for what is in quarantine.
        Err(error) => Some(describe(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorKind;
    use crate::synchronizer::{State, Waiting};
    use crate::view::ViewDefinition;

    fn status(trouble: &[&str], waiting: &[&str]) -> Status<u64> {
        let wait = |stream: &&str| {
            let reason = "it cannot be read".into();
            Waiting { stream: stream.parse().unwrap(), position: None, reason }
        };
        Status {
            view: ViewDefinition::new("users", ["user"]).unwrap(),
            state: State::Running,
            applied_events: 0,
            applied_batches: 0,
            repeated_commits: 0,
            lag_events: 0,
            lag: Duration::ZERO,
            waiting: waiting.iter().map(wait).collect(),
            quarantined: Vec::new(),
            trouble: trouble.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn the_first_that_is_in_the_way_is_told() {
        assert_eq!(of(Ok(status(&[], &[]))), None);
        assert_eq!(of(Ok(status(&["no room", "no table"], &["user/1"]))).unwrap(), "no room");
        assert_eq!(of(Ok(status(&[], &["user/1", "user/2"]))).unwrap(), "user/1: it cannot be read");
    }

    #[test]
    fn a_database_that_cannot_be_asked_is_told_with_the_causes() {
        let cause = StorageError::new(ErrorKind::Unavailable, "connection refused");
        let error = StorageError::new(ErrorKind::Unavailable, "cannot read the view").because(cause);
        assert_eq!(of::<u64>(Err(error)).unwrap(), "cannot read the view: connection refused");
    }
}

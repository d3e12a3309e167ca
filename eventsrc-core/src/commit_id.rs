//! Ids of commits.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Id of a commit. It lets a writer recognise its own commit after a lost reply, and serves as idempotency key.
///
/// eventsrc makes version 7 UUIDs, which sort roughly by time. A caller may supply any UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub Uuid);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

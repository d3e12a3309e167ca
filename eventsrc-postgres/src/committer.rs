//! Group commit: commits that wait when a connection is free share one statement, and so one disk sync of the server.
//!
//! No commit waits for a timer: a single commit is sent alone and at once. Under load, the next group gathers while the
//! previous ones are in flight.

mod job;
mod outage;
mod queue;
mod sender;
mod shared;
mod stream_queue;

use std::sync::Arc;

use eventsrc_core::backend::EncodedCommit;
use tokio::sync::oneshot;

use self::job::Job;
use self::sender::Sender;
use self::shared::Shared;
use crate::append::AppendOutcome;
use crate::connections::Connections;
use crate::failure::Failure;
use crate::layout::{EventLayout, StreamLocation};
use crate::settings::Settings;

/// Writer of commits. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Committer(Arc<Shared>);

impl Committer {
    /// Writer into the tables of `layout`.
    pub(crate) fn new(connections: Connections, layout: Arc<EventLayout>, settings: &Settings) -> Self {
        Self(Arc::new(Shared::new(connections, layout, settings)))
    }

    /// Puts a commit, in one group with the commits of other callers. If the caller stops waiting before the commit is
    /// sent, it is not sent.
    pub(crate) async fn put(
        &self,
        stream: StreamLocation,
        commit: EncodedCommit<'static>,
    ) -> Result<AppendOutcome, Failure> {
        let (reply, answer) = oneshot::channel();
        let job = Job { stream: Arc::new(stream), commit: Arc::new(commit), reply };
        if self.0.enqueue(job)? {
            tokio::spawn(Sender::new(Arc::clone(&self.0)).run());
        }
        answer.await.unwrap_or_else(|_| Err(Failure::unavailable("the task that stores commits has stopped")))
    }

    /// Number of transactions that stored commits.
    pub(crate) fn transactions(&self) -> u64 {
        self.0.transactions()
    }
}

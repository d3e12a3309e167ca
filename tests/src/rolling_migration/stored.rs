//! The commits of the new storage, compared with the journals.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::{Commit, CommitId, EventStorage, StreamName};
use eventsrc_sqlite::{Database, SqliteStorage};
use futures::TryStreamExt;

use super::journal::Commands;

type Stream = Vec<Arc<Commit<StreamName, u64, u64>>>;

/// All commits of a storage.
pub(super) struct Stored {
    streams: BTreeMap<StreamName, Stream>,
    /// Streams whose head is not their last commit.
    wrong_heads: Vec<StreamName>,
}

impl Stored {
    pub(super) async fn read(file: impl AsRef<Path>) -> Result<Self> {
        let storage = SqliteStorage::<StreamName, u64, u64>::new(&Database::open(file).await?);
        let mut streams = BTreeMap::<StreamName, Stream>::new();
        let mut pages = storage.scan(Segment::ALL);
        while let Some(page) = pages.try_next().await? {
            for commit in page.commits() {
                streams.entry(commit.key.clone()).or_default().push(Arc::clone(commit));
            }
        }
        let mut wrong_heads = Vec::new();
        for (stream, commits) in &streams {
            if storage.latest(stream).await? != commits.last().map(|last| last.head()) {
                wrong_heads.push(stream.clone());
            }
        }
        Ok(Self { streams, wrong_heads })
    }

    /// Returns the differences from the journals, all of whose commands were acknowledged.
    pub(super) fn wrong(&self, commands: &Commands) -> Vec<String> {
        let mut wrong: Vec<_> = self
            .wrong_heads
            .iter()
            .map(|stream| format!("{stream} does not end at its last commit"))
            .collect();
        let mut ends = HashMap::<CommitId, u64>::new();
        for (stream, commits) in &self.streams {
            let (mut next, mut previous) = (1, None);
            for commit in commits {
                let id = commit.metadata.commit_id;
                if commit.first != next {
                    wrong.push(format!("{stream} goes on at {} after {}", commit.first, next - 1));
                }
                if commit.previous != previous {
                    let named = commit.previous;
                    wrong.push(format!("{id} on {stream} follows {previous:?} and names {named:?}"));
                }
                if let Some(other) = ends.insert(id, commit.last()) {
                    wrong.push(format!(
                        "{id} is stored twice, up to {other} and up to {} on {stream}",
                        commit.last()
                    ));
                }
                match commands.get(id) {
                    None => wrong.push(format!("{id} on {stream} is of no command")),
                    Some(command) if command.stream != stream.as_str() => {
                        wrong.push(format!("{id} is on {stream}, and was saved to {}", command.stream));
                    }
                    Some(command) if !commit.payloads.iter().copied().eq(command.payloads()) => {
                        wrong.push(format!("{id} on {stream} has other events than were saved"));
                    }
                    Some(_) => {}
                }
                (next, previous) = (commit.last() + 1, Some(id));
            }
        }
        for (command, acknowledgement) in commands.acknowledged() {
            match ends.get(&command.id) {
                None => wrong.push(format!("lost: {command:?}, {acknowledgement:?}")),
                Some(last) if *last != acknowledgement.last => {
                    wrong.push(format!("{command:?} ends at {last}, and {acknowledgement:?}"));
                }
                Some(_) => {}
            }
        }
        wrong.extend(commands.open().map(|command| format!("not acknowledged at the end: {command:?}")));
        wrong
    }
}

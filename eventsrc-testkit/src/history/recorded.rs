//! A storage that records its calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use eventsrc_core::storage::{CommitOf, Conflict, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use eventsrc_core::{EventStorage, Head, Sequence, StorageError, StreamKey};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::call::{Action, Call, Part, PutAnswer, push_part};
use super::chain::Chain;
use super::check::{Checked, check};
use super::violation::{Violation, ViolationKind};

/// A storage that forwards every call and records it, to be [checked](Recorded::check) when all callers have ended.
///
/// Wrap it around the storage that callers use, faults included, because the answers that callers get are checked. The
/// streams must have no events at first. Scans, and the heads of all streams, are not recorded.
#[derive(Debug)]
pub struct Recorded<St: EventStorage> {
    storage: St,
    clock: AtomicU64,
    streams: Mutex<HashMap<St::Key, Vec<Call<St::Sequence>>>>,
    failed_reads: AtomicU64,
}

impl<St: EventStorage> Recorded<St> {
    /// Wraps `storage`, with an empty history.
    pub fn new(storage: St) -> Self {
        Self { storage, clock: AtomicU64::new(0), streams: Mutex::default(), failed_reads: AtomicU64::new(0) }
    }

    /// Returns the storage.
    pub fn storage(&self) -> &St {
        &self.storage
    }

    /// Reads each stream to its end from `last`, and checks its history. `last` is the storage itself, without
    /// faults.
    ///
    /// Calls that have not ended count as not answered.
    ///
    /// # Errors
    ///
    /// The first [`Violation`].
    pub async fn check<L>(&self, last: &L) -> Result<Checked, Violation>
    where
        L: EventStorage<Key = St::Key, Sequence = St::Sequence>,
    {
        let histories = self.streams.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failed_reads = self.failed_reads.load(Ordering::SeqCst);
        let mut checked = Checked { failed_reads, ..Checked::default() };
        for (key, calls) in &histories {
            let stream = format!("{}/{}", key.category(), key.id());
            let (mut parts, mut chain) = (Vec::new(), Chain::default());
            let mut pages = last.events(key, None);
            loop {
                match pages.try_next().await {
                    Ok(Some(page)) => {
                        for (commit, places) in page.parts() {
                            push_part(&mut parts, Part::of(commit, places));
                            chain.add(&stream, commit)?;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        let what = format!("cannot be read at the end: {error:?}");
                        return Err(Violation { kind: ViolationKind::Unreadable, stream, what });
                    }
                }
            }
            checked += check(&stream, calls, &parts)?;
        }
        Ok(checked)
    }

    /// Returns the calls on one stream: puts in the order of their starts, and reads in the order of their answers.
    pub fn calls(&self, key: &St::Key) -> Vec<Call<St::Sequence>> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(key).cloned().unwrap_or_default()
    }

    fn instant(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn push(&self, key: &St::Key, call: Call<St::Sequence>) -> usize {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = streams.entry(key.clone()).or_default();
        calls.push(call);
        calls.len() - 1
    }

    /// Returns a reader whose read starts now. It is created before the read, which may look at the stream at once.
    fn reader(&self, key: &St::Key, from: Option<St::Sequence>) -> Reader<'_, St> {
        Reader { recorded: self, key: key.clone(), called: self.instant(), from, parts: Vec::new() }
    }

    fn read<T>(
        &self,
        key: &St::Key,
        called: u64,
        result: Result<T, StorageError>,
        action: impl FnOnce(&T) -> Action<St::Sequence>,
    ) -> Result<T, StorageError> {
        let answered = Some(self.instant());
        match &result {
            Ok(answer) => drop(self.push(key, Call { called, answered, action: action(answer) })),
            Err(_) => drop(self.failed_reads.fetch_add(1, Ordering::SeqCst)),
        }
        result
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St: EventStorage> EventStorage for Recorded<St> {
    type Key = St::Key;
    type Sequence = St::Sequence;
    type Payload = St::Payload;

    /// Records the call before it runs, so that a caller that stops waiting leaves a put without an answer.
    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        let key = commit.key.clone();
        let put = |answer| Action::Put {
            commit_id: commit.metadata.commit_id,
            first: commit.first,
            length: commit.len() as u32,
            answer,
        };
        let unknown = Call { called: self.instant(), answered: None, action: put(PutAnswer::Unknown) };
        let index = self.push(&key, unknown);
        let result = self.storage.put(Arc::clone(&commit)).await;
        let answered = Some(self.instant());
        let answer = match &result {
            Ok(Put::Stored) => PutAnswer::Stored,
            Ok(Put::Repeated { last }) => PutAnswer::Repeated { last: *last },
            Ok(Put::Conflict(Conflict { existing, head })) => PutAnswer::Conflict {
                existing: existing.as_ref().map(|existing| existing.metadata.commit_id),
                head: head.map(|head| head.sequence),
            },
            Err(_) => return result,
        };
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = streams.get_mut(&key).and_then(|calls| calls.get_mut(index)) {
            (call.answered, call.action) = (answered, put(answer));
        }
        result
    }

    /// Records the latest of the heads, as an answer of `latest`.
    async fn recent(&self, key: &Self::Key, count: usize) -> Result<Vec<Head<Self::Sequence>>, StorageError> {
        if count == 0 {
            return self.storage.recent(key, 0).await;
        }
        let called = self.instant();
        let result = self.storage.recent(key, count).await;
        self.read(key, called, result, |heads| Action::Latest {
            sequence: heads.first().map(|head| head.sequence),
        })
    }

    async fn latest(&self, key: &Self::Key) -> Result<Option<Head<Self::Sequence>>, StorageError> {
        let called = self.instant();
        let result = self.storage.latest(key).await;
        self.read(key, called, result, |head| Action::Latest { sequence: head.map(|head| head.sequence) })
    }

    fn events(
        &self,
        key: &Self::Key,
        from: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let reader = self.reader(key, from);
        reader.record_pages(self.storage.events(key, from))
    }

    /// Records a read of events from the next sequence. After the last sequence there is none, and nothing is recorded.
    fn events_after(
        &self,
        key: &Self::Key,
        end: Option<Self::Sequence>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let from = match end.map(Sequence::least_greater) {
            Some(None) => return self.storage.events_after(key, end),
            from => from.flatten(),
        };
        let reader = self.reader(key, from);
        reader.record_pages(self.storage.events_after(key, end))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<St: ScanStorage> ScanStorage for Recorded<St> {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        self.storage.scan(segment)
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        self.storage.heads(segment)
    }
}

/// A running read of events.
struct Reader<'a, St: EventStorage> {
    recorded: &'a Recorded<St>,
    key: St::Key,
    called: u64,
    from: Option<St::Sequence>,
    parts: Vec<Part<St::Sequence>>,
}

impl<'a, St: EventStorage> Reader<'a, St> {
    fn record_pages(
        self,
        pages: BoxStream<'a, Result<PageOf<St>, StorageError>>,
    ) -> BoxStream<'a, Result<PageOf<St>, StorageError>> {
        futures::stream::unfold((pages, self), |(mut pages, mut reader)| async move {
            let page = pages.next().await;
            match &page {
                Some(Ok(page)) => {
                    page.parts().for_each(|(c, places)| push_part(&mut reader.parts, Part::of(c, places)));
                }
                Some(Err(_)) => drop(reader.recorded.failed_reads.fetch_add(1, Ordering::SeqCst)),
                None => reader.record(true),
            }
            page.map(|page| (page, (pages, reader)))
        })
        .boxed()
    }

    fn record(&mut self, ended: bool) {
        let answered = Some(self.recorded.instant());
        let parts = std::mem::take(&mut self.parts);
        let action = Action::Events { from: self.from, parts, ended };
        self.recorded.push(&self.key, Call { called: self.called, answered, action });
    }
}

/// Records the events that a dropped or failed read has returned so far.
impl<St: EventStorage> Drop for Reader<'_, St> {
    fn drop(&mut self) {
        if !self.parts.is_empty() {
            self.record(false);
        }
    }
}

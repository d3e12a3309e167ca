//! A small storage that keeps the contract, except for one defect at a time.

mod defect;
pub(crate) mod diverging;
pub(crate) mod fields;
pub(crate) mod heads;
pub(crate) mod numbers;
pub(crate) mod places;
pub(crate) mod puts;
pub(crate) mod reads;
pub(crate) mod recent;
pub(crate) mod scans;
pub(crate) mod snapshot_proofs;
pub(crate) mod snapshots;

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};

use async_stream::stream;
use eventsrc_core::backend::{check_follows, storable_name};
use eventsrc_core::storage::Page;
use eventsrc_core::storage::{CommitOf, Conflict, HeadsOf, PageOf, Put, PutOf, ScanStorage, Segment};
use eventsrc_core::stream::ZonedSequence;
use eventsrc_core::{Commit, CommitId, ErrorKind, EventStorage, Head, Sequence, StorageError};
use eventsrc_testkit::conformance::{Backend, Capabilities, Sample, SampleKey};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) use defect::Defect;

pub(crate) type S = ZonedSequence;
pub(crate) type C = Commit<SampleKey, S, Sample>;
pub(crate) type Commits = Vec<Arc<C>>;
pub(crate) type Streams = BTreeMap<SampleKey, Commits>;
pub(crate) type Answer = Result<Put<SampleKey, S, Sample>, StorageError>;
pub(crate) type Heads = Vec<(SampleKey, Head<S>)>;
type Pages = Vec<Result<Page<SampleKey, S, Sample>, StorageError>>;

/// State shared by all handles.
pub(crate) struct Shared {
    streams: Mutex<Streams>,
    writer: Mutex<Option<tokio::task::Id>>,
    lock: Semaphore,
    reads: Semaphore,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            streams: Mutex::default(),
            writer: Mutex::default(),
            lock: Semaphore::new(1),
            reads: Semaphore::new(100),
        }
    }
}

/// The backend of storages with one defect.
pub(crate) struct WrongBackend(pub(crate) Defect);

impl Backend for WrongBackend {
    type Storage = Wrong;
    type Location = Arc<Shared>;

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    async fn create(&self) -> Self::Location {
        Arc::default()
    }

    async fn open(&self, place: &Self::Location) -> Wrong {
        let known = locked(&place.streams).clone();
        Wrong {
            shared: Arc::clone(place),
            defect: self.0,
            known: Mutex::new(known),
            heads: Mutex::default(),
            own: Mutex::default(),
        }
    }
}

/// A handle.
pub(crate) struct Wrong {
    shared: Arc<Shared>,
    defect: Defect,
    /// The streams as this handle knows them, for defects that use it.
    known: Mutex<Streams>,
    heads: Mutex<BTreeMap<SampleKey, Option<Head<S>>>>,
    own: Mutex<HashSet<CommitId>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn error(kind: ErrorKind, commit: &C) -> StorageError {
    StorageError::new(kind, "refused").on(&commit.key).at(commit.first)
}

/// The correct answer to a put.
pub(crate) fn judge(stream: &[Arc<C>], commit: &Arc<C>) -> Answer {
    storable_name(commit)?;
    let head = stream.last().map(|last| last.head());
    let number = commit.first.number();
    if head.is_none_or(|head| number > head.sequence.number()) {
        return check_follows(commit, head.as_ref()).map(|()| Put::Stored);
    }
    let holds = |c: &&Arc<C>| c.first.number() <= number && number <= c.last().number();
    let existing = stream.iter().find(holds).cloned();
    Ok(match existing {
        Some(existing) if existing.is(commit) => Put::Repeated { last: existing.last() },
        existing => Put::Conflict(Conflict { existing, head }),
    })
}

/// The first events of a commit.
pub(crate) fn cut(commit: &C, events: usize) -> Arc<C> {
    let mut cut = commit.clone();
    let payloads: Vec<_> = cut.payloads.into_iter().take(events.max(1)).collect();
    cut.payloads = payloads.try_into().expect("at least one event");
    Arc::new(cut)
}

impl Wrong {
    fn name(&self, key: &SampleKey) -> SampleKey {
        if let Defect::Name(name) = self.defect { name(key) } else { key.clone() }
    }

    /// Answers the put, and stores the commit.
    fn put_now(&self, commit: &Arc<C>) -> Answer {
        let streams = &mut *locked(&self.shared.streams);
        if let Defect::Put(put) = self.defect
            && let Some(answer) = put(streams, commit)
        {
            return answer;
        }
        let name = self.name(&commit.key);
        if matches!(self.defect, Defect::ReadsMakeStreams) && streams.get(&name).is_some_and(Vec::is_empty) {
            return Err(error(ErrorKind::Diverged, commit));
        }
        let known = locked(&self.known);
        let judged = if matches!(self.defect, Defect::StalePuts) { &*known } else { &*streams };
        let mut answer = judge(judged.get(&name).map_or(&[], Vec::as_slice), commit);
        drop(known);
        if let Defect::Answer(change) = self.defect {
            answer = change(streams, commit, answer);
        }
        let id = commit.metadata.commit_id;
        match &answer {
            Ok(Put::Stored) => {
                store(streams, name, self.kept(commit));
                locked(&self.own).insert(id);
            }
            Ok(Put::Repeated { .. })
                if matches!(self.defect, Defect::OwnRepeats) && !locked(&self.own).contains(&id) =>
            {
                answer = Ok(Put::Conflict(Conflict { existing: None, head: None }));
            }
            _ => {}
        }
        answer
    }

    fn kept(&self, commit: &Arc<C>) -> Arc<C> {
        let mut kept = Arc::clone(commit);
        if let Defect::Keep(keep) = self.defect {
            keep(Arc::make_mut(&mut kept));
        }
        kept
    }

    /// Shows a growing part of the commit before all of it.
    async fn put_torn(&self, commit: &Arc<C>) -> Answer {
        let answer = judge(locked(&self.shared.streams).get(&commit.key).map_or(&[], Vec::as_slice), commit);
        if let Ok(Put::Stored) = answer {
            store(&mut locked(&self.shared.streams), commit.key.clone(), cut(commit, 1));
            for events in [commit.len() / 2, commit.len()] {
                tokio::task::yield_now().await;
                let streams = &mut *locked(&self.shared.streams);
                let stream = streams.entry(commit.key.clone()).or_default();
                if let Some(place) = stream.iter_mut().find(|stored| stored.is(commit)) {
                    *place = cut(commit, events);
                }
            }
        }
        answer
    }

    /// The commits of a stream as this handle sees them.
    fn seen(&self, name: &SampleKey) -> Commits {
        let streams = locked(&self.shared.streams);
        let current = streams.get(name).cloned().unwrap_or_default();
        match self.defect {
            Defect::StaleReads => locked(&self.known).get(name).cloned().unwrap_or_default(),
            Defect::LateReads => locked(&self.known).insert(name.clone(), current).unwrap_or_default(),
            Defect::HiddenFromOtherTasks if *locked(&self.shared.writer) != tokio::task::try_id() => {
                current[..current.len().saturating_sub(1)].to_vec()
            }
            _ => current,
        }
    }

    fn pages(&self, commits: Commits, from: Option<S>) -> Pages {
        let (commits, from) =
            if let Defect::Read(read) = self.defect { read(commits, from) } else { (commits, from) };
        let mut pages = Vec::new();
        let chunk = if matches!(self.defect, Defect::OnePage) { usize::MAX } else { 16 };
        let mut readable = Vec::new();
        let mut failure = None;
        for commit in commits {
            if from.is_some_and(|from| commit.last() < from) {
                continue;
            }
            if let Some(place) = commit.payloads.iter().position(|p| matches!(p, Sample::Unreadable(_))) {
                failure = if let Defect::Unreadable(name) = self.defect {
                    name(&commit, place)
                } else {
                    Some(corrupt(&commit, place))
                };
                if failure.is_some() {
                    break;
                }
                continue;
            }
            readable.push(commit);
        }
        for commits in readable.chunks(chunk.min(readable.len().max(1))) {
            let page = Page::starting_at(Arc::new(commits.to_vec()), from);
            if !page.is_empty() {
                pages.push(Ok(page));
            }
        }
        pages.extend(failure.map(Err));
        pages
    }

    /// The pages of a read, holding the lock or permit that the defect names.
    fn delivered(
        &self,
        key: Option<SampleKey>,
        pages: Pages,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let began = key.as_ref().map_or(0, |key| locked(&self.shared.streams).get(key).map_or(0, Vec::len));
        stream! {
            let mut held: Option<SemaphorePermit<'_>> = None;
            match self.defect {
                Defect::ReadKeepsLock => held = self.shared.lock.acquire().await.ok(),
                Defect::ReadKeepsLockToItsEnd => self.shared.lock.acquire().await.expect("open").forget(),
                Defect::DroppedReadsAreLost => self.shared.reads.acquire().await.expect("open").forget(),
                Defect::FewReaders => {
                    held = self.shared.reads.try_acquire_many(30).ok();
                    if held.is_none() {
                        yield Err(StorageError::new(ErrorKind::Unavailable, "too many readers"));
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                _ => {}
            }
            for (at, page) in pages.into_iter().enumerate() {
                let now = key.as_ref().map_or(0, |key| locked(&self.shared.streams).get(key).map_or(0, Vec::len));
                if at > 0 && now > began && matches!(self.defect, Defect::ReadBeginsAnew) {
                    let all = locked(&self.shared.streams).get(key.as_ref().expect("a stream")).cloned();
                    yield Ok(Page::new(all.unwrap_or_default()));
                    return;
                }
                yield page;
            }
            if matches!(self.defect, Defect::LaterPagesAreTorn) {
                let streams = locked(&self.shared.streams).clone();
                for (name, commits) in streams {
                    let read = key.as_ref().is_none_or(|key| *key == name);
                    if let Some(last) = commits.last().filter(|last| read && commits.len() > 2 && last.len() > 1) {
                        yield Ok(Page::new(vec![cut(last, 1)]));
                    }
                }
            }
            match self.defect {
                Defect::ReadKeepsLockToItsEnd => self.shared.lock.add_permits(1),
                Defect::DroppedReadsAreLost => self.shared.reads.add_permits(1),
                _ => {}
            }
            drop(held);
        }
        .boxed()
    }
}

pub(crate) fn corrupt(commit: &C, place: usize) -> StorageError {
    let sequence = commit.events().nth(place).expect("a place in the commit").sequence();
    StorageError::new(ErrorKind::Corrupt, "unreadable").on(&commit.key).at(sequence).because("a sample")
}

pub(crate) fn store(streams: &mut Streams, name: SampleKey, commit: Arc<C>) {
    streams.entry(name).or_default().push(commit);
}

impl EventStorage for Wrong {
    type Key = SampleKey;
    type Sequence = S;
    type Payload = Sample;

    async fn put(&self, commit: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        match self.defect {
            Defect::TornEvents | Defect::TornLatest => return self.put_torn(&commit).await,
            Defect::CheckThenStore => {
                let stream = locked(&self.shared.streams).get(&commit.key).cloned().unwrap_or_default();
                let answer = judge(&stream, &commit);
                tokio::task::yield_now().await;
                if let Ok(Put::Stored) = answer {
                    store(&mut locked(&self.shared.streams), commit.key.clone(), commit);
                }
                return answer;
            }
            Defect::DroppedPutKeepsLock => {
                self.shared.lock.acquire().await.expect("open").forget();
                tokio::task::yield_now().await;
                let answer = self.put_now(&commit);
                self.shared.lock.add_permits(1);
                return answer;
            }
            Defect::ReadKeepsLock | Defect::ReadKeepsLockToItsEnd | Defect::DroppedLatestKeepsLock => {
                let lock = self.shared.lock.acquire().await.expect("open");
                let answer = self.put_now(&commit);
                drop(lock);
                return answer;
            }
            _ => {}
        }
        let answer = self.put_now(&commit);
        if let Ok(Put::Stored) = answer {
            *locked(&self.shared.writer) = tokio::task::try_id();
            let name = self.name(&commit.key);
            if matches!(self.defect, Defect::StaleReads | Defect::StalePuts) {
                locked(&self.known).entry(name).or_default().push(commit);
            }
        }
        answer
    }

    async fn recent(&self, key: &SampleKey, count: usize) -> Result<Vec<Head<S>>, StorageError> {
        let commits = locked(&self.shared.streams).get(&self.name(key)).cloned().unwrap_or_default();
        match self.defect {
            Defect::Recent(recent) => recent(&commits, count),
            _ => Ok(commits.iter().rev().take(count).map(|commit| commit.head()).collect()),
        }
    }

    async fn latest(&self, key: &SampleKey) -> Result<Option<Head<S>>, StorageError> {
        let name = self.name(key);
        let streams = locked(&self.shared.streams).clone();
        let commits = streams.get(&name).cloned().unwrap_or_default();
        let head = commits.last().map(|commit| commit.head());
        match self.defect {
            Defect::Latest(latest) => latest(&commits),
            Defect::StaleLatest => Ok(*locked(&self.heads).entry(name).or_insert(head)),
            // The events are complete for readers; the head is not.
            Defect::TornEvents => Ok(head),
            Defect::StaleReads => Ok(self.seen(&name).last().map(|commit| commit.head())),
            Defect::DroppedLatestKeepsLock => {
                self.shared.lock.acquire().await.expect("open").forget();
                tokio::task::yield_now().await;
                self.shared.lock.add_permits(1);
                Ok(head)
            }
            _ => Ok(head),
        }
    }

    fn events(&self, key: &SampleKey, from: Option<S>) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let name = self.name(key);
        if let Defect::FailRead(fails) = self.defect
            && fails(&locked(&self.shared.streams), key, from)
        {
            return futures::stream::iter([
                Err(StorageError::new(ErrorKind::Corrupt, "cannot read").on(key)),
            ])
            .boxed();
        }
        if matches!(self.defect, Defect::ReadsMakeStreams) {
            locked(&self.shared.streams).entry(name.clone()).or_default();
        }
        let mut commits = self.seen(&name);
        if matches!(self.defect, Defect::TornLatest)
            && let Some(last) = commits.last()
            && last.len() < 40
        {
            commits.pop();
        }
        let pages = self.pages(commits, from);
        self.delivered(Some(name), pages)
    }

    fn events_after(
        &self,
        key: &SampleKey,
        end: Option<S>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let from = end.and_then(S::least_greater);
        let from = if let Defect::After(elsewhere) = self.defect { elsewhere(from) } else { from };
        self.events(key, from)
    }
}

impl ScanStorage for Wrong {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let streams = match self.defect {
            Defect::StaleReads => locked(&self.known).clone(),
            _ => locked(&self.shared.streams).clone(),
        };
        let commits = match self.defect {
            Defect::Scan(scan) => scan(&streams, segment),
            _ => everything(&streams, segment),
        };
        let pages = self.pages(commits, None);
        self.delivered(None, pages)
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        let heads = move || {
            let streams = match self.defect {
                Defect::StaleReads => locked(&self.known).clone(),
                _ => locked(&self.shared.streams).clone(),
            };
            match self.defect {
                Defect::Heads(heads) => heads(&streams, segment),
                _ => every_head(&streams, segment),
            }
        };
        let first = heads();
        stream! {
            if matches!(self.defect, Defect::DroppedReadsAreLost) {
                self.shared.reads.acquire().await.expect("open").forget();
            }
            let mut delivered = 0;
            let page = if matches!(self.defect, Defect::OnePage) { usize::MAX } else { 16 };
            loop {
                let current = if matches!(self.defect, Defect::HeadsByCount) { &heads() } else { &first };
                let heads: Heads = current.iter().skip(delivered).take(page).cloned().collect();
                if heads.is_empty() {
                    break;
                }
                delivered += heads.len();
                yield Ok(heads);
            }
            if matches!(self.defect, Defect::DroppedReadsAreLost) {
                self.shared.reads.add_permits(1);
            }
        }
        .boxed()
    }
}

/// The correct heads.
pub(crate) fn every_head(streams: &Streams, segment: Segment) -> Heads {
    let here = streams.iter().filter(|(key, _)| part(key, segment));
    here.filter_map(|(key, commits)| Some((key.clone(), commits.last()?.head()))).collect()
}

/// The correct scan.
pub(crate) fn everything(streams: &Streams, segment: Segment) -> Commits {
    streams.iter().filter(|(key, _)| part(key, segment)).flat_map(|(_, commits)| commits.clone()).collect()
}

/// True if the stream is in the segment.
pub(crate) fn part(key: &SampleKey, segment: Segment) -> bool {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
    hash % u64::from(segment.total()) == u64::from(segment.index())
}

impl Drop for Wrong {
    fn drop(&mut self) {
        if matches!(self.defect, Defect::LostWithTheHandle) {
            let own = std::mem::take(&mut *locked(&self.own));
            for commits in locked(&self.shared.streams).values_mut() {
                commits.retain(|commit| !own.contains(&commit.metadata.commit_id));
            }
        }
    }
}

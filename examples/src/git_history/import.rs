//! Importing: every first-parent commit becomes events, and a marker says how far it is.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::{CommitId, Context, Operation, Outcome, SaveApi, StreamKey, Token};
use eventsrc_sqlite::SqliteStorage;
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::archive::{Archive, Marker};
use super::event::{CommitImported, FileEvent, History, ObjectId, Origin};
use super::git::{CommitHeader, Entry, Repository};
use super::path::FilePath;

/// Changes, or commits, that are saved together: many files at once, each file's events in order.
const WINDOW: usize = 4096;

/// Saves under way at once; the database makes few disk commits of many.
const IN_FLIGHT: usize = 256;

/// What the ids of our commits are made in; any fixed number does.
const NAMESPACE: Uuid = Uuid::from_u128(0x5ad1_a6c4_9a6d_4d5c_8f43_0f5e_6f0f_6b1e);

/// How an import ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The last commit that is imported whole; `None` in a repository without commits.
    pub marker: Option<Marker>,
    /// How many commits it added.
    pub commits: u64,
    /// How many changes it saved.
    pub changes: u64,
    /// How many of them an earlier import had saved without coming to the end of their commit.
    pub repeated: u64,
    /// How many commits are left, because it was interrupted.
    pub left: u64,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// First-parent commits that are imported whole.
    pub commits: u64,
    /// First-parent commits that there are.
    pub total: u64,
    /// Changes that this import saved.
    pub changes: u64,
}

/// Imports what `archive` does not have yet, up to the head of `repository`.
///
/// A commit's events are saved file by file, many at once, and after them the commit itself, to the history: that is
/// the marker from which the next import goes on. The id of every save is made of the commit and the path, so what a
/// killed import saved after its marker is recognised, not saved again.
///
/// `report` hears how far it is. When `interrupt` is ready, what is in flight is saved, and the import ends there.
///
/// # Errors
///
/// If git or the database fails, if the repository's history is not one that the archive's goes on from, or if
/// another import is at work on it. What was saved stays, and another import goes on from there.
pub async fn import(
    repository: &Repository,
    archive: &Archive,
    mut report: impl FnMut(Progress),
    interrupt: impl Future<Output = ()>,
) -> Result<Imported> {
    let marker = archive.marker().await?;
    let head = repository.head().await?;
    let total = match &head {
        Some(head) => repository.count(head).await?,
        None => 0,
    };
    check(repository, head.as_ref(), total, marker.as_ref()).await?;
    let mut import = Import::new(archive, marker);
    let before = import.done();
    let mut left = total - before;
    if let Some(head) = head.filter(|_| left > 0) {
        report(import.progress(total));
        let mut log = repository.log(import.marker.as_ref().map(|marker| &marker.commit.commit), &head)?;
        let mut interrupt = pin!(interrupt);
        loop {
            let entry = tokio::select! {
                biased;
                () = &mut interrupt => break,
                entry = log.next() => entry?,
            };
            let at_end = entry.is_none();
            import.take(entry)?;
            if at_end || import.is_full() {
                import.save().await?;
                report(import.progress(total));
            }
            if at_end {
                break;
            }
        }
        import.save().await?;
        left = total - import.done();
    }
    let commits = import.done() - before;
    let Import { marker, changes, repeated, .. } = import;
    Ok(Imported { marker, commits, changes, repeated, left })
}

/// Whether the first-parent commits up to `head` begin with all that are imported.
async fn check(
    repository: &Repository,
    head: Option<&ObjectId>,
    total: u64,
    marker: Option<&Marker>,
) -> Result<()> {
    let Some(Marker { ordinal, commit }) = marker else { return Ok(()) };
    let there = match head {
        Some(head) if *ordinal <= total => {
            repository.commit(format!("{head}~{}", total - ordinal).as_ref()).await?
        }
        _ => None,
    };
    if there.as_ref() == Some(&commit.commit) {
        return Ok(());
    }
    let repository = repository.path().display();
    let head = head.map_or("nothing".into(), ToString::to_string);
    bail!(
        "the import ends at {} ({}), which is not commit number {ordinal} on the way to {head}, the head of \
         {repository}: the branch was rewritten, or it is another one; import it into a file of its own with --db",
        commit.commit,
        commit.summary,
    );
}

/// An import under way.
struct Import {
    files: SaveApi<SqliteStorage<FilePath, u64, FileEvent>>,
    history: SaveApi<SqliteStorage<History, u64, CommitImported>>,
    marker: Option<Marker>,
    /// The commit whose changes are coming in.
    open: Option<Open>,
    /// Commits after the marker whose changes are all saved or pending.
    complete: Vec<CommitImported>,
    /// Events that are to be saved, file by file.
    pending: BTreeMap<FilePath, Vec<FileEvent>>,
    pending_changes: usize,
    /// Where the streams of the files are that this import saved to: it neither reads them again nor looks there for
    /// what may have been saved before.
    sequences: HashMap<FilePath, u64>,
    changes: u64,
    repeated: u64,
}

/// A commit of which there may be more.
struct Open {
    origin: Arc<Origin>,
    imported: CommitImported,
}

impl Import {
    fn new(archive: &Archive, marker: Option<Marker>) -> Self {
        Self {
            files: SaveApi::new(archive.files.clone()),
            history: SaveApi::new(archive.history.clone()),
            marker,
            open: None,
            complete: Vec::new(),
            pending: BTreeMap::new(),
            pending_changes: 0,
            sequences: HashMap::new(),
            changes: 0,
            repeated: 0,
        }
    }

    /// How many commits are imported whole.
    fn done(&self) -> u64 {
        self.marker.as_ref().map_or(0, |marker| marker.ordinal)
    }

    fn progress(&self, total: u64) -> Progress {
        Progress { commits: self.done(), total, changes: self.changes }
    }

    /// Whether it is time to save.
    fn is_full(&self) -> bool {
        self.pending_changes >= WINDOW || self.complete.len() >= WINDOW
    }

    /// Takes the next entry of the log; the end of it is the end of the open commit.
    fn take(&mut self, entry: Option<Entry>) -> Result<()> {
        match entry {
            Some(Entry::Change(path, content)) => {
                let open = self.open.as_mut().context("git printed a change of no commit")?;
                open.imported.changes += 1;
                let by = Arc::clone(&open.origin);
                let event = match content {
                    Some(content) => FileEvent::ContentSet { content, by },
                    None => FileEvent::Deleted { by },
                };
                self.pending.entry(path).or_default().push(event);
                self.pending_changes += 1;
            }
            Some(Entry::Commit(header)) => {
                self.close();
                let ordinal = self.done() + self.complete.len() as u64 + 1;
                self.open = Some(Open::new(ordinal, header));
            }
            None => self.close(),
        }
        Ok(())
    }

    fn close(&mut self) {
        self.complete.extend(self.open.take().map(|open| open.imported));
    }

    /// Saves what is pending, and after it the commits that it completes.
    async fn save(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_changes = 0;
        let files = &self.files;
        let saves = pending.into_iter().map(|(path, events)| {
            let sequence = self.sequences.get(&path).copied();
            save_file(files, path, sequence, events)
        });
        let saved: Vec<SavedFile> = stream::iter(saves).buffer_unordered(IN_FLIGHT).try_collect().await?;
        for file in saved {
            self.changes += file.changes;
            self.repeated += file.repeated;
            self.sequences.insert(file.path, file.sequence);
        }
        self.mark().await
    }

    /// Adds the complete commits to the history, all or none.
    async fn mark(&mut self) -> Result<()> {
        let complete = std::mem::take(&mut self.complete);
        let Some(last) = complete.last().cloned() else { return Ok(()) };
        let known = self.marker.as_ref().map(|marker| marker.ordinal);
        let ordinal = self.done() + complete.len() as u64;
        let context = context(&History, known, &last.commit)?;
        let mut operations: Vec<Operation<CommitImported>> = Vec::with_capacity(complete.len());
        for commit in complete {
            operations.push(match operations.is_empty() {
                true => Operation::if_seq(known, commit),
                false => Operation::insert(commit),
            });
        }
        match self.history.save_all(&History, &context, &operations).await? {
            Outcome::Saved(saved) if saved.sequence == ordinal => {
                self.marker = Some(Marker { ordinal, commit: last });
                Ok(())
            }
            _ => bail!(
                "another import is at work on this database; it is safe, try again when that one is done"
            ),
        }
    }
}

impl Open {
    fn new(ordinal: u64, header: CommitHeader) -> Self {
        let CommitHeader { id: commit, author, authored, committed, summary } = header;
        Self {
            origin: Arc::new(Origin { ordinal, commit: commit.clone(), author, time: authored }),
            imported: CommitImported { commit, time: committed, summary, changes: 0 },
        }
    }
}

/// What was saved to one file's stream.
struct SavedFile {
    path: FilePath,
    /// The last of it.
    sequence: u64,
    changes: u64,
    repeated: u64,
}

/// Saves the events of one file, one after the other. A save knows the sequence of the one before it and is one
/// request; the first in an import looks the stream through for itself, unless it is empty.
async fn save_file(
    files: &SaveApi<SqliteStorage<FilePath, u64, FileEvent>>,
    path: FilePath,
    mut known: Option<u64>,
    events: Vec<FileEvent>,
) -> Result<SavedFile> {
    let (mut changes, mut repeated) = (0, 0);
    for event in events {
        let context = context(&path, known, &event.origin().commit)?;
        let operation: Operation<FileEvent> = Operation::insert(event);
        let outcome = files.save_with(&path, &context, operation).await?;
        let saved = outcome.saved().with_context(|| format!("too many imports at work on {path}"))?;
        known = Some(saved.sequence);
        changes += 1;
        repeated += u64::from(saved.repeated);
    }
    let sequence = known.context("there was nothing to save")?;
    Ok(SavedFile { path, sequence, changes, repeated })
}

/// The context of the save that git commit `commit` leads to on the stream `key`, whose sequence `known` is stored.
fn context<K: StreamKey>(key: &K, known: Option<u64>, commit: &ObjectId) -> Result<Context> {
    let name = format!("{commit} {}/{}", key.category(), key.id());
    let commit_id = Some(CommitId(Uuid::new_v5(&NAMESPACE, name.as_bytes())));
    let token = match known {
        Some(sequence) => Token::claimed(key, sequence)?.vouched(),
        None => Token::default(),
    };
    Ok(Context { commit_id, token, ..Context::default() })
}

//! The import: every first-parent commit becomes events, and a marker records the progress.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::save::SaveSettings;
use eventsrc_core::{CommitId, Context, EventStorage, Operation, Outcome, SaveApi, StreamKey, Token};
use eventsrc_sqlite::SqliteStorage;
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::archive::{Archive, Marker};
use super::event::{CommitImported, FileEvent, History, ObjectId, Origin};
use super::git::{CommitHeader, Entry, Repository};
use super::path::FilePath;

/// Number of changes, or of commits, that are saved together. Files are saved concurrently, the events of one file in
/// order.
const WINDOW: usize = 4096;

/// Number of concurrent saves. The database groups them into few disk commits.
const IN_FLIGHT: usize = 256;

/// Namespace of the commit ids. Any fixed number works.
const NAMESPACE: Uuid = Uuid::from_u128(0x5ad1_a6c4_9a6d_4d5c_8f43_0f5e_6f0f_6b1e);

/// Outcome of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The last commit that is imported completely; `None` in a repository without commits.
    pub marker: Option<Marker>,
    /// Number of commits that this import added.
    pub commits: u64,
    /// Number of changes that this import saved.
    pub changes: u64,
    /// Number of these changes that an earlier, interrupted import had already saved.
    pub repeated: u64,
    /// Number of commits that are left because the import was interrupted.
    pub left: u64,
}

/// Progress of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportProgress {
    /// Number of first-parent commits that are imported completely.
    pub commits: u64,
    /// Number of first-parent commits in the repository.
    pub total: u64,
    /// Number of changes that this import has saved.
    pub changes: u64,
}

/// Imports the commits that `archive` lacks, up to the head of `repository`.
///
/// The events of a commit are saved to the streams of its files, many streams concurrently. After them the commit is
/// saved to the history; this is the marker after which the next import continues. The commit id of every save is
/// derived from the git commit and the path. Saves that a killed import made after its marker are therefore recognised
/// and not repeated.
///
/// `report` receives the progress. When `interrupt` completes, the import saves what it has read and ends.
///
/// # Errors
///
/// If git or the database fails, if the history of the repository does not continue that of the archive, or if another
/// import writes to the archive at the same time. What was saved stays, and the next import continues from there.
pub async fn import(
    repository: &Repository,
    archive: &Archive,
    mut report: impl FnMut(ImportProgress),
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

/// Checks that the first-parent commits up to `head` begin with the imported ones.
async fn check(
    repository: &Repository,
    head: Option<&ObjectId>,
    total: u64,
    marker: Option<&Marker>,
) -> Result<()> {
    let Some(Marker { ordinal, commit }) = marker else { return Ok(()) };
    let found = match head {
        Some(head) if *ordinal <= total => {
            repository.commit(format!("{head}~{}", total - ordinal).as_ref()).await?
        }
        _ => None,
    };
    if found.as_ref() == Some(&commit.commit) {
        return Ok(());
    }
    let repository = repository.path().display();
    let head = head.map_or("nothing".into(), ToString::to_string);
    bail!(
        "the last imported commit {} ({}) is not commit number {ordinal} up to {head}, the head of {repository}: \
         the branch was rewritten, or it is another branch; import it into a separate file with --db",
        commit.commit,
        commit.summary,
    );
}

/// A running import.
struct Import {
    files: SaveApi<SqliteStorage<FilePath, u64, FileEvent>>,
    history: SaveApi<SqliteStorage<History, u64, CommitImported>>,
    marker: Option<Marker>,
    /// The commit whose changes are being read.
    open: Option<Open>,
    /// Commits after the marker whose changes are all saved or pending.
    complete: Vec<CommitImported>,
    /// Events to save, by file.
    pending: BTreeMap<FilePath, Vec<FileEvent>>,
    pending_changes: usize,
    /// Last sequences of the streams that this import saved to. Later saves to them need no read and no search for
    /// repeated commits.
    sequences: HashMap<FilePath, u64>,
    changes: u64,
    repeated: u64,
}

/// A commit that can have more changes.
struct Open {
    origin: Arc<Origin>,
    imported: CommitImported,
}

impl Import {
    fn new(archive: &Archive, marker: Option<Marker>) -> Self {
        Self {
            files: saves(archive.files.clone()),
            history: saves(archive.history.clone()),
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

    /// Returns the number of commits that are imported completely.
    fn done(&self) -> u64 {
        self.marker.as_ref().map_or(0, |marker| marker.ordinal)
    }

    fn progress(&self, total: u64) -> ImportProgress {
        ImportProgress { commits: self.done(), total, changes: self.changes }
    }

    /// True if enough is pending for a save.
    fn is_full(&self) -> bool {
        self.pending_changes >= WINDOW || self.complete.len() >= WINDOW
    }

    /// Takes the next entry of the log. The next header, or the end of the log, ends the open commit.
    fn take(&mut self, entry: Option<Entry>) -> Result<()> {
        match entry {
            Some(Entry::Change(path, content)) => {
                let open = self.open.as_mut().context("git printed a change before the first commit")?;
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

    /// Saves the pending changes, and then the commits that are complete with them.
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

    /// Appends the complete commits to the history, all or none.
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
                "another import is writing to this database; no data is lost; try again when it has finished"
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

/// Result of the saves to the stream of one file.
struct SavedFile {
    path: FilePath,
    /// Last sequence of the stream.
    sequence: u64,
    changes: u64,
    repeated: u64,
}

/// Saves the events of one file, one after the other. Each save knows the sequence of the one before it and is one
/// request. The first save of an import to a stream searches the stream for its commit id, unless the stream is empty.
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
        let saved =
            outcome.saved().with_context(|| format!("too many imports write to {path} at the same time"))?;
        known = Some(saved.sequence);
        changes += 1;
        repeated += u64::from(saved.repeated);
    }
    let sequence = known.context("a file without events was to be saved")?;
    Ok(SavedFile { path, sequence, changes, repeated })
}

/// Creates the API of an import, which finds an event of an earlier, interrupted import wherever it is in its stream.
fn saves<St: EventStorage>(storage: St) -> SaveApi<St> {
    let settings = SaveSettings { repeats_among: u32::MAX, ..SaveSettings::default() };
    SaveApi::with(storage, settings, Arc::new(SystemClock), Arc::new(Randomness::from_system()))
}

/// Context of the save of git commit `commit` to the stream `key`, whose last known sequence is `known`.
fn context<K: StreamKey>(key: &K, known: Option<u64>, commit: &ObjectId) -> Result<Context> {
    let name = format!("{commit} {}/{}", key.category(), key.id());
    let commit_id = Some(CommitId(Uuid::new_v5(&NAMESPACE, name.as_bytes())));
    let token = match known {
        Some(sequence) => Token::claimed(key, sequence)?.vouched(),
        None => Token::default(),
    };
    Ok(Context { commit_id, token, ..Context::default() })
}

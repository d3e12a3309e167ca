//! The database of imported events, and the queries on it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::{Consistency, EventStorage, Fold, Query, QueryApi, StorageError, Token};
use eventsrc_sqlite::{Database, SqliteStorage};
use futures::TryStreamExt;

use super::event::{
    Changes, CommitImported, Content, ContentAt, FileEvent, History, LatestChange, OrdinalAt, Point,
};
use super::path::FilePath;

/// The events of one repository: one stream for each file that ever existed, and one stream of imported commits.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Streams of files.
    pub files: SqliteStorage<FilePath, u64, FileEvent>,
    /// Stream of the commits that are imported completely, in order.
    pub history: SqliteStorage<History, u64, CommitImported>,
    /// The SQLite file with both.
    pub database: Database,
}

/// The files at one point of the history, with their content. `Display` prints what `git ls-tree -r` prints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree(pub BTreeMap<FilePath, Content>);

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(path, content)| writeln!(f, "{content}\t{path}"))
    }
}

/// The last commit that is imported completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Number of the commit among the first-parent commits, from 1.
    pub ordinal: u64,
    /// Its event in the history.
    pub commit: CommitImported,
}

impl Archive {
    /// Opens the database at `path`, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// If the file is not such a database or is in use, or if it cannot be created.
    pub async fn open(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        }
        let database = Database::open(path).await?;
        Ok(Self { files: SqliteStorage::new(&database), history: SqliteStorage::new(&database), database })
    }

    /// Returns the last imported commit; `None` before the first one.
    pub async fn marker(&self) -> Result<Option<Marker>, StorageError> {
        let head = self.history.latest(&History).await?;
        let mut pages = self.history.events(&History, head.map(|head| head.sequence));
        let mut marker = None;
        while let Some(page) = pages.try_next().await? {
            if let Some(event) = page.events().last() {
                marker = Some(Marker { ordinal: event.sequence(), commit: event.payload.clone() });
            }
        }
        Ok(marker)
    }

    /// Returns the event of commit number `ordinal`; `None` if the commit is not imported completely.
    pub async fn commit(&self, ordinal: u64) -> Result<Option<CommitImported>, StorageError> {
        let page = self.history.events(&History, Some(ordinal)).try_next().await?;
        Ok(page.and_then(|page| page.events().next().map(|event| event.payload.clone())))
    }

    /// Returns the number of the last commit at `point`; `None` if the point is before the first commit or names an
    /// unknown commit.
    pub async fn ordinal(&self, point: &Point) -> Result<Option<u64>, StorageError> {
        let query = QueryApi::keyed(self.history.clone(), OrdinalAt, |_| History);
        query.get(point, Consistency::LatestEvent).await
    }

    /// Returns the number of changes that the imported commits made.
    pub async fn changes(&self) -> Result<u64, StorageError> {
        let query = QueryApi::new(self.history.clone(), Changes);
        Ok(query.get(&History, Consistency::LatestEvent).await?.unwrap_or_default())
    }

    /// Returns the tree after commit number `upto`: the events of every file up to it, folded. Holds one page of events
    /// and the tree in memory.
    pub async fn tree(&self, upto: u64) -> Result<Tree, StorageError> {
        let fold = ContentAt { upto };
        let mut tree = BTreeMap::new();
        let mut pages = self.files.scan(Segment::ALL);
        while let Some(page) = pages.try_next().await? {
            for event in page.events() {
                let (path, mut content) = match tree.remove_entry(event.key()) {
                    Some((path, content)) => (path, Some(content)),
                    None => (event.key().clone(), None),
                };
                fold.apply(&path, &mut content, event);
                if let Some(content) = content {
                    tree.insert(path, content);
                }
            }
        }
        Ok(Tree(tree))
    }

    /// Returns the token of the streams of all files after commit number `upto`.
    pub async fn token(&self, upto: u64) -> Result<Token> {
        let mut token = Token::default();
        let mut pages = self.files.scan(Segment::ALL);
        while let Some(page) = pages.try_next().await? {
            for event in page.events().filter(|event| event.payload.origin().ordinal <= upto) {
                token = token.join(&Token::claimed(event.key(), event.sequence())?);
            }
        }
        Ok(token)
    }

    /// Returns the query whose `history` is every change of a file, oldest first.
    pub fn log(&self) -> QueryApi<SqliteStorage<FilePath, u64, FileEvent>, LatestChange> {
        QueryApi::new(self.files.clone(), LatestChange)
    }
}

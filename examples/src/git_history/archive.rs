//! The database: what was imported, and what is asked of it.

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

/// The events of one repository: a stream for each file that there ever was, and one of the imported commits.
#[derive(Debug, Clone)]
pub struct Archive {
    /// What happened to each file.
    pub files: SqliteStorage<FilePath, u64, FileEvent>,
    /// The commits that are imported whole, in order.
    pub history: SqliteStorage<History, u64, CommitImported>,
    /// The file that has them.
    pub database: Database,
}

/// Which files there are at one point, and what they hold. As text: what `git ls-tree -r` prints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree(pub BTreeMap<FilePath, Content>);

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(path, content)| writeln!(f, "{content}\t{path}"))
    }
}

/// The last commit that is imported whole, and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Which of the first-parent commits it is, from 1.
    pub ordinal: u64,
    /// What was noted of it.
    pub commit: CommitImported,
}

impl Archive {
    /// Opens the database at `path`, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// If there is a file that is no such database, or one in use, or none can be made.
    pub async fn open(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let database = Database::open(path).await?;
        Ok(Self { files: SqliteStorage::new(&database), history: SqliteStorage::new(&database), database })
    }

    /// How far the import is; `None` before the first commit.
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

    /// What was noted of commit number `ordinal`; `None` if it is not imported whole.
    pub async fn commit(&self, ordinal: u64) -> Result<Option<CommitImported>, StorageError> {
        let page = self.history.events(&History, Some(ordinal)).try_next().await?;
        Ok(page.and_then(|page| page.events().next().map(|event| event.payload.clone())))
    }

    /// The number of the last commit at `point`; `None` if there is none so early, or no such commit.
    pub async fn ordinal(&self, point: &Point) -> Result<Option<u64>, StorageError> {
        let query = QueryApi::keyed(self.history.clone(), OrdinalAt, |_| History);
        query.get(point, Consistency::LatestEvent).await
    }

    /// How many changes the imported commits made.
    pub async fn changes(&self) -> Result<u64, StorageError> {
        let query = QueryApi::new(self.history.clone(), Changes);
        Ok(query.get(&History, Consistency::LatestEvent).await?.unwrap_or_default())
    }

    /// The tree once commit number `upto` was made: every file's events up to it, folded. Holds a page of events, and
    /// the tree.
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

    /// Where the streams of all files were once commit number `upto` was made.
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

    /// The query of a file's events, whose `history` is every change of it, oldest first.
    pub fn log(&self) -> QueryApi<SqliteStorage<FilePath, u64, FileEvent>, LatestChange> {
        QueryApi::new(self.files.clone(), LatestChange)
    }
}

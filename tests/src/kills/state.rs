//! Acknowledgements of writers, and the stored commits.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Result, anyhow};
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_core::storage::{ScanStorage, Segment};
use eventsrc_core::{Commit, StreamName};
use eventsrc_dynamo::DynamoStorage;
use eventsrc_sqlite::{Database, SqliteStorage};
use futures::TryStreamExt;

use super::place::Location;
use super::writer::Part;

/// A writer's acknowledgement of a stored commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    stream: String,
    first: u64,
    stored: Stored,
}

/// The parts of a commit that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    events: usize,
    id: String,
}

/// The acknowledgements in a writer's output. An incomplete last line is ignored.
///
/// # Errors
///
/// If the output contains anything else.
pub fn acknowledged(said: &str) -> Result<Vec<Acknowledged>> {
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or_else(|| anyhow!("{line:?} is no acknowledgement of a writer"));
        let (stream, first) = (word()?.to_owned(), word()?.parse()?);
        Ok(Acknowledged { stream, first, stored: Stored { events: word()?.parse()?, id: word()?.into() } })
    };
    whole.lines().map(parse).collect()
}

/// A storage that still changes after this number of reads does not settle.
const MOST_LOOKS: u32 = 20;

const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// All commits of a location.
pub struct State {
    commits: HashMap<(String, u64), Stored>,
    heads: BTreeMap<String, u64>,
    wrong: Option<String>,
}

impl State {
    /// Reads and checks all commits.
    ///
    /// # Errors
    ///
    /// If a commit cannot be read.
    pub async fn read(place: &Location) -> Result<Self> {
        match place {
            Location::File(file) => Self::of(&SqliteStorage::new(&Database::open(file).await?)).await,
            Location::Dynamo { .. } => Self::of(&DynamoStorage::new(&place.dynamo()?)).await,
        }
    }

    /// Reads all commits after nothing changes any more: the server may still execute requests of a killed
    /// writer.
    ///
    /// # Errors
    ///
    /// If a commit cannot be read.
    pub async fn settled(place: &Location) -> Result<Self> {
        let mut state = Self::read(place).await?;
        for _ in 0..MOST_LOOKS {
            let before = state.commits();
            SystemClock.sleep(BETWEEN_LOOKS).await;
            state = Self::read(place).await?;
            if state.commits() == before && state.wrong.is_none() {
                break;
            }
        }
        Ok(state)
    }

    async fn of<St>(storage: &St) -> Result<Self>
    where
        St: ScanStorage<Key = StreamName, Sequence = u64, Payload = Part>,
    {
        let mut state = Self { commits: HashMap::new(), heads: BTreeMap::new(), wrong: None };
        let mut pages = storage.scan(Segment::ALL);
        while let Some(page) = pages.try_next().await? {
            page.commits().iter().for_each(|commit| state.add(commit));
        }
        for (stream, last) in &state.heads {
            let head = storage.latest(&stream.parse()?).await?;
            if head.map(|head| head.sequence) != Some(*last) {
                state.wrong = Some(format!("{stream} ends at {last}, and says {head:?}"));
            }
        }
        Ok(state)
    }

    fn add(&mut self, commit: &Commit<StreamName, u64, Part>) {
        let stream = commit.key.to_string();
        let expected = self.heads.get(&stream).map_or(1, |last| last + 1);
        if commit.first != expected {
            self.wrong = Some(format!("{stream} goes on at {} after {}", commit.first, expected - 1));
        }
        let is_whole = |(place, part): (usize, &Part)| part.place == place && part.of == commit.len();
        if !commit.payloads.iter().enumerate().all(is_whole) {
            self.wrong = Some(format!("{stream} has a part of a commit at {}", commit.first));
        }
        self.heads.insert(stream.clone(), commit.last());
        let stored = Stored { events: commit.len(), id: commit.metadata.commit_id.to_string() };
        self.commits.insert((stream, commit.first), stored);
    }

    /// The violations in a location in which all these commits were acknowledged.
    pub fn wrong(&self, acknowledged: &[Acknowledged]) -> Option<String> {
        let is_lost =
            |said: &&Acknowledged| self.commits.get(&(said.stream.clone(), said.first)) != Some(&said.stored);
        let lost = acknowledged.iter().find(is_lost);
        self.wrong.clone().or_else(|| lost.map(|said| format!("an acknowledged commit is lost: {said:?}")))
    }

    /// Number of commits.
    pub fn commits(&self) -> usize {
        self.commits.len()
    }
}

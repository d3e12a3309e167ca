//! Journals of the processes: each command before and after it is saved.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use eventsrc_core::CommitId;

/// A command: the commit of some events to one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) id: CommitId,
    pub(super) stream: String,
    pub(super) events: usize,
}

impl Command {
    /// Returns the payloads of its events.
    pub(super) fn payloads(&self) -> impl Iterator<Item = u64> {
        let id = self.id.0.as_u128() as u64;
        (0..self.events as u64).map(move |index| id ^ index)
    }
}

/// Answer to a command that was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledgement {
    pub(super) last: u64,
    /// True if an earlier save had stored the commit.
    pub(super) repeated: bool,
}

/// Journal of one process and its successors, open for writing.
pub(super) struct Journal(File);

impl Journal {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| format!("cannot open {}", path.display()))?))
    }

    /// Writes that a command is about to be saved.
    pub(super) fn tried(&self, Command { id, stream, events }: &Command) -> Result<()> {
        self.write(&format!("tried {id} {stream} {events}\n"))
    }

    /// Writes that a command was saved.
    pub(super) fn saved(
        &self,
        id: CommitId,
        Acknowledgement { last, repeated }: Acknowledgement,
    ) -> Result<()> {
        self.write(&format!("saved {id} {last} {repeated}\n"))
    }

    /// Writes a line in one system call, so that a kill does not cut it.
    fn write(&self, line: &str) -> Result<()> {
        Ok((&self.0).write_all(line.as_bytes())?)
    }
}

/// Commands in the journals of some processes.
#[derive(Debug, Default)]
pub(super) struct Commands(BTreeMap<CommitId, (Command, Option<Acknowledgement>)>);

impl Commands {
    /// Reads the journals that exist.
    pub(super) fn read<'a>(journals: impl IntoIterator<Item = &'a Path>) -> Result<Self> {
        let mut commands = Self::default();
        for journal in journals {
            let text = match fs::read_to_string(journal) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                text => text?,
            };
            // The writer of the last line may still be busy.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            for line in whole.lines() {
                commands.add(line).with_context(|| format!("{line:?} is no line of a journal"))?;
            }
        }
        Ok(commands)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let mut word = || words.next();
        let (is_tried, id) = (word()? == "tried", CommitId(word()?.parse().ok()?));
        if is_tried {
            let (stream, events) = (word()?.to_owned(), word()?.parse().ok()?);
            self.0.entry(id).or_insert((Command { id, stream, events }, None));
        } else {
            let (last, repeated) = (word()?.parse().ok()?, word()?.parse().ok()?);
            self.0.get_mut(&id)?.1 = Some(Acknowledgement { last, repeated });
        }
        Some(())
    }

    pub(super) fn get(&self, id: CommitId) -> Option<&Command> {
        self.0.get(&id).map(|(command, _)| command)
    }

    /// Returns the commands without an acknowledgement.
    pub(super) fn open(&self) -> impl Iterator<Item = &Command> {
        self.0.values().filter(|(_, acknowledged)| acknowledged.is_none()).map(|(command, _)| command)
    }

    /// Returns the acknowledged commands.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = (&Command, Acknowledgement)> {
        self.0.values().filter_map(|(command, acknowledged)| Some((command, (*acknowledged)?)))
    }

    pub(super) fn acknowledged_events(&self) -> u64 {
        self.acknowledged().map(|(command, _)| command.events as u64).sum()
    }

    /// Returns the number of commands that an earlier save had stored.
    pub(super) fn found_stored(&self) -> u64 {
        self.acknowledged().filter(|(_, acknowledgement)| acknowledgement.repeated).count() as u64
    }
}

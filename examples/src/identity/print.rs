//! Streams and values, printed as text.

use std::io::{self, Write};

use eventsrc_core::{Commit, EventStorage, StreamKey, Timestamp};
use futures::TryStreamExt;

use super::events::{DirectoryEvent, GroupEvent, UserEvent};
use super::folds::User;
use super::keys::{GroupId, UserId};

/// Prints to a terminal, a file or any other writer.
pub struct Printer<'a> {
    out: &'a mut (dyn Write + Send),
    heading: u32,
}

/// An event as two columns of text.
pub(super) trait Columns {
    /// Name of the event.
    fn name(&self) -> &'static str;
    /// Value that the event sets.
    fn detail(&self) -> String;
}

/// A short name of a key. Ids are long and differ at their ends.
pub(super) trait Short {
    /// Returns the category and the end of the id.
    fn short(&self) -> String;
}

impl<'a> Printer<'a> {
    /// Creates a printer that writes to `out`.
    pub fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, heading: 0 }
    }

    /// Prints the next numbered heading.
    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        self.heading += 1;
        writeln!(self.out, "\n{}. {text}\n", self.heading)
    }

    /// Prints an empty line.
    pub(super) fn gap(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// Prints an action and its outcome.
    pub(super) fn outcome(&mut self, action: &str, outcome: &str) -> io::Result<()> {
        self.line(format_args!("{action:<44}{outcome}"))
    }

    /// Prints the folded value of a stream.
    pub(super) fn value(&mut self, value: impl std::fmt::Display) -> io::Result<()> {
        self.line(format_args!("      = {value}"))
    }

    /// Prints an indented line.
    pub(super) fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.out, "   {text}")
    }

    /// Prints a line without indentation.
    pub(super) fn margin(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Prints the events of a stream from sequence `from` on, one per line. A bracket joins the events of one commit.
    pub(super) async fn stream<St>(
        &mut self,
        name: &str,
        storage: &St,
        key: &St::Key,
        from: u64,
    ) -> anyhow::Result<()>
    where
        St: EventStorage<Sequence = u64, Payload: Columns>,
    {
        self.line(name)?;
        if from > 1 {
            self.line(format_args!("      ... {} before", count(from - 1, "event")))?;
        }
        let mut pages = storage.events(key, Some(from));
        while let Some(page) = pages.try_next().await? {
            page.commits().iter().try_for_each(|commit| self.commit(commit))?;
        }
        Ok(())
    }

    fn commit<K, E: Columns>(&mut self, commit: &Commit<K, u64, E>) -> io::Result<()> {
        for event in commit.events() {
            let bracket = match event.index {
                _ if commit.len() == 1 => ' ',
                0 => '┌',
                last if last + 1 == commit.len() => '└',
                _ => '│',
            };
            let (name, detail) = (event.payload.name(), event.payload.detail());
            let line = format!("  {bracket} {:>3}  {name:<18}{detail}", event.sequence());
            self.line(line.trim_end())?;
        }
        Ok(())
    }
}

impl Columns for UserEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::NameSet(_) => "name set",
            Self::EmailSet(_) => "e-mail set",
            Self::DisplayNameSet { .. } => "display name set",
            Self::Deleted => "deleted",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NameSet(name) => name.to_string(),
            Self::EmailSet(email) => email.to_string(),
            Self::DisplayNameSet { name, .. } => name.to_string(),
            Self::Deleted => String::new(),
        }
    }
}

impl Columns for GroupEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::NameSet(_) => "name set",
            Self::MemberAdded(_) => "member added",
            Self::MemberRemoved(_) => "member removed",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NameSet(name) => name.to_string(),
            Self::MemberAdded(user) | Self::MemberRemoved(user) => user.short(),
        }
    }
}

impl Columns for DirectoryEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::Claimed { .. } => "claimed",
            Self::Released { .. } => "released",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Claimed { entry, owner } => {
                format!("{:<40}  by {} {}", entry.to_string(), owner.category(), end(owner.id()))
            }
            Self::Released { entry, .. } => entry.to_string(),
        }
    }
}

impl Short for UserId {
    fn short(&self) -> String {
        format!("user {}", end(&self.id()))
    }
}

impl Short for GroupId {
    fn short(&self) -> String {
        format!("group {}", end(&self.id()))
    }
}

fn end(id: &str) -> String {
    format!("..{}", &id[id.len().saturating_sub(4)..])
}

/// Formats a user on one line.
pub(super) fn user_line(user: Option<&User>) -> String {
    let Some(user) = user else { return "no user".into() };
    let name = user.name.as_ref().map(ToString::to_string);
    let email = user.email.as_ref().map(|email| format!("<{email}>"));
    let display_name = user.display_name.as_ref().map(ToString::to_string);
    Vec::from_iter([name, email, display_name].into_iter().flatten()).join(" ")
}

/// Formats a time in UTC, to the microsecond.
pub(super) fn time(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// Formats a number with its unit: "1 event", "2 events".
pub(super) fn count(number: u64, unit: &str) -> String {
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

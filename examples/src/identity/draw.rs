//! Streams and values, drawn as text.

use std::io::{self, Write};

use eventsrc_core::{Commit, EventStorage, StreamKey, Timestamp};
use futures::TryStreamExt;

use super::events::{DirectoryEvent, GroupEvent, UserEvent};
use super::folds::User;
use super::keys::{GroupId, UserId};

/// Draws on a terminal, a file, or whatever takes bytes.
pub struct Pen<'a> {
    out: &'a mut (dyn Write + Send),
    heading: u32,
}

/// An event as two columns: what happened, and to what.
pub(super) trait Drawn {
    /// What happened.
    fn what(&self) -> &'static str;
    /// To what.
    fn detail(&self) -> String;
}

/// A name that fits on a line with others: ids are long, and their ends differ.
pub(super) trait Short {
    /// The kind and the end of the id.
    fn short(&self) -> String;
}

impl<'a> Pen<'a> {
    /// Draws on `out`.
    pub fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, heading: 0 }
    }

    /// The next numbered heading.
    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        self.heading += 1;
        writeln!(self.out, "\n{}. {text}\n", self.heading)
    }

    /// An empty line.
    pub(super) fn gap(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// What was tried, and what came of it.
    pub(super) fn outcome(&mut self, tried: &str, outcome: &str) -> io::Result<()> {
        self.line(format_args!("{tried:<44}{outcome}"))
    }

    /// What a stream was folded into.
    pub(super) fn value(&mut self, value: impl std::fmt::Display) -> io::Result<()> {
        self.line(format_args!("      = {value}"))
    }

    /// A line below a heading.
    pub(super) fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.out, "   {text}")
    }

    /// A line at the margin.
    pub(super) fn margin(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// The events of a stream, from `from` on, one a line; those of one commit have a bracket.
    pub(super) async fn stream<St>(
        &mut self,
        name: &str,
        storage: &St,
        key: &St::Key,
        from: u64,
    ) -> anyhow::Result<()>
    where
        St: EventStorage<Sequence = u64, Payload: Drawn>,
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

    fn commit<K, E: Drawn>(&mut self, commit: &Commit<K, u64, E>) -> io::Result<()> {
        for event in commit.events() {
            let bracket = match event.index {
                _ if commit.len() == 1 => ' ',
                0 => '┌',
                last if last + 1 == commit.len() => '└',
                _ => '│',
            };
            let (what, detail) = (event.payload.what(), event.payload.detail());
            let line = format!("  {bracket} {:>3}  {what:<18}{detail}", event.sequence());
            self.line(line.trim_end())?;
        }
        Ok(())
    }
}

impl Drawn for UserEvent {
    fn what(&self) -> &'static str {
        match self {
            Self::NameSet(_) => "name set",
            Self::EmailSet(_) => "e-mail set",
            Self::DisplayNameSet(_) => "display name set",
            Self::Deleted => "deleted",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NameSet(name) => name.to_string(),
            Self::EmailSet(email) => email.to_string(),
            Self::DisplayNameSet(name) => name.to_string(),
            Self::Deleted => String::new(),
        }
    }
}

impl Drawn for GroupEvent {
    fn what(&self) -> &'static str {
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

impl Drawn for DirectoryEvent {
    fn what(&self) -> &'static str {
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

/// A user on one line.
pub(super) fn in_short(user: Option<&User>) -> String {
    let Some(user) = user else { return "no user".into() };
    let name = user.name.as_ref().map(ToString::to_string);
    let email = user.email.as_ref().map(|email| format!("<{email}>"));
    let display_name = user.display_name.as_ref().map(ToString::to_string);
    Vec::from_iter([name, email, display_name].into_iter().flatten()).join(" ")
}

/// A time to the microsecond, UTC.
pub(super) fn time(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// "1 event", "2 events".
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

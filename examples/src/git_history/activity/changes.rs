//! The changes of a batch, added up by row.

use std::collections::BTreeMap;

use eventsrc_core::Event;

use crate::git_history::event::{FileEvent, Origin};
use crate::git_history::path::FilePath;

/// Changes to the rows, one entry per row, so that a batch writes each row once.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    pub(super) files: BTreeMap<&'a FilePath, FileChanges<'a>>,
    pub(super) authors: BTreeMap<&'a str, AuthorChanges<'a>>,
}

/// Changes of one file.
#[derive(Debug)]
pub(super) struct FileChanges<'a> {
    pub(super) count: i64,
    pub(super) last: &'a FileEvent,
}

/// Changes by one author.
#[derive(Debug)]
pub(super) struct AuthorChanges<'a> {
    pub(super) files: BTreeMap<&'a FilePath, i64>,
    pub(super) first: &'a Origin,
    pub(super) last: &'a Origin,
}

impl<'a> Changes<'a> {
    /// Adds up `events`. The events of one file are in order.
    pub(super) fn of(events: impl IntoIterator<Item = Event<'a, FilePath, u64, FileEvent>>) -> Self {
        let mut changes = Self::default();
        for event in events {
            let (path, last) = (event.key(), event.payload);
            let file = changes.files.entry(path).or_insert(FileChanges { count: 0, last });
            file.count += 1;
            file.last = last;
            let by = last.origin();
            let author = changes.authors.entry(&by.author).or_insert_with(|| AuthorChanges {
                files: BTreeMap::new(),
                first: by,
                last: by,
            });
            *author.files.entry(path).or_default() += 1;
            if by.ordinal < author.first.ordinal {
                author.first = by;
            }
            if by.ordinal > author.last.ordinal {
                author.last = by;
            }
        }
        changes
    }
}

//! A git repository as events: a stream for each file, folded into the tree of any commit.

mod archive;
mod cli;
mod event;
mod git;
mod import;
mod path;
mod progress;

pub use archive::{Archive, Marker, Tree};
pub use cli::main;
pub use event::{
    Changes, CommitImported, Content, ContentAt, FileEvent, History, LatestChange, ObjectId, OrdinalAt,
    Origin, Point,
};
pub use git::{CommitHeader, Entry, Log, Repository};
pub use import::{Imported, Progress, import};
pub use path::FilePath;

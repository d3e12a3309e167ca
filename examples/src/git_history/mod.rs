//! A git repository as events: one stream for each file, folded into the tree of any commit.

mod activity;
mod answers;
mod archive;
mod arguments;
mod cli;
mod counts;
mod event;
mod git;
mod import;
mod path;
mod progress;

pub use activity::{
    Activity, ActivityView, AuthorRow, BuildReport, Comparison, FileRow, ReplacedVersion, Versions, as_of,
    authors, churn,
};
pub use archive::{Archive, Marker, Tree};
pub use cli::main;
pub use event::{
    Changes, CommitImported, Content, ContentAt, FileEvent, History, LatestChange, ObjectId, OrdinalAt,
    Origin, Point,
};
pub use git::{CommitHeader, Entry, Log, Repository};
pub use import::{ImportProgress, Imported, import};
pub use path::FilePath;

//! The view `activity`: tables of how often each file was changed, and of who changed what.
//!
//! A fold reads the events of one file to answer a query about that file. The view answers queries about all files
//! without reading any event, because it counted each event once, when the event arrived.

mod build;
mod changes;
mod rows;
mod tables;
mod versions;
mod view;

pub use build::{BuildReport, Comparison, ReplacedVersion, as_of};
pub use rows::{AuthorRow, FileRow, authors, churn};
pub use versions::Versions;
pub use view::{Activity, ActivityView};

//! The tables of events and snapshots. This file and the files below it alone know their names and the SQL.
//!
//! A commit is one row, with the parts of an [`EncodedCommit`](eventsrc_core::backend::EncodedCommit). Text is stored as text, so that the table can
//! be read with `psql`.
//!
//! A scan reads along the primary key: a segment is a range of the key, and each page starts where the last one ended.
//! No column counts all commits. Such a number is assigned before its transaction commits, so a reader that has seen 11
//! could not know whether 10 is still to come, unless all writers waited for each other.

mod columns;
mod events;
mod insert_result;
mod scan_cursor;
mod schema;
mod snapshots;
mod stream_location;
mod text_or_bytes;

pub(crate) use columns::{HeadRow, PageRow};
pub(crate) use events::EventLayout;
pub(crate) use insert_result::InsertResult;
pub(crate) use scan_cursor::ScanCursor;
pub(crate) use schema::PART;
pub(crate) use snapshots::{SnapshotKey, SnapshotLayout, SnapshotRow};
pub(crate) use stream_location::StreamLocation;
pub(crate) use text_or_bytes::{TextOrBytes, check_text};

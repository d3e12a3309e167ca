//! Cursor of a scan.

use super::columns::PageRow;
use crate::failure::Failure;

/// Position in the primary key of the commits, after which the next page of a scan starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanCursor {
    pub(super) bucket: i16,
    pub(crate) category: String,
    pub(crate) id: String,
    pub(super) number: i64,
}

impl ScanCursor {
    /// Cursor before all streams of `bucket`.
    pub(crate) fn before(bucket: i16) -> Self {
        Self { bucket, category: String::new(), id: String::new(), number: 0 }
    }

    /// Cursor after a commit in a page of many streams; the commit ends at `number`.
    pub(crate) fn after(row: &PageRow, number: i64) -> Result<Self, Failure> {
        let cursor = || {
            let (category, id) = row.name()?;
            Ok(Self { bucket: row.bucket()?, category: category.into(), id: id.into(), number })
        };
        cursor().map_err(|error| Failure::new("cannot read", error))
    }
}

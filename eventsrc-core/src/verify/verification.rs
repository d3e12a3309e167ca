//! Result of a verification.

use std::collections::BTreeSet;
use std::fmt;

use crate::stream::StreamName;

/// Result of [`verify`](super::verify).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "differences are reported by this value, not by an error"]
pub enum Verification {
    /// The rows are those that the events say.
    Equal {
        /// Number of rows.
        rows: u64,
    },
    /// The rows differ in these tables.
    Different(Vec<TableDifference>),
}

/// Rows of one table in which a view differs from its events. A row with a changed value is two of them: the one that is
/// missing, and the one that is there instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableDifference {
    /// Public name of the table.
    pub table: String,
    /// Number of rows that the events say and the view does not have.
    pub missing: u64,
    /// Number of rows that the view has and the events do not say.
    pub extra: u64,
    /// Some of the missing rows, at most [`MAX_EXAMPLES`].
    pub missing_rows: Vec<String>,
    /// Some of the extra rows, at most [`MAX_EXAMPLES`]. A row that was changed again meanwhile is left out.
    pub extra_rows: Vec<String>,
    /// Streams to which missing and extra rows belong, at most 1,000, if the view's code declares a
    /// [`StreamColumn`](crate::view::StreamColumn) of the table.
    pub streams: BTreeSet<StreamName>,
}

/// Maximum number of missing and of extra rows of one table that a [`TableDifference`] names.
pub const MAX_EXAMPLES: usize = 100;

impl fmt::Display for TableDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, missing, extra, missing_rows, extra_rows, streams } = self;
        write!(f, "table {table}: {missing} rows are missing, and {extra} are extra")?;
        if !streams.is_empty() {
            let streams: Vec<_> = streams.iter().map(StreamName::as_str).collect();
            write!(f, ", of the streams {}", streams.join(", "))?;
        }
        missing_rows.iter().try_for_each(|row| write!(f, "\n  missing: {row}"))?;
        extra_rows.iter().try_for_each(|row| write!(f, "\n  extra: {row}"))
    }
}

//! Reading all rows of a view version.

use super::contract::VersionedStore;
use crate::storage::StorageError;
use crate::stream::StreamName;

/// A versioned view store that reads its rows one by one, so that [`verify`](crate::verify::verify) can compare them.
pub trait ScanRows: VersionedStore {
    /// Passes each row of this version to `visitor`. Returns the visitor, and the position of each stream that has one.
    ///
    /// Rows and positions are of one snapshot. Reading it blocks no transaction that changes the view. The order of the
    /// rows is not defined.
    fn scan_rows<R: RowVisitor>(
        &self,
        visitor: R,
    ) -> impl Future<Output = Result<(R, Positions<Self::Sequence>), StorageError>> + Send;
}

/// Streams with their positions.
pub type Positions<S> = Vec<(StreamName, S)>;

/// Receiver of the rows of a view.
pub trait RowVisitor: Send + 'static {
    /// Receives a row.
    fn visit(&mut self, row: ViewRow<'_>);
}

/// A row of a view.
#[derive(Debug, Clone)]
pub struct ViewRow<'a> {
    /// Public name of the table.
    pub table: &'a str,
    /// The columns with their values, as text. Different rows of a table have different texts.
    pub text: &'a str,
    /// Stream to which the row belongs, if the view's code declares a [`StreamColumn`] of the table.
    pub stream: Option<StreamName>,
}

/// Column of a view's table whose value says to which stream a row belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamColumn {
    /// The column has the name of the stream, such as `user/42`.
    Name(&'static str),
    /// The column has the id of the stream, such as `42`.
    Id {
        /// Name of the column.
        column: &'static str,
        /// Category of the streams.
        category: &'static str,
    },
}

impl StreamColumn {
    /// Returns the name of the column.
    pub fn column(&self) -> &'static str {
        match self {
            Self::Name(column) | Self::Id { column, .. } => column,
        }
    }

    /// Returns the stream to which a row with this value belongs; `None` if the value names no stream.
    pub fn stream(&self, value: &str) -> Option<StreamName> {
        match self {
            Self::Name(_) => value.parse().ok(),
            Self::Id { category, .. } => StreamName::new(category, value).ok(),
        }
    }
}

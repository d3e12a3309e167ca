//! Row ids of streams that the writer remembers between transactions.

use eventsrc_core::StreamName;
use quick_cache::unsync::Cache;
use rusqlite::{Connection, Result};

use crate::layout;

/// Cache of the row ids of streams.
///
/// The library removes no stream. A rolled back transaction invalidates the cache, and so does another connection, which may
/// have restored the file to an earlier state.
pub(crate) struct Streams {
    rows: Cache<StreamName, i64>,
    /// Version of the file for which the cache is valid.
    version: Option<i64>,
}

/// Number of streams whose row id is cached.
const CACHED_STREAMS: usize = 16 * 1024;

impl Streams {
    /// An empty cache.
    pub(crate) fn new() -> Self {
        Self { rows: Cache::new(CACHED_STREAMS), version: None }
    }

    /// True if the row ids were found in the file at this [version](layout::version_of_others).
    pub(crate) fn is_valid_for(&self, version: i64) -> bool {
        self.version == Some(version)
    }

    /// Forgets all row ids. Those that are found from now on are of this version of the file.
    pub(crate) fn forget(&mut self, version: i64) {
        self.clear();
        self.version = Some(version);
    }

    /// Forgets all row ids.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    /// Row id of a stream, if it exists.
    pub(crate) fn find(&mut self, connection: &Connection, name: &StreamName) -> Result<Option<i64>> {
        if let Some(stream) = self.rows.get(name) {
            return Ok(Some(*stream));
        }
        let stream = layout::stream(connection, name)?;
        if let Some(stream) = stream {
            self.rows.insert(name.clone(), stream);
        }
        Ok(stream)
    }

    /// Creates a stream, and returns its row id.
    pub(crate) fn create(&mut self, connection: &Connection, name: &StreamName) -> Result<i64> {
        let stream = layout::create_stream(connection, name)?;
        self.rows.insert(name.clone(), stream);
        Ok(stream)
    }
}

//! Layout of the lock file. No other file knows it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Kinds of a type of events, each with all versions that were ever recorded.
pub(super) type KindsOf = BTreeMap<String, BTreeMap<u32, Locked>>;

/// Recorded version of a kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Locked {
    /// An event as it was stored.
    pub(super) sample: Value,
    /// JSON Schema of the fields.
    pub(super) schema: Value,
}

/// Contents of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct LockFile(BTreeMap<String, KindsOf>);

/// The lock file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaLockError {
    /// Reading or writing failed.
    #[error("cannot access the schema lock {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file is not a schema lock.
    #[error("{} is not a schema lock: {source}", path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        source: serde_json::Error,
    },
}

impl LockFile {
    /// Reads the file. A missing one is empty.
    pub(super) fn read(path: &Path) -> Result<Self, SchemaLockError> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| SchemaLockError::Malformed { path: path.into(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(SchemaLockError::Io { path: path.into(), source }),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), SchemaLockError> {
        let mut text = serde_json::to_string_pretty(self).expect("JSON values are written as JSON");
        text.push('\n');
        std::fs::write(path, text).map_err(|source| SchemaLockError::Io { path: path.into(), source })
    }

    /// Returns the kinds of the type `name`; `None` if it was never recorded.
    pub(super) fn kinds(&self, name: &str) -> Option<&KindsOf> {
        self.0.get(name)
    }

    pub(super) fn kinds_mut(&mut self, name: &str) -> &mut KindsOf {
        self.0.entry(name.to_owned()).or_default()
    }
}

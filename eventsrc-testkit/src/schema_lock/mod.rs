//! Lock file of the events that a service stores, which shows a change of an event before it is deployed.
//!
//! A test writes the version, the JSON Schema and a stored sample of each kind of event into a file in the repository of
//! the service, and compares them from then on. It fails if a kind changed without a new version, or if a sample that any
//! version ever wrote no longer reads. A deliberate change is recorded by running the test with `UPDATE_SCHEMA_LOCK=1`; the
//! text of the failure says what it means for processes that still run the old code.
//!
//! ```
//! use eventsrc_core::codec::{Kind, Kinds};
//! use eventsrc_testkit::schema_lock::SchemaLock;
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
//! enum AccountEvent {
//!     Opened { owner: String, currency: String },
//!     Deposited { cents: i64 },
//! }
//!
//! # let directory = std::env::temp_dir().join(format!("schema-lock-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let path = directory.join("schema.lock.json");
//! # std::fs::write(&path, r#"{"account": {
//! #     "Deposited": {"1": {"sample": {"Deposited": {"cents": 4000}}, "schema": {"type": "object", "required": ["cents"],
//! #         "properties": {"cents": {"type": "integer", "format": "int64"}}}}},
//! #     "Opened": {"1": {"sample": {"Opened": {"owner": "Ada"}}, "schema": {"type": "object", "required": ["owner"],
//! #         "properties": {"owner": {"type": "string"}}}}}
//! # }}"#)?;
//! let from_1 = |old: serde_json::Value| {
//!     let owner = old["owner"].as_str().ok_or("an account without an owner")?.to_owned();
//!     Ok(AccountEvent::Opened { owner, currency: "EUR".into() })
//! };
//! let codec = Kinds::new().with("Opened", Kind::at(2).upcast(from_1));
//! let samples = [
//!     AccountEvent::Opened { owner: "Ada".into(), currency: "EUR".into() },
//!     AccountEvent::Deposited { cents: 4_000 },
//! ];
//! let differences = SchemaLock::new(&path).events("account", codec, samples).compare()?;
//! assert_eq!(
//!     differences.to_string(),
//!     "account: version 2 of Opened is new. Processes with older code refuse commands about streams that have it, and \
//!      their views wait at it.\n"
//! );
//! # std::fs::remove_dir_all(directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod differences;
mod event_type;
mod lock_file;
mod schema;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use eventsrc_core::codec::Codec;
use schemars::JsonSchema;

pub use differences::{Difference, Differences};
use event_type::EventType;
use lock_file::LockFile;
pub use lock_file::SchemaLockError;

/// Comparison of the events of a service with a lock file.
#[must_use = "nothing is compared before `verify` or `compare`"]
pub struct SchemaLock {
    path: PathBuf,
    types: Vec<EventType>,
}

/// Environment variable that makes [`SchemaLock::verify`] record deliberate changes.
const UPDATE: &str = "UPDATE_SCHEMA_LOCK";

impl SchemaLock {
    /// Creates a comparison with the file at `path`, such as `schema.lock.json` next to the manifest of the crate.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), types: Vec::new() }
    }

    /// Adds a type of events, its codec, and samples: at least one of each kind. `name` is the name of the type in the file,
    /// such as the category of its streams.
    ///
    /// # Panics
    ///
    /// If a sample cannot be encoded as JSON, or a kind has no sample.
    pub fn events<E, C>(mut self, name: &str, codec: C, samples: impl IntoIterator<Item = E>) -> Self
    where
        E: JsonSchema + 'static,
        C: Codec<E>,
    {
        self.types.push(EventType::new(name, codec, samples));
        self
    }

    /// Compares the events with the file, and returns the differences.
    ///
    /// # Errors
    ///
    /// [`SchemaLockError`] if the file cannot be read. A missing file is an empty one.
    pub fn compare(&self) -> Result<Differences, SchemaLockError> {
        let file = LockFile::read(&self.path)?;
        Ok(Differences(
            self.types.iter().flat_map(|of_type| of_type.compare(file.kinds(of_type.name()))).collect(),
        ))
    }

    /// Fails the test if the events differ from the file. With `UPDATE_SCHEMA_LOCK=1` in the environment, it records what
    /// is new in the file, and fails only if stored events would become unreadable or would change their meaning.
    ///
    /// # Panics
    ///
    /// If there is a difference, with a text that says what it means.
    pub fn verify(self) {
        let differences = self.compare().unwrap_or_else(|error| panic!("{error}"));
        let updates = std::env::var_os(UPDATE).is_some_and(|value| value == "1");
        if updates && !differences.breaks() {
            let recorded = self.record();
            return recorded.unwrap_or_else(|error| panic!("{error}"));
        }
        let advice = match differences.breaks() {
            true => "Stored events would be lost. Give the kind a new version and an upcaster.".to_owned(),
            false => format!("If this is intended, run the test with {UPDATE}=1, and commit the file."),
        };
        let path = self.path.display();
        assert!(differences.0.is_empty(), "the events differ from {path}:\n{differences}{advice}");
    }

    /// Records what is new in the file.
    ///
    /// # Errors
    ///
    /// [`SchemaLockError`] if the file cannot be read or written.
    pub fn record(&self) -> Result<(), SchemaLockError> {
        let mut file = LockFile::read(&self.path)?;
        for of_type in &self.types {
            of_type.record(file.kinds_mut(of_type.name()));
        }
        file.write(&self.path)
    }
}

//! Payloads that change over time, read through upcasters.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contract::{Codec, CodecError};

/// Codec that writes the current version of a payload, and reads older versions through a chain of upcasters.
///
/// Start with the current version. Then add each older version with a function that converts it to the next one. The
/// chain is typed: it compiles only if each step fits the next. The current version is decoded in one pass.
///
/// ```
/// use eventsrc_core::codec::{Codec, Json, Versioned};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(PartialEq, Serialize, Deserialize)]
/// struct V1 { name: String }
/// #[derive(PartialEq, Serialize, Deserialize)]
/// struct V2 { first: String, last: String }
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// struct Renamed { display_name: String }
///
/// let codec = Versioned::new(Json, 3)
///     .upcast(|old: V2| Ok(Renamed { display_name: format!("{} {}", old.first, old.last) }))
///     .upcast(|old: V1| {
///         let (first, last) = old.name.split_once(' ').ok_or("a name of one word")?;
///         Ok(V2 { first: first.into(), last: last.into() })
///     });
/// let renamed = codec.decode(1, br#"{"name":"Ada Lovelace"}"#)?;
/// assert_eq!(renamed, Renamed { display_name: "Ada Lovelace".into() });
/// # Ok::<(), eventsrc_core::codec::CodecError>(())
/// ```
pub struct Versioned<C, T, Oldest = T> {
    codec: C,
    current: u32,
    /// Decoders of older versions; index 0 is the version before the current one.
    older: Vec<Decode<T>>,
    /// Converts the oldest known version to the current one.
    upcast: Arc<Upcast<Oldest, T>>,
}

type Cause = Box<dyn Error + Send + Sync>;
type Decode<T> = Box<dyn Fn(&[u8]) -> Result<T, CodecError> + Send + Sync>;
type Upcast<A, B> = dyn Fn(A) -> Result<B, Cause> + Send + Sync;

impl<C, T: 'static> Versioned<C, T> {
    /// Creates a codec for payloads whose current version is `current`, at least 1. Add older versions with
    /// [`upcast`](Self::upcast).
    pub fn new(codec: C, current: u32) -> Self {
        Self { codec, current: current.max(1), older: Vec::new(), upcast: Arc::new(Ok) }
    }
}

impl<C, T: 'static, Oldest: 'static> Versioned<C, T, Oldest> {
    /// Adds the version before the oldest known one, with the function that converts it to that one.
    ///
    /// # Panics
    ///
    /// If the oldest known version is 1: versions begin at 1.
    #[must_use]
    pub fn upcast<A>(
        self,
        step: impl Fn(A) -> Result<Oldest, Cause> + Send + Sync + 'static,
    ) -> Versioned<C, T, A>
    where
        A: 'static,
        C: Codec<A> + Clone,
    {
        let Self { codec, current, mut older, upcast } = self;
        let version = current.checked_sub(older.len() as u32 + 1).filter(|version| *version > 0);
        let version = version.expect("versions begin at 1");
        let upcast: Arc<Upcast<A, T>> = Arc::new(move |value| upcast(step(value)?));
        let (reader, to_current) = (codec.clone(), Arc::clone(&upcast));
        older.push(Box::new(move |bytes| {
            // The inner codec knows only its own version, so an error gets the version of the payload here.
            let value = reader.decode(reader.version(), bytes).map_err(|error| relabel(error, version))?;
            to_current(value).map_err(|source| CodecError::Malformed { version, source })
        }));
        Versioned { codec, current, older, upcast }
    }
}

impl<C, T, Oldest> Codec<T> for Versioned<C, T, Oldest>
where
    C: Codec<T>,
    T: Serialize + DeserializeOwned + 'static,
    Oldest: 'static,
{
    fn version(&self) -> u32 {
        self.current
    }

    fn is_text(&self) -> bool {
        self.codec.is_text()
    }

    fn encode(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        self.codec.encode(value, bytes).map_err(|error| relabel(error, self.current))
    }

    fn check(&self, value: &T, bytes: &[u8]) -> Result<(), CodecError> {
        self.codec.check(value, bytes).map_err(|error| relabel(error, self.current))
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<T, CodecError> {
        if version == self.current {
            return self.codec.decode(self.codec.version(), bytes).map_err(|error| relabel(error, version));
        }
        let age = self.current.checked_sub(version).and_then(|age| self.older.get(age as usize - 1));
        let oldest = self.current - self.older.len() as u32;
        age.ok_or(CodecError::UnknownVersion { version, oldest, current: self.current })?(bytes)
    }
}

/// Replaces the version in `error` with the version of the payload.
fn relabel(error: CodecError, version: u32) -> CodecError {
    match error {
        CodecError::Unencodable { source, .. } => CodecError::Unencodable { version, source },
        CodecError::Lossy { source, .. } => CodecError::Lossy { version, source },
        CodecError::Malformed { source, .. } => CodecError::Malformed { version, source },
        unknown @ (CodecError::UnknownVersion { .. } | CodecError::UnknownKind { .. }) => unknown,
    }
}

impl<C: fmt::Debug, T, Oldest> fmt::Debug for Versioned<C, T, Oldest> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versioned")
            .field("codec", &self.codec)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

//! Payloads that changed over the years.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contract::{Codec, CodecError};

/// A codec that reads older versions of a payload through a chain of upcasters, and writes the current one.
///
/// Begin with the current version and add each older one with a function to the one after it. The chain is typed:
/// it compiles only if each step fits the next. The current version is decoded in one pass.
///
/// ```
/// use eventsrc_core::codec::{Codec, Json, Versioned};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct V1 { name: String }
/// #[derive(Serialize, Deserialize)]
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
    /// From the version before the current one, back.
    older: Vec<Decode<T>>,
    rise: Arc<Rise<Oldest, T>>,
}

type Cause = Box<dyn Error + Send + Sync>;
type Decode<T> = Box<dyn Fn(&[u8]) -> Result<T, CodecError> + Send + Sync>;
type Rise<A, B> = dyn Fn(A) -> Result<B, Cause> + Send + Sync;

impl<C, T: 'static> Versioned<C, T> {
    /// `codec` for payloads whose current version is `current`, at least 1; older ones are added with [`upcast`](Self::upcast).
    pub fn new(codec: C, current: u32) -> Self {
        Self { codec, current: current.max(1), older: Vec::new(), rise: Arc::new(Ok) }
    }
}

impl<C, T: 'static, Oldest: 'static> Versioned<C, T, Oldest> {
    /// Reads one more version, the one before the oldest that is known so far.
    ///
    /// # Panics
    ///
    /// If there is no version before it: versions begin at 1.
    #[must_use]
    pub fn upcast<A>(
        self,
        step: impl Fn(A) -> Result<Oldest, Cause> + Send + Sync + 'static,
    ) -> Versioned<C, T, A>
    where
        A: 'static,
        C: Codec<A> + Clone,
    {
        let Self { codec, current, mut older, rise } = self;
        let version = current.checked_sub(older.len() as u32 + 1).filter(|version| *version > 0);
        let version = version.expect("versions begin at 1");
        let rise: Arc<Rise<A, T>> = Arc::new(move |value| rise(step(value)?));
        let (reader, through) = (codec.clone(), Arc::clone(&rise));
        older.push(Box::new(move |bytes| {
            // The inner codec knows one version, its own; which one that is in the history of the payload is known here.
            let value = reader.decode(reader.version(), bytes).map_err(|error| relabel(error, version))?;
            through(value).map_err(|source| CodecError::Malformed { version, source })
        }));
        Versioned { codec, current, older, rise }
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

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<T, CodecError> {
        if version == self.current {
            return self.codec.decode(self.codec.version(), bytes).map_err(|error| relabel(error, version));
        }
        let age = self.current.checked_sub(version).and_then(|age| self.older.get(age as usize - 1));
        let oldest = self.current - self.older.len() as u32;
        age.ok_or(CodecError::UnknownVersion { version, oldest, current: self.current })?(bytes)
    }
}

/// The same error, of the version that was stored.
fn relabel(error: CodecError, version: u32) -> CodecError {
    match error {
        CodecError::Unencodable { source, .. } => CodecError::Unencodable { version, source },
        CodecError::Malformed { source, .. } => CodecError::Malformed { version, source },
        unknown @ CodecError::UnknownVersion { .. } => unknown,
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

//! JSON with a version for each kind of event.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contract::{Codec, CodecError, expect_version_one};
use super::json::Json;
use super::read_back::read_back;
use super::tagged::Tagged;

/// JSON codec with a version for each kind of event, so that a process which does not know the new version of one kind
/// still reads all others.
///
/// The events are an enum in serde's default representation, and a kind is one of its variants. A kind at version 1 is
/// stored as [`Json`] stores it; one at a later version has the version in its tag: `{"Opened@2":{…}}`. So events that
/// `Json` wrote are read as version 1.
///
/// ```
/// use eventsrc_core::codec::{Codec, Kind, Kinds};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum AccountEvent {
///     Opened { owner: String, currency: String },
///     Deposited { cents: i64 },
/// }
///
/// /// Version 1 of `Opened`.
/// #[derive(Deserialize)]
/// struct OpenedV1 { owner: String }
///
/// let codec = Kinds::new().with(
///     "Opened",
///     Kind::at(2).upcast(|OpenedV1 { owner }| Ok(AccountEvent::Opened { owner, currency: "EUR".into() })),
/// );
/// let opened = codec.decode(1, br#"{"Opened":{"owner":"Ada"}}"#)?;
/// assert_eq!(opened, AccountEvent::Opened { owner: "Ada".into(), currency: "EUR".into() });
///
/// let mut bytes = Vec::new();
/// codec.encode(&opened, &mut bytes)?;
/// assert_eq!(bytes, br#"{"Opened@2":{"owner":"Ada","currency":"EUR"}}"#);
/// # Ok::<(), eventsrc_core::codec::CodecError>(())
/// ```
pub struct Kinds<T> {
    kinds: HashMap<String, Decoders<T>>,
    /// Replacement of an event that is too new.
    unknown: Option<Box<Replace<T>>>,
}

type Replace<T> = dyn Fn(&str, u32) -> T + Send + Sync;

impl<T> Kinds<T> {
    /// Creates a codec whose kinds all are at version 1.
    pub fn new() -> Self {
        Self { kinds: HashMap::new(), unknown: None }
    }

    /// Sets the current version of the kind `name`, and how its older versions are read. `name` is the variant as serde
    /// writes it.
    ///
    /// # Panics
    ///
    /// If `name` contains `@`, or the codec has the kind already.
    #[must_use]
    pub fn with<Oldest>(mut self, name: &str, kind: Kind<T, Oldest>) -> Self {
        assert!(!name.contains('@'), "the name of a kind does not contain `@`: {name}");
        let replaced = self.kinds.insert(name.to_owned(), kind.decoders);
        assert!(replaced.is_none(), "kind {name} was added before");
        self
    }

    /// Reads an event of an unknown kind or version as the event that `replace` returns for this kind and version, instead
    /// of failing.
    ///
    /// It is for readers that may ignore what they do not know. A view or a fold that ignores an event will never see it: a
    /// later deployment that knows the kind needs a new version of the view, and of the fold.
    #[must_use]
    pub fn with_unknown_as(mut self, replace: impl Fn(&str, u32) -> T + Send + Sync + 'static) -> Self {
        self.unknown = Some(Box::new(replace));
        self
    }
}

impl<T> Default for Kinds<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Versions of one kind of event, for [`Kinds`].
///
/// Start with the current version, and add each older one with a function that converts it to the next. The chain is
/// typed: it compiles only if each step fits the next. An old version can be any type that serde reads, such as a struct
/// with the fields of the variant, or `serde_json::Value`.
pub struct Kind<T, Oldest = T> {
    decoders: Decoders<T>,
    /// Converts the oldest known version to events.
    upcast: Arc<Upcast<Oldest, T>>,
}

struct Decoders<T> {
    /// Version that is written.
    current: u32,
    /// True if the enum still has the variant.
    is_written: bool,
    /// Decoders of older versions; index 0 is the version before the current one.
    older: Vec<Decode<T>>,
}

type Cause = Box<dyn Error + Send + Sync>;
type Decode<T> = Box<dyn Fn(&[u8], &mut Vec<T>) -> Result<(), Cause> + Send + Sync>;
type Upcast<A, T> = dyn Fn(A, &mut Vec<T>) -> Result<(), Cause> + Send + Sync;

impl<T: 'static> Kind<T> {
    /// Creates a kind whose current version is `version`, at least 1.
    pub fn at(version: u32) -> Self {
        let decoders = Decoders { current: version.max(1), is_written: true, older: Vec::new() };
        Self { decoders, upcast: unchanged() }
    }

    /// Creates a kind that is no longer written and that the enum no longer has, because it was renamed or became other
    /// kinds. `last` is its last version. All versions are read by upcasters, the first of which returns another kind.
    pub fn retired(last: u32) -> Self {
        let decoders = Decoders { current: last.saturating_add(1), is_written: false, older: Vec::new() };
        Self { decoders, upcast: unchanged() }
    }
}

/// Conversion of an event of the current version.
fn unchanged<T>() -> Arc<Upcast<T, T>> {
    Arc::new(|event, events| {
        events.push(event);
        Ok(())
    })
}

impl<T: 'static, Oldest: 'static> Kind<T, Oldest> {
    /// Adds the version before the oldest known one, with the function that converts it to that one.
    ///
    /// # Panics
    ///
    /// If the oldest known version is 1: versions begin at 1.
    #[must_use]
    pub fn upcast<A>(self, step: impl Fn(A) -> Result<Oldest, Cause> + Send + Sync + 'static) -> Kind<T, A>
    where
        A: DeserializeOwned + 'static,
    {
        let upcast = Arc::clone(&self.upcast);
        self.older(move |old, events| upcast(step(old)?, events))
    }

    /// Adds the version before the oldest known one, with a function that converts it to any number of values of that one:
    /// none to drop the event, several to split it. The event keeps its one sequence.
    ///
    /// ```
    /// # use eventsrc_core::codec::{Codec, Kind, Kinds};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// enum UserEvent { Named(String), Moved(String) }
    ///
    /// #[derive(Deserialize)]
    /// struct Registered { name: String, town: String }
    ///
    /// let codec = Kinds::new()
    ///     .with("Registered", Kind::retired(1).split(|old: Registered| {
    ///         Ok(vec![UserEvent::Named(old.name), UserEvent::Moved(old.town)])
    ///     }))
    ///     .with("Pinged", Kind::retired(1).split(|_: serde::de::IgnoredAny| Ok(vec![])));
    ///
    /// let mut events = Vec::new();
    /// codec.decode_event(1, br#"{"Registered":{"name":"Ada","town":"London"}}"#, &mut events)?;
    /// codec.decode_event(1, br#"{"Pinged":{}}"#, &mut events)?;
    /// assert_eq!(events, [UserEvent::Named("Ada".into()), UserEvent::Moved("London".into())]);
    /// # Ok::<(), eventsrc_core::codec::CodecError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the oldest known version is 1: versions begin at 1.
    #[must_use]
    pub fn split<A>(
        self,
        step: impl Fn(A) -> Result<Vec<Oldest>, Cause> + Send + Sync + 'static,
    ) -> Kind<T, A>
    where
        A: DeserializeOwned + 'static,
    {
        let upcast = Arc::clone(&self.upcast);
        self.older(move |old, events| step(old)?.into_iter().try_for_each(|next| upcast(next, events)))
    }

    /// Adds the version before the oldest known one, which `upcast` converts to events.
    fn older<A>(
        self,
        upcast: impl Fn(A, &mut Vec<T>) -> Result<(), Cause> + Send + Sync + 'static,
    ) -> Kind<T, A>
    where
        A: DeserializeOwned + 'static,
    {
        let mut decoders = self.decoders;
        assert!((decoders.older.len() as u32) < decoders.current - 1, "there is no version before 1");
        let upcast: Arc<Upcast<A, T>> = Arc::new(upcast);
        let decode = Arc::clone(&upcast);
        decoders.older.push(Box::new(move |body, events| decode(serde_json::from_slice(body)?, events)));
        Kind { decoders, upcast }
    }
}

impl<T> Codec<T> for Kinds<T>
where
    T: Serialize + DeserializeOwned + PartialEq + 'static,
{
    fn version(&self) -> u32 {
        1
    }

    fn is_text(&self) -> bool {
        true
    }

    fn encode(&self, value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = bytes.len();
        Json.encode(value, bytes)?;
        let Some(tagged) = Tagged::parse(&bytes[start..]) else { return Ok(()) };
        let refuse = |what| {
            let source = format!("kind {}: {what}", tagged.name).into();
            Err(CodecError::Unencodable { version: 1, source })
        };
        if tagged.has_version(&bytes[start..]) {
            return refuse("the name of its variant ends in a version");
        }
        let Some(kind) = self.kinds.get(tagged.name) else { return Ok(()) };
        if !kind.is_written {
            return refuse("it is retired");
        }
        if kind.current > 1 {
            let versioned = tagged.with_version(kind.current);
            bytes.truncate(start);
            bytes.extend_from_slice(&versioned);
        }
        Ok(())
    }

    fn check(&self, value: &T, bytes: &[u8]) -> Result<(), CodecError> {
        read_back(self, value, bytes)
    }

    fn decode(&self, version: u32, bytes: &[u8]) -> Result<T, CodecError> {
        expect_version_one(version)?;
        let Some(tagged) = Tagged::parse(bytes) else { return Json.decode(version, bytes) };
        if let Some(current) = self.decode_current(&tagged, bytes) {
            return current;
        }
        let mut events = Vec::new();
        self.decode_older(&tagged, &mut events)?;
        let count = events.len();
        events.pop().filter(|_| count == 1).ok_or_else(|| CodecError::Malformed {
            version,
            source: what(&tagged, &format_args!("its upcaster returns {count} events")).into(),
        })
    }

    fn decode_event(&self, version: u32, bytes: &[u8], events: &mut Vec<T>) -> Result<(), CodecError> {
        expect_version_one(version)?;
        let tagged = Tagged::parse(bytes);
        match tagged.as_ref().map(|tagged| (tagged, self.decode_current(tagged, bytes))) {
            None => events.push(Json.decode(version, bytes)?),
            Some((_, Some(current))) => events.push(current?),
            Some((tagged, None)) => self.decode_older(tagged, events)?,
        }
        Ok(())
    }
}

/// Version of the payloads, which are JSON.
const JSON: u32 = 1;

/// Text of an error about the event of `tagged`.
fn what(tagged: &Tagged<'_>, what: &dyn fmt::Display) -> String {
    format!("version {} of kind {}: {what}", tagged.version, tagged.name)
}

impl<T: Serialize + DeserializeOwned + PartialEq> Kinds<T> {
    /// Decodes `bytes`, which `tagged` takes apart, unless they are of an older version. An event that is too new is replaced,
    /// if a replacement is set.
    fn decode_current(&self, tagged: &Tagged<'_>, bytes: &[u8]) -> Option<Result<T, CodecError>> {
        let kind = self.kinds.get(tagged.name);
        let current = kind.map_or(1, |kind| kind.current);
        let is_written = kind.is_none_or(|kind| kind.is_written);
        let decoded = match tagged.version.cmp(&current) {
            Ordering::Less => return None,
            Ordering::Equal if is_written && current == 1 => Json.decode(JSON, bytes),
            Ordering::Equal if is_written => Json.decode(JSON, &tagged.with_version(1)),
            Ordering::Equal | Ordering::Greater => {
                let known = current - u32::from(!is_written);
                let source = what(tagged, &format_args!("versions up to {known} are known here")).into();
                Err(CodecError::UnknownKind { source })
            }
        };
        Some(match (decoded, &self.unknown) {
            (Err(error), Some(replace)) if error.is_too_new() => Ok(replace(tagged.name, tagged.version)),
            (decoded, _) => decoded,
        })
    }

    /// Decodes an event of an older version of its kind, and appends what its upcasters return.
    fn decode_older(&self, tagged: &Tagged<'_>, events: &mut Vec<T>) -> Result<(), CodecError> {
        let malformed =
            |cause: Cause| CodecError::Malformed { version: JSON, source: what(tagged, &cause).into() };
        let decode = self.kinds.get(tagged.name).and_then(|kind| {
            let age = kind.current.checked_sub(tagged.version)?;
            kind.older.get((age as usize).checked_sub(1)?)
        });
        let decode = decode.ok_or_else(|| malformed("it has no upcaster".into()))?;
        let before = events.len();
        decode(tagged.body, events).map_err(|cause| {
            events.truncate(before);
            malformed(cause)
        })
    }
}

impl<T> fmt::Debug for Kinds<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = self.kinds.iter().map(|(name, kind)| (name, kind.current));
        f.debug_map().entries(versions).finish()
    }
}

impl<T, Oldest> fmt::Debug for Kind<T, Oldest> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind").field("current", &self.decoders.current).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Events of a deployment that knows version 3 of `Moved`, and no longer `Renamed`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum New {
        Opened { name: String },
        Moved { street: String, city: String },
        Closed,
    }

    /// Events of a deployment that knows version 2 of `Moved`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Old {
        Opened { name: String },
        Renamed { to: String },
        Moved { to: Vec<String> },
        Closed,
    }

    #[derive(Deserialize)]
    struct MovedV2 {
        to: Vec<String>,
    }

    fn new() -> Kinds<New> {
        let moved = Kind::at(3)
            .upcast(|old: MovedV2| {
                let [street, city] = old.to.try_into().map_err(|_| "an address of two lines")?;
                Ok(New::Moved { street, city })
            })
            .upcast(|line: String| Ok(MovedV2 { to: line.split(", ").map(str::to_owned).collect() }));
        let renamed = Kind::retired(1).upcast(|old: serde_json::Value| {
            Ok(New::Opened { name: old["to"].as_str().ok_or("a name")?.into() })
        });
        Kinds::new().with("Moved", moved).with("Renamed", renamed)
    }

    fn old() -> Kinds<Old> {
        Kinds::new().with("Moved", Kind::at(2))
    }

    fn encode<T, C: Codec<T>>(codec: &C, event: &T) -> String {
        let mut bytes = b"before".to_vec();
        codec.encode(event, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    fn moved() -> New {
        New::Moved { street: "Castle 1".into(), city: "Bern".into() }
    }

    #[test]
    fn each_kind_has_a_version_of_its_own() {
        for (event, json) in [
            (New::Opened { name: "Ada".into() }, r#"{"Opened":{"name":"Ada"}}"#),
            (moved(), r#"{"Moved@3":{"street":"Castle 1","city":"Bern"}}"#),
            (New::Closed, r#""Closed""#),
        ] {
            assert_eq!(encode(&new(), &event), json);
            assert_eq!(new().decode(1, json.as_bytes()).unwrap(), event);
        }
    }

    #[test]
    fn older_versions_and_retired_kinds_are_upcast() {
        for (json, event) in [
            (r#"{"Moved@2":{"to":["Castle 1","Bern"]}}"#, moved()),
            (r#"{"Moved":"Castle 1, Bern"}"#, moved()),
            (r#"{"Renamed":{"to":"Ada"}}"#, New::Opened { name: "Ada".into() }),
        ] {
            assert_eq!(new().decode(1, json.as_bytes()).unwrap(), event, "{json}");
        }
    }

    #[test]
    fn an_upcaster_drops_and_splits_events() {
        let named = |name: &str| New::Opened { name: name.into() };
        let codec =
            Kinds::new().with("Pinged", Kind::retired(1).split(|_: serde::de::IgnoredAny| Ok(vec![]))).with(
                "Joined",
                Kind::retired(2)
                    .split(|names: Vec<String>| {
                        Ok(names.into_iter().map(|name| New::Opened { name }).collect())
                    })
                    .upcast(|name: String| Ok(vec![name, "and so on".into()])),
            );
        for (json, expected) in [
            (r#"{"Pinged":{"at":7}}"#, vec![]),
            (r#"{"Joined@2":["Ada","Grace","Mary"]}"#, vec![named("Ada"), named("Grace"), named("Mary")]),
            (r#"{"Joined":"Ada"}"#, vec![named("Ada"), named("and so on")]),
            (r#"{"Joined@2":["Ada"]}"#, vec![named("Ada")]),
        ] {
            let mut events = vec![New::Closed];
            codec.decode_event(1, json.as_bytes(), &mut events).unwrap();
            assert_eq!(events.split_off(1), expected, "{json}");
            // A value that is not an event of a stream cannot become several.
            assert_eq!(
                codec.decode(1, json.as_bytes()).ok(),
                expected.first().cloned().filter(|_| expected.len() == 1)
            );
        }
        let mut events = vec![New::Closed];
        codec.decode_event(1, br#"{"Joined@2":["Ada",7]}"#, &mut events).unwrap_err();
        assert_eq!(events, [New::Closed], "damage leaves nothing behind");
    }

    #[test]
    fn an_old_process_reads_the_unchanged_kinds_of_a_new_one() {
        for event in [New::Opened { name: "Ada".into() }, New::Closed] {
            assert_eq!(
                encode(&old(), &old().decode(1, encode(&new(), &event).as_bytes()).unwrap()),
                encode(&new(), &event)
            );
        }
        let error = old().decode(1, encode(&new(), &moved()).as_bytes()).unwrap_err();
        assert!(error.is_too_new(), "{error:?}");
        let cause = error.source().unwrap().to_string();
        assert_eq!(cause, "version 3 of kind Moved: versions up to 2 are known here");
        for unknown in [r#"{"Merged":{}}"#, r#"{"Merged@2":{}}"#, r#"{"Renamed@2":{}}"#] {
            assert!(new().decode(1, unknown.as_bytes()).unwrap_err().is_too_new(), "{unknown}");
        }
    }

    #[test]
    fn a_reader_may_ignore_what_it_does_not_know() {
        let tolerant =
            old().with_unknown_as(|kind, version| Old::Renamed { to: format!("{kind} {version}") });
        for (json, seen) in [
            (encode(&new(), &moved()), "Moved 3"),
            (r#"{"Merged":{"a":1}}"#.into(), "Merged 1"),
            (r#""Frozen""#.into(), "Frozen 1"),
        ] {
            let event = tolerant.decode(1, json.as_bytes()).unwrap();
            assert_eq!(event, Old::Renamed { to: seen.into() }, "{json}");
        }
        assert_eq!(tolerant.decode(1, br#""Closed""#).unwrap(), Old::Closed);
        assert!(tolerant.decode(1, br#"{"Opened":7}"#).is_err(), "damage is not ignored");
    }

    #[test]
    fn damage_is_not_taken_for_another_version() {
        for damaged in [
            r#"{"Moved@3":{"street":7}}"#,
            r#"{"Moved@2":{"to":["Castle 1"]}}"#,
            r#"{"Moved@2":{"to""#,
            r#"{"Opened":7}"#,
        ] {
            let error = new().decode(1, damaged.as_bytes()).unwrap_err();
            assert!(matches!(error, CodecError::Malformed { .. }), "{damaged}: {error:?}");
        }
        let without_upcaster = Codec::<Old>::decode(&old(), 1, br#"{"Moved":"Castle 1"}"#).unwrap_err();
        assert!(matches!(without_upcaster, CodecError::Malformed { .. }), "{without_upcaster:?}");
    }

    #[test]
    fn a_name_that_looks_like_a_version_is_refused() {
        #[derive(Serialize, Deserialize, PartialEq)]
        enum Odd {
            #[serde(rename = "a@2")]
            A,
        }
        let error = Kinds::new().encode(&Odd::A, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, CodecError::Unencodable { .. }), "{error:?}");
    }

    #[test]
    #[should_panic(expected = "there is no version before 1")]
    fn a_chain_does_not_go_before_version_one() {
        let _ = Kind::<u32>::at(1).upcast(Ok::<u32, Cause>);
    }
}

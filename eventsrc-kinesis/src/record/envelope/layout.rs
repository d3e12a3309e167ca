//! The JSON of an envelope: this file alone knows its names.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use eventsrc_core::backend::truncate_to_microseconds;
use eventsrc_core::codec::{Codec, CodecError};
use eventsrc_core::commit::Vec1;
use eventsrc_core::{Commit, ErrorKind, Metadata, Sequence, StorageError, StreamName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version that is written.
const VERSION: u32 = 1;

const COMMIT: &str = "commit";
const STREAM: &str = "stream";
const ANYTHING: &str = "anything";

/// An envelope as it is written, but for the payloads.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    eventsrc: u32,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    #[serde(flatten)]
    commit: Option<WrittenCommit<'a>>,
}

#[derive(Serialize)]
struct WrittenCommit<'a> {
    number: u64,
    #[serde(skip_serializing_if = "is_0")]
    zone: u16,
    time: String,
    metadata: &'a Metadata,
    #[serde(skip_serializing_if = "is_1")]
    version: u32,
}

/// An envelope as it is read.
#[derive(Deserialize)]
pub(super) struct Read<'a> {
    eventsrc: u32,
    #[serde(borrow)]
    change: Cow<'a, str>,
    #[serde(borrow)]
    stream: Option<Text<'a>>,
    pub(super) number: Option<u64>,
    #[serde(default)]
    pub(super) zone: u16,
    pub(super) time: Option<Timestamp>,
    pub(super) metadata: Option<Metadata>,
    #[serde(default = "one")]
    pub(super) version: u32,
    /// Payloads that are JSON.
    #[serde(borrow)]
    events: Option<Vec<&'a RawValue>>,
    /// Payloads that are other text.
    #[serde(borrow)]
    texts: Option<Vec<Text<'a>>>,
    /// Payloads that are no text, in base64.
    #[serde(borrow)]
    binaries: Option<Vec<Text<'a>>>,
}

/// A string, which is borrowed if it has no escapes. An `Option<Cow<str>>` never is.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What can be told of an envelope of any version, and of what is none.
#[derive(Deserialize)]
struct Foreign<'a> {
    eventsrc: Option<u32>,
    #[serde(borrow)]
    stream: Option<Text<'a>>,
}

/// Why data is no envelope. It quotes nothing of it.
pub(super) struct Unreadable {
    pub(super) stream: Option<StreamName>,
    pub(super) why: String,
}

impl<'a> Written<'a> {
    pub(super) fn commit<K, S: Sequence, E>(
        stream: &'a StreamName,
        commit: &'a Commit<K, S, E>,
        version: u32,
    ) -> Self {
        let details = WrittenCommit {
            number: commit.first.number(),
            zone: commit.first.zone().0,
            time: format!("{:.6}", truncate_to_microseconds(commit.time)),
            metadata: &commit.metadata,
            version,
        };
        Self { eventsrc: VERSION, change: COMMIT, stream: Some(stream.as_str()), commit: Some(details) }
    }

    pub(super) fn stream(stream: &'a StreamName) -> Self {
        Self { eventsrc: VERSION, change: STREAM, stream: Some(stream.as_str()), commit: None }
    }

    pub(super) fn anything() -> Self {
        Self { eventsrc: VERSION, change: ANYTHING, stream: None, commit: None }
    }
}

/// An envelope without payloads.
pub(super) fn write(written: &Written<'_>) -> Result<Vec<u8>, StorageError> {
    serde_json::to_vec(written).map_err(unencodable)
}

/// An envelope with payloads.
pub(super) fn write_with<E, C: Codec<E>>(
    written: &Written<'_>,
    codec: &C,
    payloads: &Vec1<E>,
) -> Result<Vec<u8>, StorageError> {
    let mut bytes = write(written)?;
    bytes.pop();
    let end = bytes.len();
    if !codec.is_text() {
        push_binaries(codec, payloads, &mut bytes)?;
    } else if !push_events(codec, payloads, &mut bytes)? {
        bytes.truncate(end);
        push_texts(codec, payloads, &mut bytes)?;
    }
    bytes.extend_from_slice(b"]}");
    Ok(bytes)
}

/// Appends payloads of text as the JSON values that they are; false if they are none.
fn push_events<E, C: Codec<E>>(
    codec: &C,
    payloads: &Vec1<E>,
    bytes: &mut Vec<u8>,
) -> Result<bool, StorageError> {
    for (place, payload) in payloads.iter().enumerate() {
        bytes.extend_from_slice(if place == 0 { br#","events":["# } else { b"," });
        let start = bytes.len();
        codec.encode(payload, bytes).map_err(unencodable)?;
        let written = &bytes[start..];
        // Blanks around a value would not be read back.
        if !serde_json::from_slice::<&RawValue>(written).is_ok_and(|value| value.get().len() == written.len())
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn push_texts<E, C: Codec<E>>(
    codec: &C,
    payloads: &Vec1<E>,
    bytes: &mut Vec<u8>,
) -> Result<(), StorageError> {
    let mut payload_bytes = Vec::new();
    for (place, payload) in payloads.iter().enumerate() {
        bytes.extend_from_slice(if place == 0 { br#","texts":["# } else { b"," });
        payload_bytes.clear();
        codec.encode(payload, &mut payload_bytes).map_err(unencodable)?;
        let text = std::str::from_utf8(&payload_bytes).map_err(unencodable)?;
        serde_json::to_writer(&mut *bytes, text).map_err(unencodable)?;
    }
    Ok(())
}

fn push_binaries<E, C: Codec<E>>(
    codec: &C,
    payloads: &Vec1<E>,
    bytes: &mut Vec<u8>,
) -> Result<(), StorageError> {
    let mut payload_bytes = Vec::new();
    for (place, payload) in payloads.iter().enumerate() {
        bytes.extend_from_slice(if place == 0 { br#","binaries":["# } else { b"," });
        payload_bytes.clear();
        codec.encode(payload, &mut payload_bytes).map_err(unencodable)?;
        bytes.push(b'"');
        bytes.extend_from_slice(BASE64_STANDARD.encode(&payload_bytes).as_bytes());
        bytes.push(b'"');
    }
    Ok(())
}

pub(super) fn unencodable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StorageError {
    StorageError::new(ErrorKind::Invalid, "cannot write the change as a record").because(error)
}

/// Text is checked once for all, which from bytes would be done string by string.
pub(super) fn text(data: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(data).map_err(|_| Unreadable::new("it is no text, and no aggregated record"))
}

/// An envelope without its payloads, and the array of these, if they come last, as they are written. If the two are JSON, each by
/// itself, then they are what `text` is.
pub(super) fn split(text: &str) -> Option<(String, &str)> {
    let rest = text.strip_suffix('}')?;
    let mut arrays = rest.match_indices('[');
    let (head, array) = arrays.find_map(|(place, _)| {
        let (head, array) = rest.split_at(place);
        Some((head.strip_suffix(r#","events":"#)?, array))
    })?;
    Some(([head, "}"].concat(), array))
}

/// Reads an envelope of the version that is known.
pub(super) fn read(text: &str) -> Result<Read<'_>, Unreadable> {
    match serde_json::from_str(text) {
        Ok(Read { eventsrc, stream, .. }) if eventsrc != VERSION => {
            Err(Unreadable::version(eventsrc, stream))
        }
        Ok(read) => Ok(read),
        Err(error) => Err(why_not(text, &error)),
    }
}

/// Why `text` is no envelope.
fn why_not(text: &str, error: &serde_json::Error) -> Unreadable {
    // What the error itself says may quote a payload.
    let (line, column) = (error.line(), error.column());
    match serde_json::from_str::<Foreign<'_>>(text) {
        Ok(Foreign { eventsrc: Some(VERSION), stream }) => Unreadable {
            stream: stream.and_then(|stream| stream.0.parse().ok()),
            why: format!("the envelope is not as it was written, at line {line}, column {column}"),
        },
        Ok(Foreign { eventsrc: Some(version), stream }) => Unreadable::version(version, stream),
        _ if error.is_data() => Unreadable::new("it is JSON, and no envelope of eventsrc"),
        _ => Unreadable { stream: None, why: format!("it is no JSON, at line {line}, column {column}") },
    }
}

impl Read<'_> {
    pub(super) fn says_anything(&self) -> bool {
        self.change == ANYTHING
    }

    pub(super) fn says_stream(&self) -> bool {
        self.change == STREAM
    }

    pub(super) fn check_says_commit(&self) -> Result<(), String> {
        if self.change == COMMIT { Ok(()) } else { Err("the envelope has a change that is not known".into()) }
    }

    /// What the envelope names as its stream, if it is one.
    pub(super) fn stream_name(&self) -> Option<StreamName> {
        self.stream.as_ref()?.0.parse().ok()
    }

    /// The category and the id of the stream: for a key, no [`StreamName`] need be made of every record.
    pub(super) fn stream(&self) -> Result<(&str, &str), Unreadable> {
        let stream = self.stream.as_ref().ok_or_else(|| Unreadable::new("the envelope names no stream"))?;
        StreamName::split(&stream.0).ok_or_else(|| Unreadable::new("what the envelope names is no stream"))
    }

    pub(super) fn payloads<E, C: Codec<E>>(&self, codec: &C) -> Result<Vec1<E>, String> {
        let version = self.version;
        match (&self.events, &self.texts, &self.binaries) {
            (Some(events), None, None) if codec.is_text() => {
                each(version, events, |event| codec.decode(version, event.get().as_bytes()))
            }
            (None, Some(texts), None) if codec.is_text() => {
                each(version, texts, |text| codec.decode(version, text.0.as_bytes()))
            }
            (None, None, Some(binaries)) if !codec.is_text() => {
                let mut bytes = Vec::new();
                each(version, binaries, |binary| {
                    bytes.clear();
                    let read = BASE64_STANDARD.decode_vec(binary.0.as_bytes(), &mut bytes);
                    read.map_err(|error| CodecError::Malformed { version, source: error.into() })?;
                    codec.decode(version, &bytes)
                })
            }
            _ => Err("the commit has no payloads of the kind that is read".into()),
        }
    }
}

fn each<T, E>(
    version: u32,
    payloads: &[T],
    mut decode: impl FnMut(&T) -> Result<E, CodecError>,
) -> Result<Vec1<E>, String> {
    let mut decoded = Vec::with_capacity(payloads.len());
    for (place, payload) in payloads.iter().enumerate() {
        // The causes of a codec's error may quote the payload.
        let unreadable =
            |error| format!("cannot read payload {place} of the commit, of version {version}: {error}");
        decoded.push(decode(payload).map_err(unreadable)?);
    }
    Vec1::try_from_vec(decoded).map_err(|_| "the commit has no payloads".into())
}

impl Unreadable {
    fn new(why: &str) -> Self {
        Self { stream: None, why: why.into() }
    }

    fn version(version: u32, stream: Option<Text<'_>>) -> Self {
        let why = format!("envelopes of version {version} are not known here; this is version {VERSION}");
        Self { stream: stream.and_then(|stream| stream.0.parse().ok()), why }
    }
}

fn is_0(number: &u16) -> bool {
    *number == 0
}

fn is_1(number: &u32) -> bool {
    *number == 1
}

fn one() -> u32 {
    1
}

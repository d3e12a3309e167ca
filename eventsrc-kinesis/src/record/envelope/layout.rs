//! The JSON layout of envelopes. No other file names its fields.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use eventsrc_core::backend::{PayloadsDecoder, truncate_to_microseconds};
use eventsrc_core::codec::{Codec, CodecError};
use eventsrc_core::commit::Payloads;
use eventsrc_core::{Commit, CommitId, ErrorKind, Metadata, Sequence, StorageError, StreamName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Version of the layout.
const VERSION: u32 = 1;

const COMMIT: &str = "commit";
const STREAM: &str = "stream";
const ANYTHING: &str = "anything";

/// Fields of an envelope to write, without the payloads.
#[derive(Serialize)]
pub(super) struct WrittenEnvelope<'a> {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<CommitId>,
    time: String,
    metadata: &'a Metadata,
    #[serde(skip_serializing_if = "is_1")]
    version: u32,
}

/// Fields of an envelope that is read.
#[derive(Deserialize)]
pub(super) struct ReadEnvelope<'a> {
    eventsrc: u32,
    #[serde(borrow)]
    change: Cow<'a, str>,
    #[serde(borrow)]
    stream: Option<Text<'a>>,
    pub(super) number: Option<u64>,
    #[serde(default)]
    pub(super) zone: u16,
    pub(super) previous: Option<CommitId>,
    pub(super) time: Option<Timestamp>,
    pub(super) metadata: Option<Metadata>,
    #[serde(default = "one")]
    pub(super) version: u32,
    /// JSON payloads.
    #[serde(borrow)]
    events: Option<Vec<&'a RawValue>>,
    /// Payloads of other text.
    #[serde(borrow)]
    texts: Option<Vec<Text<'a>>>,
    /// Binary payloads, in base64.
    #[serde(borrow)]
    binaries: Option<Vec<Text<'a>>>,
}

/// A string, borrowed if it has no escapes. Serde never borrows an `Option<Cow<str>>`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Fields that an envelope of any version has, for the diagnosis of unreadable data.
#[derive(Deserialize)]
struct CommonFields<'a> {
    eventsrc: Option<u32>,
    #[serde(borrow)]
    stream: Option<Text<'a>>,
}

/// Error of data that is not a readable envelope. The reason quotes no data.
pub(super) struct Unreadable {
    pub(super) stream: Option<StreamName>,
    pub(super) reason: String,
}

impl<'a> WrittenEnvelope<'a> {
    pub(super) fn commit<K, S: Sequence, E>(
        stream: &'a StreamName,
        commit: &'a Commit<K, S, E>,
        version: u32,
    ) -> Self {
        let details = WrittenCommit {
            number: commit.first.number(),
            zone: commit.first.zone().0,
            previous: commit.previous,
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

/// Writes an envelope without payloads.
pub(super) fn write(envelope: &WrittenEnvelope<'_>) -> Result<Vec<u8>, StorageError> {
    serde_json::to_vec(envelope).map_err(unencodable)
}

/// Writes an envelope with payloads.
pub(super) fn write_with<E, C: Codec<E>>(
    envelope: &WrittenEnvelope<'_>,
    codec: &C,
    payloads: &[E],
) -> Result<Vec<u8>, StorageError> {
    let mut bytes = write(envelope)?;
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

/// Appends an encoded payload, which a reader of the record decodes to an equal one.
fn encode<E, C: Codec<E>>(codec: &C, payload: &E, bytes: &mut Vec<u8>) -> Result<(), StorageError> {
    let start = bytes.len();
    codec.encode(payload, bytes).map_err(unencodable)?;
    codec.check(payload, &bytes[start..]).map_err(unencodable)
}

/// Appends text payloads as JSON values. Returns false if one of them is not a JSON value.
fn push_events<E, C: Codec<E>>(codec: &C, payloads: &[E], bytes: &mut Vec<u8>) -> Result<bool, StorageError> {
    for (index, payload) in payloads.iter().enumerate() {
        bytes.extend_from_slice(if index == 0 { br#","events":["# } else { b"," });
        let start = bytes.len();
        encode(codec, payload, bytes)?;
        let written = &bytes[start..];
        // Whitespace around a value would not be read back.
        if !serde_json::from_slice::<&RawValue>(written).is_ok_and(|value| value.get().len() == written.len())
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn push_texts<E, C: Codec<E>>(codec: &C, payloads: &[E], bytes: &mut Vec<u8>) -> Result<(), StorageError> {
    let mut payload_bytes = Vec::new();
    for (index, payload) in payloads.iter().enumerate() {
        bytes.extend_from_slice(if index == 0 { br#","texts":["# } else { b"," });
        payload_bytes.clear();
        encode(codec, payload, &mut payload_bytes)?;
        let text = std::str::from_utf8(&payload_bytes).map_err(unencodable)?;
        serde_json::to_writer(&mut *bytes, text).map_err(unencodable)?;
    }
    Ok(())
}

fn push_binaries<E, C: Codec<E>>(codec: &C, payloads: &[E], bytes: &mut Vec<u8>) -> Result<(), StorageError> {
    let mut payload_bytes = Vec::new();
    for (index, payload) in payloads.iter().enumerate() {
        bytes.extend_from_slice(if index == 0 { br#","binaries":["# } else { b"," });
        payload_bytes.clear();
        encode(codec, payload, &mut payload_bytes)?;
        bytes.push(b'"');
        bytes.extend_from_slice(BASE64_STANDARD.encode(&payload_bytes).as_bytes());
        bytes.push(b'"');
    }
    Ok(())
}

pub(super) fn unencodable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StorageError {
    StorageError::new(ErrorKind::Invalid, "cannot encode the change as a record").because(error)
}

/// Checks that a record is UTF-8. One check is faster than one for each string in it.
pub(super) fn text(data: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(data)
        .map_err(|_| Unreadable::new("the record is neither UTF-8 nor an aggregated record"))
}

/// Splits an envelope whose payloads come last, as this crate writes it, into the envelope without payloads and the array of
/// payloads. If each of the two is valid JSON, together they have the meaning of `text`.
pub(super) fn split(text: &str) -> Option<(String, &str)> {
    let rest = text.strip_suffix('}')?;
    let mut arrays = rest.match_indices('[');
    let (head, array) = arrays.find_map(|(index, _)| {
        let (head, array) = rest.split_at(index);
        Some((head.strip_suffix(r#","events":"#)?, array))
    })?;
    Some(([head, "}"].concat(), array))
}

/// Reads an envelope of the version [`VERSION`].
pub(super) fn read(text: &str) -> Result<ReadEnvelope<'_>, Unreadable> {
    match serde_json::from_str(text) {
        Ok(ReadEnvelope { eventsrc, stream, .. }) if eventsrc != VERSION => {
            Err(Unreadable::version(eventsrc, stream))
        }
        Ok(envelope) => Ok(envelope),
        Err(error) => Err(diagnose(text, &error)),
    }
}

/// Finds out why `text` is not a readable envelope.
fn diagnose(text: &str, error: &serde_json::Error) -> Unreadable {
    // The text of the error may quote a payload.
    let (line, column) = (error.line(), error.column());
    match serde_json::from_str::<CommonFields<'_>>(text) {
        Ok(CommonFields { eventsrc: Some(VERSION), stream }) => Unreadable {
            stream: stream.and_then(|stream| stream.0.parse().ok()),
            reason: format!("a field of the envelope is malformed: line {line}, column {column}"),
        },
        Ok(CommonFields { eventsrc: Some(version), stream }) => Unreadable::version(version, stream),
        _ if error.is_data() => Unreadable::new("the record is JSON, but not an envelope of eventsrc"),
        _ => Unreadable {
            stream: None,
            reason: format!("the record is not JSON: line {line}, column {column}"),
        },
    }
}

impl ReadEnvelope<'_> {
    pub(super) fn is_anything(&self) -> bool {
        self.change == ANYTHING
    }

    pub(super) fn is_stream(&self) -> bool {
        self.change == STREAM
    }

    pub(super) fn check_is_commit(&self) -> Result<(), String> {
        if self.change == COMMIT { Ok(()) } else { Err("the envelope has an unknown kind of change".into()) }
    }

    /// Name of the stream; `None` if it is missing or malformed.
    pub(super) fn stream_name(&self) -> Option<StreamName> {
        self.stream.as_ref()?.0.parse().ok()
    }

    /// Category and id of the stream. They suffice for a key, without a [`StreamName`] for every record.
    pub(super) fn stream(&self) -> Result<(&str, &str), Unreadable> {
        let stream = self.stream.as_ref().ok_or_else(|| Unreadable::new("the envelope has no stream"))?;
        StreamName::split(&stream.0).ok_or_else(|| Unreadable::new("the stream of the envelope is malformed"))
    }

    pub(super) fn payloads<E, C: Codec<E>>(&self, codec: &C) -> Result<Payloads<E>, String> {
        let version = self.version;
        match (&self.events, &self.texts, &self.binaries) {
            (Some(events), None, None) if codec.is_text() => {
                each(version, events, |event, decoder| decoder.decode(codec, version, event.get().as_bytes()))
            }
            (None, Some(texts), None) if codec.is_text() => {
                each(version, texts, |text, decoder| decoder.decode(codec, version, text.0.as_bytes()))
            }
            (None, None, Some(binaries)) if !codec.is_text() => {
                let mut bytes = Vec::new();
                each(version, binaries, |binary, decoder| {
                    bytes.clear();
                    let read = BASE64_STANDARD.decode_vec(binary.0.as_bytes(), &mut bytes);
                    read.map_err(|error| CodecError::Malformed { version, source: error.into() })?;
                    decoder.decode(codec, version, &bytes)
                })
            }
            _ => Err("the commit has no payloads of the codec's kind, text or binary".into()),
        }
    }
}

fn each<T, E>(
    version: u32,
    payloads: &[T],
    mut decode: impl FnMut(&T, &mut PayloadsDecoder<E>) -> Result<(), CodecError>,
) -> Result<Payloads<E>, String> {
    let mut decoder = PayloadsDecoder::with_capacity(payloads.len());
    for (index, payload) in payloads.iter().enumerate() {
        // The sources of a codec's error may quote the payload.
        let unreadable =
            |error| format!("cannot read payload {index} of the commit, of version {version}: {error}");
        decode(payload, &mut decoder).map_err(unreadable)?;
    }
    decoder.finish().ok_or_else(|| "the commit has no payloads".into())
}

impl Unreadable {
    fn new(reason: &str) -> Self {
        Self { stream: None, reason: reason.into() }
    }

    fn version(version: u32, stream: Option<Text<'_>>) -> Self {
        let reason = format!(
            "the envelope has version {version}, and this program reads version {VERSION}: update the program"
        );
        Self { stream: stream.and_then(|stream| stream.0.parse().ok()), reason }
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

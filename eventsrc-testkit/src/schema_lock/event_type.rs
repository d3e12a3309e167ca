//! The events of one type, as the code that is tested writes and reads them.

use std::collections::BTreeMap;
use std::error::Error;

use eventsrc_core::codec::{Codec, CodecError};
use schemars::JsonSchema;
use serde_json::Value;

use super::differences::Difference;
use super::lock_file::{KindsOf, Locked};
use super::schema::{added_fields, variants};

/// One type of events.
pub(super) struct EventType {
    name: String,
    /// Version and contents of each kind that is written.
    written: BTreeMap<String, (u32, Locked)>,
    /// Decodes a stored event of a version of its kind, and drops it.
    read: Box<dyn Fn(&Value, u32) -> Result<(), CodecError>>,
}

impl EventType {
    pub(super) fn new<E, C>(name: &str, codec: C, samples: impl IntoIterator<Item = E>) -> Self
    where
        E: JsonSchema + 'static,
        C: Codec<E>,
    {
        let mut schemas = variants::<E>();
        let is_enum = !schemas.contains_key("");
        let mut written = BTreeMap::new();
        for sample in samples {
            let mut bytes = Vec::new();
            let encoded = codec.encode(&sample, &mut bytes);
            encoded.unwrap_or_else(|error| panic!("{name}: cannot encode a sample: {}", with_causes(&error)));
            let sample: Value = serde_json::from_slice(&bytes)
                .unwrap_or_else(|error| panic!("{name}: the codec does not write JSON: {error}"));
            let (kind, version) = if is_enum { tag_of(&sample) } else { (String::new(), None) };
            // Without a version in the tag, the version is that of the whole payload.
            let version = version.unwrap_or_else(|| codec.version());
            if let Some(schema) = schemas.remove(&kind) {
                written.insert(kind, (version, Locked { sample, schema }));
            }
        }
        assert!(
            schemas.is_empty(),
            "{name}: there is no sample of {}",
            schemas.into_keys().collect::<Vec<_>>().join(", ")
        );
        let read = move |sample: &Value, version| {
            let bytes = serde_json::to_vec(sample).expect("a JSON value is written as JSON");
            let is_in_tag = is_enum && tag_of(sample).1.is_some();
            codec.decode(if is_in_tag { codec.version() } else { version }, &bytes).map(drop)
        };
        Self { name: name.to_owned(), written, read: Box::new(read) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Compares the events with what was recorded.
    pub(super) fn compare(&self, recorded: Option<&KindsOf>) -> Vec<Difference> {
        let empty = KindsOf::new();
        let recorded = recorded.unwrap_or(&empty);
        let mut differences = Vec::new();
        for (kind, versions) in recorded {
            for (version, locked) in versions {
                if let Err(error) = (self.read)(&locked.sample, *version) {
                    let (name, kind, error) = (self.name.clone(), kind.clone(), with_causes(&error));
                    differences.push(Difference::Unreadable { name, kind, version: *version, error });
                }
            }
        }
        for (kind, (version, current)) in &self.written {
            let (name, kind, version) = (self.name.clone(), kind.clone(), *version);
            let versions = recorded.get(&kind);
            let latest = versions.and_then(|versions| versions.last_key_value());
            match latest {
                Some((recorded, _)) if *recorded > version => {
                    let recorded = *recorded;
                    differences.push(Difference::Older { name, kind, version, recorded });
                }
                Some((recorded, locked)) if *recorded == version => {
                    match added_fields(&locked.schema, &current.schema) {
                        _ if locked.schema == current.schema => {}
                        Some(fields) => {
                            let fields = fields.into_iter().collect();
                            differences.push(Difference::FieldsAdded { name, kind, fields });
                        }
                        None => differences.push(Difference::Changed { name, kind, version }),
                    }
                }
                _ => differences.push(Difference::New { name, kind, version }),
            }
        }
        differences
    }

    /// Records the versions that are written. A recorded sample stays as it was stored.
    pub(super) fn record(&self, recorded: &mut KindsOf) {
        for (kind, (version, current)) in &self.written {
            let versions = recorded.entry(kind.clone()).or_default();
            let locked = versions.entry(*version).or_insert_with(|| current.clone());
            locked.schema = current.schema.clone();
        }
    }
}

/// The kind of a stored event, and its version if the tag has one.
fn tag_of(sample: &Value) -> (String, Option<u32>) {
    let tag = match sample {
        Value::String(tag) => tag,
        Value::Object(fields) if fields.len() == 1 => fields.keys().next().expect("it has one field"),
        other => panic!("the event is not in the default representation of an enum: {other}"),
    };
    match tag.rsplit_once('@').and_then(|(kind, version)| Some((kind, version.parse().ok()?))) {
        Some((kind, version)) => (kind.to_owned(), Some(version)),
        None => (tag.clone(), None),
    }
}

fn with_causes(error: &CodecError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

//! Changes of events, and what the lock says of each.

use std::path::PathBuf;

use eventsrc_core::codec::{Json, Kind, Kinds, Postcard, Versioned};
use serde::{Deserialize, Serialize};

use super::*;

mod first {
    use super::*;

    /// The first deployment.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub(super) enum Event {
        /// An account was opened.
        Opened {
            owner: String,
        },
        Deposited(i64),
        Closed,
    }

    pub(super) fn samples() -> [Event; 3] {
        [Event::Opened { owner: "Ada".into() }, Event::Deposited(7), Event::Closed]
    }
}

fn lock_of_first(folder: &std::path::Path) -> PathBuf {
    let path = folder.join("lock.json");
    SchemaLock::new(&path).events("account", Json, first::samples()).record().unwrap();
    path
}

/// A folder that is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("eventsrc-lock-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Differences of the events of `codec` from those of the first deployment.
fn differences<E, C>(name: &str, codec: C, samples: impl IntoIterator<Item = E>) -> Differences
where
    E: JsonSchema + 'static,
    C: Codec<E>,
{
    let folder = Folder::new(name);
    SchemaLock::new(lock_of_first(&folder.0)).events("account", codec, samples).compare().unwrap()
}

#[test]
fn unchanged_events_do_not_differ() {
    let found = differences("unchanged", Json, first::samples());
    assert_eq!(found, Differences(Vec::new()));
    let found = differences("kinds", Kinds::new(), first::samples());
    assert_eq!(found, Differences(Vec::new()), "kinds at version 1 are what `Json` writes");
}

#[test]
fn a_change_without_a_version_breaks() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    enum Event {
        Opened { owner: u32 },
        Deposited(i64),
    }
    let samples = [Event::Opened { owner: 7 }, Event::Deposited(7)];
    let found = differences("changed", Json, samples);
    let text = found.to_string();
    assert!(found.breaks());
    assert!(text.contains("account: Opened has changed, and its version is still 1."), "{text}");
    assert!(text.contains("account: a stored event of version 1 of Opened no longer reads"), "{text}");
    assert!(text.contains("account: a stored event of version 1 of Closed no longer reads"), "{text}");
    assert_eq!(found.0.len(), 3, "{text}");
}

#[test]
fn new_kinds_versions_and_optional_fields_are_deliberate() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    enum Event {
        Opened {
            owner: String,
            #[serde(default)]
            note: Option<String>,
        },
        Deposited {
            cents: i64,
        },
        /// A documented variant has a schema of its own.
        Closed,
        Frozen,
    }
    let codec = || Kinds::new().with("Deposited", Kind::at(2).upcast(|cents| Ok(Event::Deposited { cents })));
    let samples = [
        Event::Opened { owner: "Ada".into(), note: None },
        Event::Deposited { cents: 7 },
        Event::Closed,
        Event::Frozen,
    ];
    let folder = Folder::new("deliberate");
    let path = lock_of_first(&folder.0);
    let lock = || SchemaLock::new(&path).events("account", codec(), samples.clone());
    let found = lock().compare().unwrap();
    assert!(!found.breaks());
    let text = found.to_string();
    for part in [
        "version 2 of Deposited is new",
        "version 1 of Frozen is new",
        "Opened has new optional fields: note",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(found.0.len(), 3, "{text}");
    lock().record().unwrap();
    lock().verify();
    // The version before stays in the file.
    let old = Kinds::new().with("Deposited", Kind::at(2));
    let text = SchemaLock::new(&path).events("account", old, samples.clone()).compare().unwrap().to_string();
    assert!(text.contains("version 1 of Deposited no longer reads"), "{text}");
    let back = SchemaLock::new(&path).events("account", Json, first::samples()).compare().unwrap();
    assert!(
        back.breaks() && back.to_string().contains("Deposited is written at version 1, and was at version 2")
    );
}

#[test]
fn a_version_of_the_whole_type_is_that_of_each_kind() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
    enum Event {
        Opened { owner: String, currency: String },
    }
    let codec = Versioned::new(Json, 2)
        .upcast(|_: first::Event| Ok(Event::Opened { owner: "Ada".into(), currency: "EUR".into() }));
    let found =
        differences("versioned", codec, [Event::Opened { owner: "Ada".into(), currency: "USD".into() }]);
    let new = Difference::New { name: "account".into(), kind: "Opened".into(), version: 2 };
    assert_eq!(found, Differences(vec![new]));
}

#[test]
#[should_panic(expected = "there is no sample of Closed")]
fn each_kind_needs_a_sample() {
    let _ = SchemaLock::new("none").events("account", Json, first::samples().into_iter().take(2));
}

#[test]
#[should_panic(expected = "the codec does not write JSON")]
fn a_binary_codec_cannot_be_locked() {
    let _ = SchemaLock::new("none").events("account", Postcard, first::samples());
}

#[test]
fn a_damaged_lock_is_an_error_that_names_the_file() {
    let folder = Folder::new("damaged");
    let path = folder.0.join("lock.json");
    std::fs::write(&path, "{").unwrap();
    let error = SchemaLock::new(&path).compare().unwrap_err();
    assert!(error.to_string().contains("lock.json"), "{error}");
}

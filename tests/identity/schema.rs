//! The lock of the example's events. After a deliberate change of an event, run this test with `UPDATE_SCHEMA_LOCK=1`.

use std::path::Path;

use eventsrc_core::StreamName;
use eventsrc_core::codec::{Codec, Json};
use eventsrc_examples::identity::{Claimed, DirectoryEvent, Entry, GroupEvent, UserEvent, UserId};
use eventsrc_testkit::schema_lock::SchemaLock;
use uuid::Uuid;

use super::{email, name};

#[test]
fn no_event_changes_without_a_new_version() {
    let ada = UserId(Uuid::from_u128(1));
    let owner = StreamName::new("user", &ada.0.to_string()).unwrap();
    let display_name = |text: &str| text.parse().unwrap();
    let users = [
        UserEvent::NameSet(Claimed { text: name("ada"), claim: 1 }),
        UserEvent::EmailSet(Claimed { text: email("ada@example.org"), claim: 2 }),
        UserEvent::DisplayNameSet { name: display_name("Ada King"), before: Some(display_name("Ada")) },
        UserEvent::Deleted,
    ];
    let groups = [
        GroupEvent::NameSet(Claimed { text: name("readers"), claim: 3 }),
        GroupEvent::MemberAdded(ada),
        GroupEvent::MemberRemoved(ada),
    ];
    let entry = Entry::Email(email("ada@example.org"));
    let directory = [
        DirectoryEvent::Claimed { entry: entry.clone(), owner },
        DirectoryEvent::Released { entry, claim: 2 },
    ];
    SchemaLock::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/identity/schema.lock.json"))
        .events("user", UserEvent::codec(), users)
        .events("group", Json, groups)
        .events("directory", Json, directory)
        .verify();
}

#[test]
fn a_display_name_that_the_first_release_stored_is_read() {
    let event = UserEvent::codec().decode(1, br#"{"display_name_set":"Ada"}"#).unwrap();
    assert_eq!(event, UserEvent::DisplayNameSet { name: "Ada".parse().unwrap(), before: None });
}

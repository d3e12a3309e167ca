//! The folds of the example.

use std::collections::{BTreeMap, BTreeSet};

use eventsrc_core::clock::Randomness;
use eventsrc_core::{StreamName, Timestamp};
use eventsrc_examples::identity::{
    Claim, Claimed, ClaimsOf, ClaimsOn, DirectoryEvent, DirectoryKey, Entry, Group, GroupById, GroupEvent,
    GroupId, User, UserById, UserEvent, UserId,
};
use eventsrc_testkit::scenario::given;

use super::{email, name};

fn owner(id: &str) -> StreamName {
    StreamName::new("user", id).unwrap()
}

fn address(text: &str) -> Entry {
    Entry::Email(email(text))
}

fn claimed(text: &str, id: &str) -> DirectoryEvent {
    DirectoryEvent::Claimed { entry: address(text), owner: owner(id) }
}

fn released(text: &str, claim: u64) -> DirectoryEvent {
    DirectoryEvent::Released { entry: address(text), claim }
}

fn user_id(number: u64) -> UserId {
    UserId(Randomness::seeded(number).commit_id(Timestamp::UNIX_EPOCH).0)
}

#[test]
fn a_user_has_the_values_set_last_until_it_is_deleted() {
    let ada = user_id(1);
    let set = |text| UserEvent::EmailSet(Claimed { text: email(text), claim: 1 });
    let events = [
        UserEvent::NameSet(Claimed { text: name("ada"), claim: 1 }),
        set("ada@example.org"),
        set("king@example.org"),
    ];
    given(events.clone()).in_stream(ada).folding(UserById, ada).gives(User {
        name: Some(Claimed { text: name("ada"), claim: 1 }),
        email: Some(Claimed { text: email("king@example.org"), claim: 1 }),
        display_name: None,
    });
    let deleted = events.into_iter().chain([UserEvent::Deleted]);
    given(deleted).in_stream(ada).folding(UserById, ada).gives_nothing();
    given([]).in_stream(ada).folding(UserById, ada).gives_nothing();
}

#[test]
fn a_groups_members_are_those_added_and_not_removed() {
    let (ada, grace) = (user_id(1), user_id(2));
    let group = GroupId(user_id(3).0);
    given([
        GroupEvent::NameSet(Claimed { text: name("readers"), claim: 7 }),
        GroupEvent::MemberAdded(ada),
        GroupEvent::MemberAdded(grace),
        GroupEvent::MemberRemoved(ada),
    ])
    .in_stream(group)
    .folding(GroupById, group)
    .gives(Group {
        name: Some(Claimed { text: name("readers"), claim: 7 }),
        members: BTreeSet::from([grace]),
    });
}

#[test]
fn each_query_of_one_directory_sees_its_own_entries() {
    let events = [claimed("a@x", "1"), claimed("b@x", "2"), claimed("c@x", "1")];
    let asked = BTreeSet::from([address("b@x"), address("d@x")]);
    let claims = BTreeMap::from([(address("b@x"), Claim { owner: owner("2"), at: 2 })]);
    given(events.clone()).in_stream(DirectoryKey).folding(ClaimsOn, asked).gives(claims);
    let claims = BTreeMap::from([(address("a@x"), 1), (address("c@x"), 3)]);
    given(events).in_stream(DirectoryKey).folding(ClaimsOf, owner("1")).gives(claims);
}

#[test]
fn a_release_ends_the_claim_that_it_names_and_no_later_one() {
    let asked = || BTreeSet::from([address("a@x")]);
    let once = [claimed("a@x", "1"), released("a@x", 1)];
    given(once.clone()).in_stream(DirectoryKey).folding(ClaimsOn, asked()).gives(BTreeMap::new());
    given(once).in_stream(DirectoryKey).folding(ClaimsOf, owner("1")).gives(BTreeMap::new());

    let late = [claimed("a@x", "1"), claimed("a@x", "1"), released("a@x", 1)];
    let claims = BTreeMap::from([(address("a@x"), Claim { owner: owner("1"), at: 2 })]);
    given(late.clone()).in_stream(DirectoryKey).folding(ClaimsOn, asked()).gives(claims);
    let claims = BTreeMap::from([(address("a@x"), 2)]);
    given(late).in_stream(DirectoryKey).folding(ClaimsOf, owner("1")).gives(claims);
}

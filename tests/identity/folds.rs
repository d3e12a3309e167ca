//! The folds of the example.

use std::collections::BTreeSet;

use eventsrc_core::clock::Randomness;
use eventsrc_core::{StreamName, Timestamp};
use eventsrc_examples::identity::{
    AllClaims, Claim, Claimed, Claims, DirectoryEvent, DirectoryKey, Entry, Group, GroupById, GroupEvent,
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

fn claim(entry: &str, to: &str, at: u64) -> (Entry, Claim) {
    (address(entry), Claim { owner: owner(to), at })
}

#[test]
fn the_directory_is_one_value_with_the_claims_of_all_entries() {
    let claims = Claims::from_iter([claim("a@x", "1", 1), claim("b@x", "2", 2), claim("c@x", "1", 3)]);
    let of_one: Vec<_> = claims.of(&owner("1")).map(|(entry, claim)| (entry.clone(), claim.at)).collect();
    assert_eq!(of_one, [(address("a@x"), 1), (address("c@x"), 3)]);
    assert_eq!(
        (claims.on(&address("b@x")).map(|claim| claim.at), claims.on(&address("d@x"))),
        (Some(2), None)
    );
    let events = [claimed("a@x", "1"), claimed("b@x", "2"), claimed("c@x", "1")];
    given(events).in_stream(DirectoryKey).folding(AllClaims, DirectoryKey).gives(claims);
}

#[test]
fn a_release_ends_the_claim_that_it_names_and_no_later_one() {
    let once = [claimed("a@x", "1"), released("a@x", 1)];
    given(once).in_stream(DirectoryKey).folding(AllClaims, DirectoryKey).gives(Claims::default());
    let late = [claimed("a@x", "1"), claimed("a@x", "1"), released("a@x", 1)];
    let claims = Claims::from_iter([claim("a@x", "1", 2)]);
    given(late).in_stream(DirectoryKey).folding(AllClaims, DirectoryKey).gives(claims);
}

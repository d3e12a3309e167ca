//! Scenario tests, and their failure messages.

use std::panic::{AssertUnwindSafe, catch_unwind};

use eventsrc_core::commit::vec1;
use eventsrc_core::save::PreconditionFailed;
use eventsrc_core::stream::ZonedSequence;
use eventsrc_core::{Decision, Event, Fold, Operation, Sequence, Snapshot, StreamName};
use eventsrc_testkit::scenario::given;

#[derive(Debug, Clone, PartialEq)]
enum Member {
    SignedUp { name: String },
    Renamed { name: String },
    Left,
}
use Member::{Left, Renamed, SignedUp};

fn signed_up(name: &str) -> Member {
    SignedUp { name: name.into() }
}

fn renamed(name: &str) -> Member {
    Renamed { name: name.into() }
}

/// The name of a member for as long as they are one.
struct Name;

impl<S: Sequence> Fold<StreamName, S, Member> for Name {
    type Key = StreamName;
    type Value = String;

    fn apply(&self, _: &StreamName, value: &mut Option<String>, event: Event<'_, StreamName, S, Member>) {
        *value = match event.payload {
            SignedUp { name } | Renamed { name } => Some(name.clone()),
            Left => None,
        };
    }
}

fn ada() -> StreamName {
    StreamName::new("member", "ada").unwrap()
}

fn rename(name: &'static str) -> Operation<Member, &'static str, Snapshot<u64, String>> {
    Operation::new(move |member: &Snapshot<u64, String>| match &member.value {
        Some(known) if known == name => Decision::reject("the name is the same"),
        Some(_) => Decision::save(renamed(name)),
        None => Decision::Reject(vec1!["there is no such member", "so there is no name"]),
    })
}

/// The panic message of a failing scenario.
fn failure(scenario: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(scenario)).expect_err("the scenario should not hold");
    *panic.downcast::<String>().expect("a scenario panics with a text")
}

#[test]
fn a_fold_gives_a_value_or_nothing() {
    given([signed_up("Ada"), renamed("Ada L.")]).folding::<u64, _>(Name, ada()).gives("Ada L.".into());
    given([]).folding::<u64, _>(Name, ada()).gives_nothing();
    given([signed_up("Ada"), Left]).folding::<u64, _>(Name, ada()).gives_nothing();
}

#[test]
fn an_operation_decides_on_a_folded_value() {
    given([signed_up("Ada")]).folding(Name, ada()).when(rename("Ada L.")).then_saves([renamed("Ada L.")]);
    given([signed_up("Ada")]).folding(Name, ada()).when(rename("Ada")).then_rejects(["the name is the same"]);
    given([signed_up("Ada"), Left])
        .folding(Name, ada())
        .when(rename("Ada L."))
        .then_rejects(["there is no such member", "so there is no name"]);
}

#[test]
fn an_operation_decides_on_the_latest_sequence() {
    given([signed_up("Ada")]).when(Operation::if_seq(Some(1u64), Left)).then_saves([Left]);
    given([signed_up("Ada"), Left])
        .when(Operation::if_seq(Some(1u64), Left))
        .then_rejects([PreconditionFailed::Moved { expected: Some("1".into()), actual: Some("2".into()) }]);
    given([])
        .when(Operation::<_, _, Option<u64>>::if_absent(signed_up("Ada")))
        .then_saves([signed_up("Ada")]);
    given([Left]).when(Operation::<_, _, Option<u64>>::if_absent(signed_up("Ada"))).then_saves_nothing();
}

#[test]
fn each_operation_of_a_batch_sees_the_effect_of_those_before_it() {
    given([signed_up("Ada")])
        .folding(Name, ada())
        .when_all([rename("Ada L."), rename("Ada")])
        .then_saves([renamed("Ada L."), renamed("Ada")]);
    given([signed_up("Ada")])
        .folding(Name, ada())
        .when_all([rename("Ada L."), rename("Ada L.")])
        .then_rejects(["the name is the same"]);
    given([])
        .when_all([Operation::if_seq(None::<u64>, signed_up("Ada")), Operation::if_seq(Some(1), Left)])
        .then_saves([signed_up("Ada"), Left]);
}

#[test]
fn a_scenario_has_the_sequence_type_of_its_operation() {
    let first = ZonedSequence::from_parts(1, eventsrc_core::stream::Zone::default());
    given([signed_up("Ada")]).when(Operation::if_seq(first, Left)).then_saves([Left]);
}

#[test]
fn a_scenario_may_name_its_stream() {
    let taken = |name: &str| StreamName::new("names", name).unwrap();
    let stream_of_event = eventsrc_core::fold_fn(
        |_: &StreamName, value: &mut Option<String>, event: Event<'_, StreamName, u64, Member>| {
            *value = Some(event.key().to_string());
        },
    );
    given([signed_up("Ada")])
        .in_stream(taken("all"))
        .folding(stream_of_event, ada())
        .gives("names/all".into());
}

#[test]
fn other_events_than_expected_are_shown_as_a_diff() {
    let text = failure(|| {
        given([signed_up("Ada")])
            .folding(Name, ada())
            .when_all([rename("Ada L."), rename("A. Lovelace")])
            .then_saves([renamed("Ada L."), renamed("Ada Lovelace")]);
    });
    let expected = r#"the scenario does not hold

given
  SignedUp {
      name: "Ada",
  }

then it (- expected, + actual)
  saves
  Renamed {
      name: "Ada L.",
  }
  Renamed {
-     name: "Ada Lovelace",
+     name: "A. Lovelace",
  }
"#;
    assert_eq!(text, expected);
}

#[test]
fn a_rejection_where_events_were_expected_is_shown_with_its_reasons() {
    let text = failure(|| given([]).folding(Name, ada()).when(rename("Ada")).then_saves([renamed("Ada")]));
    let expected = r#"the scenario does not hold

given no events

then it (- expected, + actual)
- saves
- Renamed {
-     name: "Ada",
- }
+ rejects
+ "there is no such member"
+ "so there is no name"
"#;
    assert_eq!(text, expected);
}

#[test]
fn events_where_none_were_expected_are_shown() {
    let text = failure(|| given([Left]).when(Operation::if_seq(Some(1u64), Left)).then_saves_nothing());
    assert!(text.ends_with("- saves nothing\n+ saves\n+ Left\n"), "{text}");
    let text = failure(|| given([Left]).when(Operation::if_seq(Some(1u64), Left)).then_rejects([]));
    assert!(text.ends_with("- rejects\n+ saves\n+ Left\n"), "{text}");
}

#[test]
fn another_value_than_expected_is_shown_as_a_diff() {
    let text = failure(|| given([signed_up("Ada")]).folding::<u64, _>(Name, ada()).gives("Bob".into()));
    assert!(text.ends_with("  gives\n- \"Bob\"\n+ \"Ada\"\n"), "{text}");
    let text = failure(|| given([signed_up("Ada")]).folding::<u64, _>(Name, ada()).gives_nothing());
    assert!(text.ends_with("- gives nothing\n+ gives\n+ \"Ada\"\n"), "{text}");
}

#[test]
fn different_values_that_print_the_same_are_reported() {
    #[derive(Clone, PartialEq)]
    struct Secret(u32);
    impl std::fmt::Debug for Secret {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Secret")
        }
    }
    let text = failure(|| given([]).when(Operation::if_seq(None::<u64>, Secret(1))).then_saves([Secret(2)]));
    assert!(text.contains("print the same, but are not equal"), "{text}");
}

#[test]
fn an_empty_batch_is_a_mistake_in_the_scenario() {
    let text = failure(|| given([Left]).when_all::<u64, PreconditionFailed>([]).then_saves_nothing());
    assert!(text.contains("there is no operation to save"), "{text}");
}

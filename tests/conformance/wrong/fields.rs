//! Proofs of the rule that events come back as they were put, field by field.

use std::sync::Arc;

use eventsrc_core::stream::Zone;
use eventsrc_core::{CommitId, Sequence, Timestamp, Token};
use eventsrc_testkit::conformance::Sample;

use super::puts::{Proof, cut_texts};
use super::{C, Commits, Defect, S};

pub(crate) fn proofs() -> Vec<Proof> {
    [as_put(), texts_and_numbers()].concat()
}

fn as_put() -> Vec<Proof> {
    vec![
        ("keys_come_back", "keys come back trimmed", Defect::Keep(|c| c.key.id = c.key.id.trim_end().into())),
        (
            "sequences_beyond_16_bits_come_back",
            "sequences have 16 bits",
            Defect::Keep(|c| c.first = at(c.first.number() & 0xffff, c.first.zone())),
        ),
        ("previous_commits_come_back", "previous commits are lost", Defect::Keep(|c| c.previous = None)),
        (
            "previous_commits_come_back",
            "the nil UUID is kept as none",
            Defect::Keep(|c| c.previous = c.previous.filter(|previous| !previous.0.is_nil())),
        ),
        (
            "zones_come_back",
            "zones have a byte",
            Defect::Keep(|c| c.first = at(c.first.number(), Zone(c.first.zone().0 & 0xff))),
        ),
        (
            "times_come_back_to_the_microsecond",
            "times are kept in milliseconds",
            Defect::Keep(|c| c.time = micro(c.time.as_millisecond() * 1_000)),
        ),
        (
            "times_before_1970_come_back",
            "times before 1970 are 1970",
            Defect::Keep(|c| c.time = c.time.max(Timestamp::UNIX_EPOCH)),
        ),
        (
            "times_of_the_far_future_come_back",
            "times are kept in nanoseconds of 64 bits",
            Defect::Keep(|c| c.time = c.time.min(micro(i64::MAX / 1_000))),
        ),
        (
            "times_finer_than_a_microsecond_come_back_rounded_down",
            "times are rounded up",
            Defect::Keep(|c| c.time = micro(c.time.as_microsecond() + 1)),
        ),
        (
            "times_that_run_backwards_come_back",
            "a time is not earlier than the one before",
            Defect::Read(|mut commits, from| {
                for at in 1..commits.len() {
                    let before = commits[at - 1].time;
                    let commit = Arc::make_mut(&mut commits[at]);
                    commit.time = commit.time.max(before);
                }
                (commits, from)
            }),
        ),
        (
            "commit_ids_of_every_kind_come_back",
            "commit ids are made UUIDs of version 7",
            Defect::Keep(|c| {
                let bits = c.metadata.commit_id.0.as_u128();
                let version = 0xf000 << 64;
                c.metadata.commit_id = CommitId(uuid::Uuid::from_u128(bits & !version | 0x7000 << 64));
            }),
        ),
        (
            "the_correlation_id_comes_back",
            "the correlation id is lost",
            Defect::Keep(|c| c.metadata.correlation_id = None),
        ),
        (
            "the_causation_id_comes_back",
            "the causation id is lost",
            Defect::Keep(|c| c.metadata.causation_id = None),
        ),
        ("the_actor_comes_back", "the actor is lost", Defect::Keep(|c| c.metadata.actor = None)),
        (
            "the_dependencies_come_back",
            "the dependencies are lost",
            Defect::Keep(|c| c.metadata.dependencies = Token::default()),
        ),
        (
            "dependencies_on_many_streams_come_back",
            "zones of dependencies are lost",
            Defect::Keep(|c| {
                let whole = std::mem::take(&mut c.metadata.dependencies);
                for (name, position) in whole.positions() {
                    let one = Token::claimed(name, at(position.number, Zone(0))).expect("well-formed");
                    c.metadata.dependencies = std::mem::take(&mut c.metadata.dependencies).join(&one);
                }
            }),
        ),
        (
            "all_metadata_together_comes_back",
            "correlation and causation change places",
            Defect::Keep(|c| std::mem::swap(&mut c.metadata.correlation_id, &mut c.metadata.causation_id)),
        ),
        (
            "unicode_metadata_comes_back",
            "metadata is ASCII",
            Defect::Keep(|c| {
                c.metadata.actor =
                    c.metadata.actor.as_ref().map(|text| text.replace(|c: char| !c.is_ascii(), "?"));
            }),
        ),
        (
            "an_empty_text_is_not_none",
            "an empty text is none",
            Defect::Keep(|c| c.metadata.actor = c.metadata.actor.take().filter(|text| !text.is_empty())),
        ),
        (
            "long_metadata_comes_back",
            "metadata is cut to 4,096 letters",
            Defect::Keep(|c| {
                c.metadata.actor = c.metadata.actor.as_ref().map(|text| text.chars().take(4_096).collect());
            }),
        ),
    ]
}

fn texts_and_numbers() -> Vec<Proof> {
    fn texts(commit: &mut C, change: impl Fn(&str) -> String) {
        for payload in &mut commit.payloads {
            if let Sample::Text(text) = payload {
                *text = change(text);
            }
        }
    }
    vec![
        (
            "empty_payloads_come_back",
            "empty payloads are left out",
            Defect::Keep(|c| {
                c.payloads
                    .iter_mut()
                    .filter(|p| **p == Sample::Bytes(vec![]))
                    .for_each(|p| *p = Sample::Nothing);
            }),
        ),
        (
            "texts_of_every_character_come_back",
            "texts end at U+0000",
            Defect::Keep(|c| texts(c, |text| text.split('\0').next().unwrap_or_default().to_owned())),
        ),
        (
            "texts_of_every_character_come_back",
            "texts are brought to one form of Unicode",
            Defect::Keep(|c| texts(c, |text| text.replace("e\u{301}", "\u{e9}"))),
        ),
        (
            "bytes_of_every_value_come_back",
            "bytes are taken for text",
            Defect::Keep(|c| {
                for payload in &mut c.payloads {
                    if let Sample::Bytes(bytes) = payload {
                        *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes();
                    }
                }
            }),
        ),
        (
            "numbers_at_the_ends_of_their_range_come_back",
            "numbers are kept as floating point",
            Defect::Keep(|c| {
                for payload in &mut c.payloads {
                    if let Sample::Numbers { unsigned, .. } = payload {
                        *unsigned = *unsigned as f64 as u64;
                    }
                }
            }),
        ),
        (
            "payloads_of_different_sizes_come_back",
            "lengths have 16 bits",
            Defect::Keep(|c| cut_texts(c, 65_535)),
        ),
        (
            "events_of_a_commit_come_back_in_order",
            "the events of a commit are sorted",
            Defect::Keep(|c| c.payloads.sort_by_key(|payload| format!("{payload:?}"))),
        ),
        (
            "events_of_a_commit_come_back_in_order",
            "an event that is equal to the one before is left out",
            Defect::Keep(|c| {
                let mut payloads = c.payloads.to_vec();
                payloads.dedup();
                c.payloads = payloads.try_into().expect("one is left");
            }),
        ),
        (
            "events_come_back_in_their_commits",
            "commits of the same time are joined",
            Defect::Read(|commits, from| {
                let mut joined: Commits = vec![];
                for commit in commits {
                    match joined.last_mut() {
                        Some(last) if last.time == commit.time => {
                            let payloads = [&last.payloads[..], &commit.payloads[..]].concat();
                            Arc::make_mut(last).payloads = payloads.try_into().expect("not empty");
                        }
                        _ => joined.push(commit),
                    }
                }
                (joined, from)
            }),
        ),
    ]
}

fn at(number: u64, zone: Zone) -> S {
    S::from_parts(number.max(1), zone).expect("in range")
}

fn micro(microsecond: i64) -> Timestamp {
    Timestamp::from_microsecond(microsecond).expect("in range")
}

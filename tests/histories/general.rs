//! The exact checker, compared with a general one that knows of streams only the semantics of a put and a read.

use eventsrc_testkit::history::{Action, Call, Part, PutAnswer, check};
use rand::SeedableRng;
use rand::rngs::StdRng;
use todc_utils::Action::{Call as Called, Response as Answered};
use todc_utils::{History, Specification, WGLChecker};

use super::random::{Small, small};

const HISTORIES: u64 = 20_000;

#[test]
fn the_exact_checker_and_a_general_one_agree_on_small_histories() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..HISTORIES {
        let history = small(&mut StdRng::seed_from_u64(seed));
        let verdict = check("raced/0", &history.calls, &history.last);
        assert_eq!(verdict.is_ok(), is_linearizable(&history), "seed {seed}: {verdict:?}\n{history}");
        *if verdict.is_ok() { &mut right } else { &mut wrong } += 1;
    }
    assert!(right > HISTORIES / 4 && wrong > HISTORIES / 4, "{right} right, {wrong} wrong");
}

/// A stream as one object: its commits, each with its first sequence and its length.
struct Stream;

impl Specification for Stream {
    type State = Vec<Part<u64>>;
    type Operation = Action<u64>;

    fn init() -> Self::State {
        Vec::new()
    }

    fn apply(action: &Action<u64>, state: &Self::State) -> (bool, Self::State) {
        let next = state.last().map_or(1, |last| last.first + u64::from(last.length));
        let mut after = state.clone();
        let valid = match action {
            Action::Put { commit_id, first, length, answer } => {
                let part = Part { commit_id: *commit_id, first: *first, length: *length, places: 0..*length };
                let last = first + u64::from(*length) - 1;
                let elsewhere = state.iter().any(|commit| commit.commit_id == *commit_id);
                let stores = next == *first && !elsewhere;
                let holder = state.iter().find(|c| (c.first..c.first + u64::from(c.length)).contains(first));
                let own = holder.filter(|holder| (holder.commit_id, holder.first) == (*commit_id, *first));
                match answer {
                    PutAnswer::Stored => {
                        after.push(part);
                        stores
                    }
                    PutAnswer::Repeated { last: told } => match own {
                        Some(own) => *told == own.first + u64::from(own.length) - 1,
                        None => {
                            after.push(part);
                            stores && *told == last
                        }
                    },
                    PutAnswer::Conflict { existing, head } => {
                        own.is_none()
                            && holder.is_some_and(|holder| existing.is_none_or(|id| id == holder.commit_id))
                            && head.is_none_or(|head| head + 1 == next)
                    }
                    PutAnswer::Unknown => {
                        if stores {
                            after.push(part);
                        }
                        true
                    }
                }
            }
            Action::Latest { sequence } => sequence.unwrap_or(0) + 1 == next,
            Action::Events { from, parts, ended } => {
                let all = events_from(state, from.unwrap_or(1));
                let seen = events_from(parts, 0);
                if *ended { seen == all } else { all.starts_with(&seen) }
            }
        };
        (valid, if valid { after } else { state.clone() })
    }
}

/// The events from `from` on: sequence, index in the commit, and commit.
fn events_from(parts: &[Part<u64>], from: u64) -> Vec<(u64, u32, Part<u64>)> {
    let events = parts.iter().flat_map(|part| {
        part.places.clone().map(|place| {
            let whole = Part { places: 0..part.length, ..part.clone() };
            (part.first + u64::from(place), place, whole)
        })
    });
    events.filter(|(sequence, ..)| *sequence >= from).collect()
}

/// The verdict of the algorithm of Wing & Gong and Lowe. The last read is one more call; puts without an answer
/// are answered after it.
fn is_linearizable(history: &Small) -> bool {
    let last = Call {
        called: u64::MAX - 2,
        answered: Some(u64::MAX - 1),
        action: Action::Events { from: None, parts: history.last.clone(), ended: true },
    };
    let calls: Vec<Call<u64>> = history.calls.iter().cloned().chain([last]).collect();
    let mut instants: Vec<_> = calls
        .iter()
        .enumerate()
        .flat_map(|(process, call)| {
            let answered = call.answered.unwrap_or(u64::MAX);
            [
                (call.called, (process, Called(call.action.clone()))),
                (answered, (process, Answered(call.action.clone()))),
            ]
        })
        .collect();
    instants.sort_by_key(|(instant, _)| *instant);
    WGLChecker::<Stream>::is_linearizable(History::from_actions(
        instants.into_iter().map(|(_, action)| action).collect(),
    ))
}

//! Small random histories: some are linearizable, and some have a few defects.

use std::fmt;

use eventsrc_core::clock::Randomness;
use eventsrc_core::{CommitId, Timestamp};
use eventsrc_testkit::history::{Action, Call, Part, PutAnswer};
use rand::RngExt;
use rand::rngs::StdRng;

/// A few calls on one stream, and a final read.
pub(super) struct Small {
    pub(super) calls: Vec<Call<u64>>,
    pub(super) last: Vec<Part<u64>>,
}

/// A history of at most ten calls by at most five callers. Four of five histories are changed in one to four
/// places afterwards.
pub(super) fn small(random: &mut StdRng) -> Small {
    let mut history = Execution::run(random);
    for _ in 0..random.random_range(0..5) {
        history.mutate(random);
    }
    history
}

impl fmt::Display for Small {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.calls.iter().try_for_each(|call| writeln!(f, "{call}"))?;
        f.write_str("in the end:")?;
        self.last.iter().try_for_each(|commit| write!(f, " {commit};"))
    }
}

/// Callers on a stream that executes one call at a time.
struct Execution {
    instant: u64,
    calls: Vec<Call<u64>>,
    commits: Vec<Part<u64>>,
    /// Commits that were put before, for repeated puts.
    puts: Vec<Part<u64>>,
    ids: Randomness,
}

/// A call in progress, by its index.
enum Caller {
    Idle,
    Called(usize),
    Done(usize),
}

impl Execution {
    fn run(random: &mut StdRng) -> Small {
        let mut run = Self {
            instant: 0,
            calls: Vec::new(),
            commits: Vec::new(),
            puts: Vec::new(),
            ids: Randomness::seeded(random.random()),
        };
        let most_calls = random.random_range(2..=10);
        let mut callers: Vec<_> = (0..random.random_range(1..=5)).map(|_| Caller::Idle).collect();
        for _ in 0..200 {
            let caller = random.random_range(0..callers.len());
            run.instant += 1;
            callers[caller] = match callers[caller] {
                Caller::Idle if run.calls.len() < most_calls => {
                    let action = run.call(random);
                    run.calls.push(Call { called: run.instant, answered: None, action });
                    Caller::Called(run.calls.len() - 1)
                }
                Caller::Idle => Caller::Idle,
                Caller::Called(call) => {
                    run.take_effect(call, random);
                    Caller::Done(call)
                }
                Caller::Done(call) => {
                    run.answer(call, random);
                    Caller::Idle
                }
            };
        }
        for caller in callers {
            if let Caller::Called(call) | Caller::Done(call) = caller {
                run.lose_answer(call);
            }
        }
        run.calls.retain(|call| call.answered.is_some() || matches!(call.action, Action::Put { .. }));
        Small { calls: run.calls, last: run.commits }
    }

    fn next(&self) -> u64 {
        self.commits.last().map_or(1, |last| last.first + u64::from(last.length))
    }

    fn call(&mut self, random: &mut StdRng) -> Action<u64> {
        match random.random_range(0..10) {
            0..6 => {
                let again = random.random_bool(0.2) && !self.puts.is_empty();
                let part = if again {
                    self.puts[random.random_range(0..self.puts.len())].clone()
                } else {
                    let length = random.random_range(1..=2);
                    let first = random.random_range(self.next().saturating_sub(2).max(1)..=self.next() + 1);
                    Part { commit_id: self.id(random), first, length, places: 0..length }
                };
                self.puts.push(part.clone());
                let Part { commit_id, first, length, .. } = part;
                Action::Put { commit_id, first, length, answer: PutAnswer::Unknown }
            }
            6..8 => Action::Latest { sequence: None },
            _ => {
                let from = random.random_bool(0.5).then(|| random.random_range(1..=self.next() + 1));
                Action::Events { from, parts: Vec::new(), ended: random.random_bool(0.8) }
            }
        }
    }

    /// Sometimes the id of another commit, as of a command that is retried at another sequence.
    fn id(&self, random: &mut StdRng) -> CommitId {
        let known = self.puts.last().filter(|_| random.random_bool(0.05));
        known.map_or_else(|| self.ids.commit_id(Timestamp::UNIX_EPOCH), |put| put.commit_id)
    }

    fn take_effect(&mut self, call: usize, random: &mut StdRng) {
        let next = self.next();
        let commits = &mut self.commits;
        match &mut self.calls[call].action {
            Action::Put { commit_id, first, length, answer } => {
                let holder =
                    commits.iter().find(|c| (c.first..c.first + u64::from(c.length)).contains(first));
                *answer = match holder {
                    Some(holder) if (holder.commit_id, holder.first) == (*commit_id, *first) => {
                        PutAnswer::Repeated { last: holder.first + u64::from(holder.length) - 1 }
                    }
                    Some(holder) => PutAnswer::Conflict {
                        existing: random.random_bool(0.7).then_some(holder.commit_id),
                        head: random.random_bool(0.5).then_some(next - 1),
                    },
                    None if *first == next && commits.iter().all(|c| c.commit_id != *commit_id) => {
                        let (commit_id, first, length) = (*commit_id, *first, *length);
                        commits.push(Part { commit_id, first, length, places: 0..length });
                        PutAnswer::Stored
                    }
                    None => PutAnswer::Unknown,
                };
            }
            Action::Latest { sequence } => *sequence = (next > 1).then_some(next - 1),
            Action::Events { from, parts, ended } => {
                let from = from.unwrap_or(1);
                *parts = commits.iter().filter(|c| c.first + u64::from(c.length) > from).cloned().collect();
                if let Some(first) = parts.first_mut() {
                    first.places.start = from.saturating_sub(first.first) as u32;
                }
                if !*ended {
                    parts.truncate(random.random_range(0..=parts.len()));
                }
            }
        }
    }

    fn answer(&mut self, call: usize, random: &mut StdRng) {
        let unknown = matches!(&self.calls[call].action, Action::Put { answer: PutAnswer::Unknown, .. });
        if unknown || random.random_bool(0.1) {
            self.lose_answer(call);
        } else {
            self.calls[call].answered = Some(self.instant);
        }
    }

    fn lose_answer(&mut self, call: usize) {
        if let Action::Put { answer, .. } = &mut self.calls[call].action {
            *answer = PutAnswer::Unknown;
        }
    }
}

impl Small {
    /// Changes one thing. The history may or may not become wrong by it.
    fn mutate(&mut self, random: &mut StdRng) {
        match random.random_range(0..8) {
            0..5 => self.swap_instants(random),
            5 if !self.last.is_empty() => {
                let commit = random.random_range(0..self.last.len());
                match random.random_range(0..4) {
                    0 => drop(self.last.remove(commit)),
                    1 => drop(self.last.pop()),
                    2 => change(&mut self.last[commit], random),
                    _ => self.last.insert(commit, self.last[commit].clone()),
                }
            }
            _ => self.change_answer(random),
        }
    }

    /// Swaps neighbouring instants of two calls several times, so that calls take longer or shorter.
    fn swap_instants(&mut self, random: &mut StdRng) {
        for _ in 0..random.random_range(1..=12) {
            let mut instants: Vec<&mut u64> = self
                .calls
                .iter_mut()
                .flat_map(|c| [Some(&mut c.called), c.answered.as_mut()])
                .flatten()
                .collect();
            instants.sort();
            if instants.len() < 2 {
                return;
            }
            let place = random.random_range(1..instants.len());
            let (earlier, later) = instants.split_at_mut(place);
            std::mem::swap(earlier[place - 1], later[0]);
            for call in &mut self.calls {
                if let Some(answered) = &mut call.answered
                    && *answered < call.called
                {
                    std::mem::swap(answered, &mut call.called);
                }
            }
        }
    }

    fn change_answer(&mut self, random: &mut StdRng) {
        if self.calls.is_empty() {
            return;
        }
        let call = random.random_range(0..self.calls.len());
        let call = &mut self.calls[call];
        let some_put = self.last.first().map(|commit| commit.commit_id);
        match &mut call.action {
            Action::Put { first, length, answer, .. } if call.answered.is_some() => {
                *answer = match random.random_range(0..4) {
                    0 => PutAnswer::Stored,
                    1 => {
                        PutAnswer::Repeated { last: *first + u64::from(*length) - random.random_range(0..2) }
                    }
                    2 => PutAnswer::Conflict { existing: some_put, head: None },
                    _ => PutAnswer::Conflict { existing: None, head: Some(random.random_range(1..6)) },
                };
            }
            Action::Put { length, .. } => *length = 3 - *length,
            Action::Latest { sequence } => {
                *sequence = random.random_bool(0.8).then(|| random.random_range(1..6));
            }
            Action::Events { parts, ended, .. } => match parts.len() {
                0 => *parts = self.last.clone(),
                _ if random.random_bool(0.3) => drop(parts.pop()),
                _ if random.random_bool(0.2) => *ended = !*ended,
                count => change(&mut parts[random.random_range(0..count)], random),
            },
        }
    }
}

/// Another commit, or another part of it.
fn change(part: &mut Part<u64>, random: &mut StdRng) {
    match random.random_range(0..3) {
        0 => part.places.end = part.places.start + 1,
        1 => {
            part.length = 3 - part.length;
            part.places = 0..part.length;
        }
        _ => part.first += 1,
    }
}

//! The checker. The docs of [`history`](crate::history) explain why it is exact.

use std::collections::HashMap;
use std::ops::AddAssign;

use eventsrc_core::{CommitId, Sequence};

use super::call::{Action, Call, Part, PutAnswer};
use super::violation::{Violation, ViolationKind};

/// Checks that the calls on one stream are linearizable. The stream had no events at first. `last` is a read of the
/// whole stream after all calls have ended.
///
/// # Errors
///
/// The first [`Violation`].
pub fn check<S: Sequence>(stream: &str, calls: &[Call<S>], last: &[Part<S>]) -> Result<Checked, Violation> {
    let mut commits = Commits::of(stream, last)?;
    commits.find_puts(calls)?;
    for call in calls {
        commits.add(call)?;
    }
    commits.find_points()?;
    Ok(commits.count(calls))
}

/// Counts of a history without a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Streams.
    pub streams: u64,
    /// Stored commits.
    pub commits: u64,
    /// Events in the stored commits.
    pub events: u64,
    /// Puts.
    pub puts: u64,
    /// Puts with the answer `Conflict`.
    pub conflicts: u64,
    /// Puts without an answer, or with an error.
    pub unknown: u64,
    /// Answered reads, of the latest sequence or of events.
    pub reads: u64,
    /// Reads that failed.
    pub failed_reads: u64,
}

impl AddAssign for Checked {
    fn add_assign(&mut self, other: Self) {
        self.streams += other.streams;
        self.commits += other.commits;
        self.events += other.events;
        self.puts += other.puts;
        self.conflicts += other.conflicts;
        self.unknown += other.unknown;
        self.reads += other.reads;
        self.failed_reads += other.failed_reads;
    }
}

/// The commits of a stream in order, and bounds of the points at which they were stored.
struct Commits<'a, S> {
    stream: &'a str,
    commits: &'a [Part<S>],
    indices: HashMap<CommitId, usize>,
    /// For each commit, the latest known call that started before the commit's point.
    after: Vec<Option<&'a Call<S>>>,
    /// For each commit, the earliest known call that was answered after the commit's point.
    before: Vec<Option<&'a Call<S>>>,
}

impl<'a, S: Sequence> Commits<'a, S> {
    fn of(stream: &'a str, commits: &'a [Part<S>]) -> Result<Self, Violation> {
        let mut indices = HashMap::with_capacity(commits.len());
        let mut number = 1;
        for (index, commit) in commits.iter().enumerate() {
            let wrong = |kind, what| Err(Violation { kind, stream: stream.into(), what });
            if commit.places != (0..commit.length) {
                return wrong(
                    ViolationKind::HalfCommit,
                    format!("in the end there is a part of a commit, {commit}"),
                );
            }
            if commit.begin() > number {
                return wrong(
                    ViolationKind::Hole,
                    format!("in the end nothing is at {number}, before {commit}"),
                );
            }
            if commit.begin() < number {
                let other = &commits[index - 1];
                let what = format!("in the end {other} and {commit} are at the same sequence");
                return wrong(ViolationKind::Duplicate, what);
            }
            if let Some(other) = indices.insert(commit.commit_id, index) {
                let other = &commits[other];
                return wrong(
                    ViolationKind::Duplicate,
                    format!("in the end {other} is there again as {commit}"),
                );
            }
            number = commit.end();
        }
        let (after, before) = (vec![None; commits.len()], vec![None; commits.len()]);
        Ok(Self { stream, commits, indices, after, before })
    }

    /// Finds the puts that may have stored each commit.
    fn find_puts(&mut self, calls: &'a [Call<S>]) -> Result<(), Violation> {
        let mut partial_puts = vec![None; self.commits.len()];
        for call in calls {
            let Action::Put { commit_id, first, length, answer } = &call.action else { continue };
            let Some(&index) = self.indices.get(commit_id) else { continue };
            let (commit, known) = (&self.commits[index], self.after[index]);
            let here = commit.first == *first;
            let stored = *answer == PutAnswer::Stored;
            if here && let PutAnswer::Conflict { .. } = answer {
                let what = format!("the put is a conflict with its own commit: {call}");
                return Err(self.violation(ViolationKind::ConflictWithItself, what));
            }
            if here && commit.length == *length {
                match known.filter(|known| known.answer() == Some(&PutAnswer::Stored)) {
                    Some(known) if stored => {
                        let what = format!("stored once and then again: {known}; {call}");
                        return Err(self.violation(ViolationKind::Duplicate, what));
                    }
                    Some(_) => {}
                    None if stored || known.is_none_or(|known| call.called < known.called) => {
                        self.after[index] = Some(call);
                    }
                    None => {}
                }
            } else if first.number() <= commit.begin() && commit.end() <= first.number() + u64::from(*length)
            {
                partial_puts[index] = Some(call);
            }
        }
        let without_put = self.after.iter().position(Option::is_none);
        without_put.map_or(Ok(()), |index| {
            let commit = &self.commits[index];
            Err(match partial_puts[index] {
                Some(put) => self.violation(
                    ViolationKind::HalfCommit,
                    format!("in the end there is {commit}, which is a part of the commit of this put: {put}"),
                ),
                None => self.violation(
                    ViolationKind::Invented,
                    format!("in the end there is {commit}, which no caller put"),
                ),
            })
        })
    }

    /// Adds the bounds that one call gives.
    fn add(&mut self, call: &'a Call<S>) -> Result<(), Violation> {
        match &call.action {
            Action::Put { commit_id, first, length, answer } => {
                let last = match answer {
                    PutAnswer::Unknown => return Ok(()),
                    PutAnswer::Stored => first.number() + u64::from(*length) - 1,
                    PutAnswer::Repeated { last } => last.number(),
                    PutAnswer::Conflict { existing, head } => {
                        return self.add_conflict(call, *first, *existing, *head);
                    }
                };
                let there = self.holder(first.number());
                let own = |index: &usize| {
                    let commit = &self.commits[*index];
                    (commit.commit_id, commit.first) == (*commit_id, *first)
                };
                let Some(index) = there.filter(own) else {
                    let what = self.contradicting(call, there);
                    return Err(self.violation(ViolationKind::LostCommit, what));
                };
                if self.commits[index].end() != last + 1 {
                    let what = self.contradicting(call, there);
                    return Err(self.violation(ViolationKind::HalfCommit, what));
                }
                self.seen(index, call);
                Ok(())
            }
            Action::Latest { sequence } => self.add_latest(call, *sequence),
            Action::Events { from, parts, ended } => self.add_events(call, *from, parts, *ended),
        }
    }

    fn add_conflict(
        &mut self,
        call: &'a Call<S>,
        first: S,
        existing: Option<CommitId>,
        head: Option<S>,
    ) -> Result<(), Violation> {
        let holder = self.holder(first.number());
        let Some(index) =
            holder.filter(|index| existing.is_none_or(|id| id == self.commits[*index].commit_id))
        else {
            let what = self.contradicting(call, holder);
            return Err(self.violation(ViolationKind::FalseConflict, what));
        };
        if let Some(head) = head {
            if head.number() < first.number() {
                let what = format!("the head is before the conflict: {call}");
                return Err(self.violation(ViolationKind::FalseConflict, what));
            }
            return self.add_latest(call, Some(head));
        }
        self.seen(index, call);
        Ok(())
    }

    fn add_latest(&mut self, call: &'a Call<S>, sequence: Option<S>) -> Result<(), Violation> {
        let Some(sequence) = sequence else {
            self.missed(0, call);
            return Ok(());
        };
        let Some(index) = self.holder(sequence.number()) else {
            let what = self.contradicting(call, None);
            return Err(self.violation(ViolationKind::LostCommit, what));
        };
        let commit = &self.commits[index];
        if commit.end() != sequence.number() + 1 {
            let what = format!("the latest sequence is not the last of {commit}: {call}");
            return Err(self.violation(ViolationKind::HalfCommit, what));
        }
        if commit.first.zone() != sequence.zone() {
            let what = self.contradicting(call, Some(index));
            return Err(self.violation(ViolationKind::LostCommit, what));
        }
        self.seen(index, call);
        self.missed(index + 1, call);
        Ok(())
    }

    fn add_events(
        &mut self,
        call: &'a Call<S>,
        from: Option<S>,
        parts: &[Part<S>],
        ended: bool,
    ) -> Result<(), Violation> {
        let mut number = from.map_or(1, |from| self.first_number(from));
        let begin = self.holder(number);
        let mut next = begin.unwrap_or(self.commits.len());
        for part in parts {
            let kind = match self.commits.get(next) {
                _ if part.begin() > number => ViolationKind::Hole,
                _ if part.begin() < number => ViolationKind::Duplicate,
                Some(commit) if commit.same_commit(part) => {
                    number = part.end();
                    next += 1;
                    continue;
                }
                Some(commit) if commit.commit_id == part.commit_id => ViolationKind::HalfCommit,
                Some(_) | None => ViolationKind::LostCommit,
            };
            let there = self.commits.get(next).map_or_else(|| "nothing".into(), Part::to_string);
            let what = format!("where {there} is in the end, at {number}, a reader saw {part}: {call}");
            return Err(self.violation(kind, what));
        }
        if let Some(last) = parts.last() {
            if last.places.end != last.length && ended {
                let what = format!("a reader saw a part of a commit: {call}");
                return Err(self.violation(ViolationKind::HalfCommit, what));
            }
            self.seen(next - 1, call);
        }
        if ended {
            self.missed(next, call);
        }
        Ok(())
    }

    /// Returns the number at which a read from `from` begins: that of the first event that is not less.
    fn first_number(&self, from: S) -> u64 {
        let holder = self.holder(from.number()).map(|index| self.commits[index].first.zone());
        from.number() + u64::from(holder.is_some_and(|zone| zone < from.zone()))
    }

    /// Returns the index of the commit that holds `number` in the last read.
    fn holder(&self, number: u64) -> Option<usize> {
        let index = self.commits.partition_point(|commit| commit.end() <= number);
        self.commits.get(index).filter(|commit| commit.begin() <= number).map(|_| index)
    }

    /// Records that the commit was stored before `call` was answered.
    fn seen(&mut self, index: usize, call: &'a Call<S>) {
        let before = &mut self.before[index];
        if before.is_none_or(|earliest| instant(call) < instant(earliest)) {
            *before = Some(call);
        }
    }

    /// Records that the commit, if the last read shows it, was stored after `call` started.
    fn missed(&mut self, index: usize, call: &'a Call<S>) {
        if let Some(after) = self.after.get_mut(index)
            && after.is_none_or(|latest| latest.called < call.called)
        {
            *after = Some(call);
        }
    }

    /// Checks that every commit can have a point that is not after that of a later commit.
    fn find_points(&self) -> Result<(), Violation> {
        let mut limit: Option<(usize, &Call<S>)> = None;
        let mut wrong = Ok(());
        for index in (0..self.commits.len()).rev() {
            if let Some(before) = self.before[index]
                && limit.is_none_or(|(_, earliest)| instant(before) < instant(earliest))
            {
                limit = Some((index, before));
            }
            if let (Some(after), Some((there, before))) = (self.after[index], limit)
                && after.called > instant(before)
            {
                wrong = Err(self.contradiction((index, after), (there, before)));
            }
        }
        wrong
    }

    /// Describes a contradiction: commit `missing` was stored after the start of call `after`, yet commit `there`,
    /// the same or a later one, was stored before the answer of call `before`, which came earlier.
    fn contradiction(
        &self,
        (missing, after): (usize, &Call<S>),
        (there, before): (usize, &Call<S>),
    ) -> Violation {
        let (commit, witness) = (&self.commits[missing], &self.commits[there]);
        let witness =
            if missing == there { "it".into() } else { format!("{witness}, after it in the stream,") };
        if after.answer().is_some_and(|answer| !matches!(answer, PutAnswer::Conflict { .. })) {
            return self.violation(
                ViolationKind::OutOfOrder,
                format!("{commit} was first put here: {after}; but {witness} was there before: {before}"),
            );
        }
        self.violation(
            ViolationKind::StaleRead,
            format!("{commit} was not seen here: {after}; but {witness} was there before: {before}"),
        )
    }

    /// Returns a text about a `call` whose answer contradicts the last read.
    fn contradicting(&self, call: &Call<S>, there: Option<usize>) -> String {
        let there = there.map_or_else(|| "nothing".into(), |index| self.commits[index].to_string());
        format!("in the end there is {there} where this was answered: {call}")
    }

    fn violation(&self, kind: ViolationKind, what: String) -> Violation {
        Violation { kind, stream: self.stream.into(), what }
    }

    fn count(&self, calls: &[Call<S>]) -> Checked {
        let mut counts = Checked {
            streams: 1,
            commits: self.commits.len() as u64,
            events: self.commits.last().map_or(0, |commit| commit.end() - 1),
            ..Checked::default()
        };
        for call in calls {
            match &call.action {
                Action::Put { answer, .. } => {
                    counts.puts += 1;
                    counts.conflicts += u64::from(matches!(answer, PutAnswer::Conflict { .. }));
                    counts.unknown += u64::from(*answer == PutAnswer::Unknown);
                }
                Action::Latest { .. } | Action::Events { .. } => counts.reads += 1,
            }
        }
        counts
    }
}

/// Returns the instant of the answer, or the greatest instant if the call was never answered.
fn instant<S>(call: &Call<S>) -> u64 {
    call.answered.unwrap_or(u64::MAX)
}

impl<S> Call<S> {
    /// Returns the answer, if the call is a put.
    fn answer(&self) -> Option<&PutAnswer<S>> {
        match &self.action {
            Action::Put { answer, .. } => Some(answer),
            Action::Latest { .. } | Action::Events { .. } => None,
        }
    }
}

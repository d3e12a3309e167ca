//! The checker. The argument that it rests on is in the documentation of the module.

use std::collections::HashMap;
use std::ops::AddAssign;

use eventsrc_core::{CommitId, Sequence};

use super::{Action, Call, Part, PutAnswer, Violation, ViolationKind};

/// Whether the calls on one stream, which began without events, could have been answered one at a time. `last` is what
/// a read of the whole stream shows when all of them are done.
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

/// What a history without violation was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Streams.
    pub streams: u64,
    /// Commits that were stored.
    pub commits: u64,
    /// Events in them.
    pub events: u64,
    /// Puts.
    pub puts: u64,
    /// Puts that came to a conflict.
    pub conflicts: u64,
    /// Puts that were not answered, or with an error.
    pub unknown: u64,
    /// Reads that were answered, of the latest sequence or of events.
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

/// The commits of a stream in order, and what is known of the points at which they were stored.
struct Commits<'a, S> {
    stream: &'a str,
    commits: &'a [Part<S>],
    place: HashMap<CommitId, usize>,
    /// For each commit, a call that was made before its point, the latest of those found.
    after: Vec<Option<&'a Call<S>>>,
    /// For each commit, a call that was answered after its point, the earliest of those found.
    before: Vec<Option<&'a Call<S>>>,
}

impl<'a, S: Sequence> Commits<'a, S> {
    fn of(stream: &'a str, commits: &'a [Part<S>]) -> Result<Self, Violation> {
        let mut place = HashMap::with_capacity(commits.len());
        let mut number = 1;
        for (index, commit) in commits.iter().enumerate() {
            let wrong = |kind, what| Err(Violation { kind, stream: stream.into(), what });
            if commit.places != (0..commit.length) {
                return wrong(
                    ViolationKind::HalfCommit,
                    format!("in the end there is half a commit, {commit}"),
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
                let what = format!("in the end {other} and {commit} are at the same place");
                return wrong(ViolationKind::Duplicate, what);
            }
            if let Some(other) = place.insert(commit.commit_id, index) {
                let other = &commits[other];
                return wrong(
                    ViolationKind::Duplicate,
                    format!("in the end {other} is there again as {commit}"),
                );
            }
            number = commit.end();
        }
        let (after, before) = (vec![None; commits.len()], vec![None; commits.len()]);
        Ok(Self { stream, commits, place, after, before })
    }

    /// Finds the puts that can have stored each commit.
    fn find_puts(&mut self, calls: &'a [Call<S>]) -> Result<(), Violation> {
        let mut halves = vec![None; self.commits.len()];
        for call in calls {
            let Action::Put { commit_id, first, length, answer } = &call.action else { continue };
            let Some(&place) = self.place.get(commit_id) else { continue };
            let (commit, known) = (&self.commits[place], self.after[place]);
            let here = commit.first == *first;
            let stored = *answer == PutAnswer::Stored;
            if here && let PutAnswer::Conflict { .. } = answer {
                let what = format!("the commit is stored, and it is no other's: {call}");
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
                        self.after[place] = Some(call);
                    }
                    None => {}
                }
            } else if first.number() <= commit.begin() && commit.end() <= first.number() + u64::from(*length)
            {
                halves[place] = Some(call);
            }
        }
        let unfounded = self.after.iter().position(Option::is_none);
        unfounded.map_or(Ok(()), |place| {
            let commit = &self.commits[place];
            Err(match halves[place] {
                Some(put) => self.violation(
                    ViolationKind::HalfCommit,
                    format!("in the end there is {commit}, which is a part of this: {put}"),
                ),
                None => self.violation(
                    ViolationKind::Invented,
                    format!("in the end there is {commit}, which nobody put there"),
                ),
            })
        })
    }

    /// Adds what one call says about the points.
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
                let own = |place: &usize| {
                    let commit = &self.commits[*place];
                    (commit.commit_id, commit.first) == (*commit_id, *first)
                };
                let Some(place) = there.filter(own) else {
                    let what = self.instead(call, there);
                    return Err(self.violation(ViolationKind::LostCommit, what));
                };
                if self.commits[place].end() != last + 1 {
                    let what = self.instead(call, there);
                    return Err(self.violation(ViolationKind::HalfCommit, what));
                }
                self.seen(place, call);
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
        let Some(place) =
            holder.filter(|place| existing.is_none_or(|id| id == self.commits[*place].commit_id))
        else {
            let what = self.instead(call, holder);
            return Err(self.violation(ViolationKind::FalseConflict, what));
        };
        if let Some(head) = head {
            if head.number() < first.number() {
                let what = format!("the head is before the conflict: {call}");
                return Err(self.violation(ViolationKind::FalseConflict, what));
            }
            return self.add_latest(call, Some(head));
        }
        self.seen(place, call);
        Ok(())
    }

    fn add_latest(&mut self, call: &'a Call<S>, sequence: Option<S>) -> Result<(), Violation> {
        let Some(sequence) = sequence else {
            self.missed(0, call);
            return Ok(());
        };
        let Some(place) = self.holder(sequence.number()) else {
            let what = self.instead(call, None);
            return Err(self.violation(ViolationKind::LostCommit, what));
        };
        let commit = &self.commits[place];
        if commit.end() != sequence.number() + 1 {
            let what = format!("the latest event is not the last of {commit}: {call}");
            return Err(self.violation(ViolationKind::HalfCommit, what));
        }
        if commit.first.zone() != sequence.zone() {
            let what = self.instead(call, Some(place));
            return Err(self.violation(ViolationKind::LostCommit, what));
        }
        self.seen(place, call);
        self.missed(place + 1, call);
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
                let what = format!("a reader saw half a commit: {call}");
                return Err(self.violation(ViolationKind::HalfCommit, what));
            }
            self.seen(next - 1, call);
        }
        if ended {
            self.missed(next, call);
        }
        Ok(())
    }

    /// The number at which a read from `from` begins: of the first event that is not less.
    fn first_number(&self, from: S) -> u64 {
        let holder = self.holder(from.number()).map(|place| self.commits[place].first.zone());
        from.number() + u64::from(holder.is_some_and(|zone| zone < from.zone()))
    }

    /// The commit that holds `number` in the end.
    fn holder(&self, number: u64) -> Option<usize> {
        let place = self.commits.partition_point(|commit| commit.end() <= number);
        self.commits.get(place).filter(|commit| commit.begin() <= number).map(|_| place)
    }

    /// The commit was stored before `call` was answered.
    fn seen(&mut self, place: usize, call: &'a Call<S>) {
        let before = &mut self.before[place];
        if before.is_none_or(|earliest| instant(call) < instant(earliest)) {
            *before = Some(call);
        }
    }

    /// The commit, if it is there in the end, was stored after `call` was made.
    fn missed(&mut self, place: usize, call: &'a Call<S>) {
        if let Some(after) = self.after.get_mut(place)
            && after.is_none_or(|latest| latest.called < call.called)
        {
            *after = Some(call);
        }
    }

    /// Whether every commit can have a point, not after that of a later one: no commit was stored after a later one was
    /// there.
    fn find_points(&self) -> Result<(), Violation> {
        let mut limit: Option<(usize, &Call<S>)> = None;
        let mut wrong = Ok(());
        for place in (0..self.commits.len()).rev() {
            if let Some(before) = self.before[place]
                && limit.is_none_or(|(_, earliest)| instant(before) < instant(earliest))
            {
                limit = Some((place, before));
            }
            if let (Some(after), Some((there, before))) = (self.after[place], limit)
                && after.called > instant(before)
            {
                wrong = Err(self.contradiction((place, after), (there, before)));
            }
        }
        wrong
    }

    /// `missing` was stored after the call beside it was made, yet `there`, which is not before it, was there when the
    /// other was answered, and that was earlier.
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

    /// That `call` told of something else than what is there.
    fn instead(&self, call: &Call<S>, there: Option<usize>) -> String {
        let there = there.map_or_else(|| "nothing".into(), |place| self.commits[place].to_string());
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

/// When the call was answered; after everything else if it never was.
fn instant<S>(call: &Call<S>) -> u64 {
    call.answered.unwrap_or(u64::MAX)
}

impl<S> Call<S> {
    /// What it came to, if it is a put.
    fn answer(&self) -> Option<&PutAnswer<S>> {
        match &self.action {
            Action::Put { answer, .. } => Some(answer),
            Action::Latest { .. } | Action::Events { .. } => None,
        }
    }
}

use eventsrc_core::backend::EncodedCommit;
use eventsrc_core::{ErrorKind, StorageError};
use tokio::sync::oneshot::{self, Receiver};
use uuid::Uuid;

use super::*;

type Answer = Receiver<Result<AppendOutcome, Failure>>;

const NOW: Duration = Duration::ZERO;

/// Queue with senders that call it as the tests do.
fn queue(settings: &Settings) -> Queue {
    Queue { senders: 100, ..Queue::new(Limits::new(settings)) }
}

/// Job to put a commit of one event.
fn job(stream: &str, number: u64, id: u128) -> (Job, Answer) {
    let commit = EncodedCommit {
        number,
        zone: 0,
        count: 1,
        time: 0,
        commit_id: Uuid::from_u128(id),
        previous: None,
        version: 1,
        text: true,
        payloads: b"[10 bytes]".into(),
        lengths: b"".into(),
        metadata: None,
    };
    let (reply, answer) = oneshot::channel();
    let stream = Arc::new(StreamLocation::new(stream.parse().unwrap()));
    (Job { stream, commit: Arc::new(commit), reply }, answer)
}

/// Adds a job, and returns the channel of its caller.
fn enqueue(queue: &mut Queue, stream: &str, number: u64, id: u128) -> Answer {
    let (job, answer) = job(stream, number, id);
    queue.enqueue(job, NOW).unwrap();
    answer
}

/// End of the stream after `job` was stored.
fn stored(job: &Job) -> Option<StreamEnd> {
    AppendOutcome::Stored.stream_end(&job.commit)
}

/// Numbers of groups and of steps until a stream has no job any more. Of the jobs of a number, the first is stored.
fn drain(queue: &mut Queue) -> (usize, usize) {
    let mut groups = 0;
    let mut head: Option<StreamEnd> = None;
    while let Some(group) = queue.take_group() {
        groups += 1;
        for job in group.jobs {
            if head.as_ref().is_none_or(|end| end.commit.number < job.commit.number) {
                head = stored(&job);
            }
            for (job, outcome) in queue.settle(&job.stream, head.clone(), group.arrivals) {
                assert!(matches!(outcome, AppendOutcome::Conflict { existing: Some(_), .. }), "{outcome:?}");
                job.answer(Ok(outcome));
            }
        }
    }
    assert!(queue.streams.is_empty() && queue.ready.is_empty(), "no job is left");
    assert_eq!((queue.commits, queue.bytes), (0, 0));
    (groups, queue.work)
}

#[test]
fn puts_at_one_sequence_take_two_round_trips_and_linear_work() {
    for puts in [500, 2_000, 8_000] {
        let mut queue = queue(&Settings::default());
        let first = enqueue(&mut queue, "user/1", 1, 0);
        let group = queue.take_group().unwrap();
        let others: Vec<_> = (1..puts).map(|id| enqueue(&mut queue, "user/1", 1, id)).collect();
        let winner = &group.jobs[0];
        assert!(queue.settle(&winner.stream, stored(winner), group.arrivals).is_empty(), "they came later");
        let second = queue.take_group().unwrap();
        let settled = queue.settle(&winner.stream, stored(winner), second.arrivals);
        assert_eq!(settled.len() as u128, puts - 2);
        drop((first, others));
        let (groups, work) = drain(&mut queue);
        assert_eq!(groups, 0);
        assert!(work as u128 <= 3 * puts, "{work} steps for {puts} puts");
    }
}

#[test]
fn consecutive_puts_of_one_stream_take_linear_work() {
    for puts in [500, 2_000, 8_000] {
        let mut queue = queue(&Settings::default());
        let answers: Vec<_> =
            (1..=puts).map(|number| enqueue(&mut queue, "user/1", number, number.into())).collect();
        let (groups, work) = drain(&mut queue);
        assert_eq!(groups as u64, puts);
        assert!(work as u64 <= 2 * puts, "{work} steps for {puts} puts");
        drop(answers);
    }
}

#[test]
fn only_jobs_whose_outcome_the_answer_shows_are_settled() {
    let mut queue = queue(&Settings::default());
    let sent = enqueue(&mut queue, "user/1", 5, 1);
    // The other jobs: the same commit, another at its sequence, an earlier and a later sequence.
    let jobs = [(5, 1), (5, 2), (4, 3), (6, 4)];
    let others = jobs.map(|(number, id)| enqueue(&mut queue, "user/1", number, id));
    let group = queue.take_group().unwrap();
    assert_eq!((group.jobs.len(), queue.take_group().is_none()), (1, true), "one job of a stream at a time");
    let late = enqueue(&mut queue, "user/1", 5, 5);
    let winner = &group.jobs[0];
    let settled = queue.settle(&winner.stream, stored(winner), group.arrivals);
    let [
        (_, AppendOutcome::Repeated { .. }),
        (_, AppendOutcome::Conflict { existing: Some(existing), head }),
    ] = &settled[..]
    else {
        panic!("{} jobs are settled", settled.len());
    };
    assert!(Arc::ptr_eq(existing, &winner.commit), "payloads are not copied");
    assert_eq!((head.number, head.commit_id), (5, winner.commit.commit_id));
    let mut left = Vec::new();
    while let Some(group) = queue.take_group() {
        left.extend(group.jobs.iter().map(|job| job.commit.number));
        queue.settle(&winner.stream, None, group.arrivals);
    }
    assert_eq!(left, [4, 6, 5], "in the order of arrival");
    drop((sent, others, late));
}

#[test]
fn streams_take_turns() {
    let mut queue = queue(&Settings { commits_per_group: 1, ..Settings::default() });
    let streams = ["user/1", "user/1", "user/1", "user/2", "user/3", "user/2"];
    let answers = streams.map(|stream| enqueue(&mut queue, stream, 1, 1));
    let mut order = Vec::new();
    while let Some(group) = queue.take_group() {
        let stream = Arc::clone(&group.jobs[0].stream);
        queue.settle(&stream, None, group.arrivals);
        order
            .push(streams.iter().find(|name| StreamLocation::new(name.parse().unwrap()) == *stream).unwrap());
    }
    assert_eq!(order, [&"user/1", &"user/2", &"user/3", &"user/1", &"user/2", &"user/1"]);
    drop(answers);
}

#[test]
fn puts_beyond_the_limits_are_overloaded() {
    let mut queue = queue(&Settings { waiting_commits: 3, waiting_bytes: 25, ..Settings::default() });
    let overloaded = |queue: &mut Queue| {
        let added = queue.enqueue(job("user/9", 1, 9).0, NOW).map_err(StorageError::from);
        added.is_err_and(|error| error.kind() == ErrorKind::Overloaded)
    };
    let answers = [1, 2].map(|id| enqueue(&mut queue, "user/1", id, id.into()));
    assert!(overloaded(&mut queue), "30 bytes");
    queue.limits.waiting_bytes = 30;
    let third = enqueue(&mut queue, "user/2", 1, 3);
    queue.limits.waiting_bytes = 1_000;
    assert!(overloaded(&mut queue), "4 commits");
    let group = queue.take_group().unwrap();
    assert_eq!((group.jobs.len(), queue.commits, queue.bytes), (2, 1, 10));
    queue.limits.waiting_bytes = 5;
    assert!(overloaded(&mut queue), "20 bytes");
    queue.settle(&group.jobs.iter().find(|job| job.commit.commit_id.as_u128() == 1).unwrap().stream, None, 0);
    assert_eq!(queue.take_group().unwrap().jobs.len(), 1);
    assert!(!overloaded(&mut queue), "no other commit waits");
    drop((answers, third));
}

#[test]
fn jobs_whose_callers_are_gone_are_not_sent() {
    let mut queue = queue(&Settings::default());
    drop(enqueue(&mut queue, "user/1", 1, 1));
    let waits = enqueue(&mut queue, "user/1", 1, 2);
    drop(enqueue(&mut queue, "user/2", 1, 3));
    let group = queue.take_group().unwrap();
    assert_eq!(group.jobs.iter().map(|job| job.commit.commit_id.as_u128()).collect::<Vec<_>>(), [2]);
    assert_eq!((queue.commits, queue.bytes, queue.streams.len()), (0, 0, 1));
    drop(waits);
}

#[test]
fn an_outage_fails_waiting_jobs_and_later_puts() {
    let mut queue = queue(&Settings::default());
    let answers = ["user/1", "user/1", "user/2"].map(|stream| enqueue(&mut queue, stream, 1, 1));
    let group = queue.take_group().unwrap();
    assert_eq!(group.jobs.len(), 2);
    assert_eq!(queue.server_is_away(Failure::unavailable("away"), NOW).len(), 1);
    for job in &group.jobs {
        queue.settle(&job.stream, None, group.arrivals);
    }
    assert!(queue.streams.is_empty() && queue.ready.is_empty());
    assert!(queue.enqueue(job("user/1", 1, 1).0, NOW).is_err());
    let (probe, answer) = job("user/1", 1, 1);
    queue.enqueue(probe, Duration::from_secs(1)).unwrap();
    assert!(queue.enqueue(job("user/1", 1, 1).0, Duration::from_secs(9)).is_err(), "one probe at a time");
    assert_eq!(queue.take_group().unwrap().jobs.len(), 1);
    queue.connected(false);
    queue.enqueue(job("user/3", 1, 1).0, Duration::from_secs(1)).unwrap();
    drop((answers, answer));
}

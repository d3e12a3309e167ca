//! Limits of waiting for a server that says nothing.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use eventsrc_core::clock::{Clock, SystemClock};
use futures::FutureExt;
use futures::future::{self, Either};
use futures::task::AtomicWaker;

/// Error of a wait in which nothing happened for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence;

/// Output of `future`, unless it makes no progress for as long as `limit`: then it is dropped.
///
/// A future makes progress when it is woken, so a call of many statements is limited in each of them, and not in total.
/// Wakes of other futures in the same task do not count.
pub(crate) async fn unless_silent<F: Future>(limit: Duration, future: F) -> Result<F::Output, Silence> {
    unless_silent_by(&SystemClock, limit, future).await
}

async fn unless_silent_by<F: Future>(
    clock: &impl Clock,
    limit: Duration,
    future: F,
) -> Result<F::Output, Silence> {
    let mut future = pin!(future);
    let progress = Arc::new(Progress { woken: AtomicBool::new(true), task: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&progress));
    let mut last = clock.elapsed();
    let mut timer = clock.sleep(limit);
    poll_fn(|context| {
        progress.task.register(context.waker());
        if progress.woken.swap(false, Ordering::AcqRel) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(Ok(output));
            }
            last = clock.elapsed();
        }
        while timer.poll_unpin(context).is_ready() {
            let left = (last + limit).saturating_sub(clock.elapsed());
            if left.is_zero() {
                return Poll::Ready(Err(Silence));
            }
            timer = clock.sleep(left);
        }
        Poll::Pending
    })
    .await
}

/// Output of `future`; `None` if it takes longer than `limit`.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    match future::select(pin!(future), SystemClock.sleep(limit)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// Waker of a future, which remembers that it was woken.
struct Progress {
    woken: AtomicBool,
    /// Task that polls the future.
    task: AtomicWaker,
}

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use eventsrc_core::Timestamp;
    use futures::future::BoxFuture;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(4);

    /// Clock that advances by a second whenever a timer is polled.
    #[derive(Clone, Default)]
    struct Steps(Arc<AtomicU64>);

    impl Clock for Steps {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH + self.elapsed()
        }

        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let (clock, end) = (self.clone(), self.elapsed() + duration);
            poll_fn(move |context| {
                clock.0.fetch_add(1, Ordering::Relaxed);
                context.waker().wake_by_ref();
                if clock.elapsed() >= end { Poll::Ready(()) } else { Poll::Pending }
            })
            .boxed()
        }
    }

    /// Future that is woken `times` times, and then never again.
    fn woken(times: u32) -> impl Future<Output = ()> {
        let mut polls = 0;
        poll_fn(move |context| {
            polls += 1;
            if polls <= times {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
    }

    #[tokio::test]
    async fn a_future_that_is_not_woken_is_silent() {
        let clock = Steps::default();
        assert_eq!(unless_silent_by(&clock, LIMIT, woken(0)).await, Err(Silence));
        assert_eq!(clock.elapsed(), LIMIT);
    }

    #[tokio::test]
    async fn progress_extends_the_limit() {
        let clock = Steps::default();
        assert_eq!(unless_silent_by(&clock, LIMIT, woken(100)).await, Err(Silence));
        assert!(clock.elapsed() >= Duration::from_secs(100), "{:?}", clock.elapsed());
    }

    #[tokio::test]
    async fn an_answer_in_time_is_returned() {
        assert_eq!(unless_silent_by(&Steps::default(), LIMIT, async { 1 }).await, Ok(1));
        assert_eq!(within(Duration::from_secs(60), async { 1 }).await, Some(1));
        assert_eq!(within(Duration::ZERO, future::pending::<()>()).await, None);
    }
}

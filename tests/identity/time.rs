//! Queries about the past.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use eventsrc_core::Timestamp;
use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_examples::identity::{Service, Storages, User};
use futures::future::BoxFuture;

use super::{email, name, on_memory_and_sqlite};

on_memory_and_sqlite!(every_value_that_was_is_found_by_sequence_and_by_time);

/// A clock that advances by one second at each reading.
#[derive(Debug, Default)]
pub(super) struct TickingClock(AtomicI64);

impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + self.0.fetch_add(1, Ordering::Relaxed)).unwrap()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::task::yield_now())
    }
}

async fn every_value_that_was_is_found_by_sequence_and_by_time(storages: impl Storages) {
    let clock = Arc::new(TickingClock::default());
    let service = Service::new(&storages, Arc::clone(&clock) as _, Arc::new(Randomness::seeded(1)));
    let ada = service.sign_up(&service.command(), name("ada"), email("ada@example.org")).await.unwrap().0;
    let display_name = "Ada".parse().unwrap();
    service.set_display_name(&service.command(), ada, display_name).await.unwrap();
    service.rename(&service.command(), ada, name("king")).await.unwrap();
    service.delete(&service.command(), ada).await.unwrap();

    let history = service.user_history(ada).await.unwrap();
    let drawn = |user: Option<&User>| {
        user.map(|user| {
            let name = user.name.as_ref().map(ToString::to_string);
            (name, user.email.is_some(), user.display_name.is_some())
        })
    };
    let name_is = |text: &str| Some(text.to_owned());
    assert_eq!(
        Vec::from_iter(history.iter().map(|snapshot| drawn(snapshot.value.as_ref()))),
        [
            Some((name_is("ada"), false, false)),
            Some((name_is("ada"), true, false)),
            Some((name_is("ada"), true, true)),
            Some((name_is("king"), true, true)),
            None,
        ]
    );
    let one_second = Duration::from_secs(1);
    for (index, snapshot) in history.iter().enumerate() {
        let (sequence, time) = (snapshot.sequence().unwrap(), snapshot.time().unwrap());
        assert_eq!(service.user_at_sequence(ada, sequence).await.unwrap(), snapshot.value);
        // The two events of the sign-up have the same time; the later one counts.
        let at_time = if index == 0 { &history[1] } else { snapshot };
        assert_eq!(service.user_at_time(ada, time).await.unwrap(), at_time.value);
    }
    let before = history[0].time().unwrap() - one_second;
    assert_eq!(service.user_at_time(ada, before).await.unwrap(), None);
}

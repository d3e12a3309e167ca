//! Reading a view that is at least as new as a token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, Either};
use tokio::sync::oneshot;

use super::Synchronizer;
use super::inbox::Looked;
use super::status::State;
use super::worker::Request;
use crate::error::{ErrorKind, StorageError};
use crate::sequence::{Sequence, Zone};
use crate::stream::{StreamKey, StreamName};
use crate::token::Token;
use crate::view::{Place, ViewStore};

/// An answer that could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AtLeastError {
    /// The view was not as new as asked for in time.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The view could not be read.
    #[error("the view cannot be read")]
    Storage(#[from] StorageError),
}

/// A view that is older than what was asked for, and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The view, with its version.
    pub view: String,
    /// How long was waited.
    pub waited: Duration,
    /// What is missing; never empty.
    pub missing: Vec<Missing>,
}

/// A stream of which a view does not have enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The stream.
    pub stream: StreamName,
    /// The number and zone that were asked for.
    pub wanted: (u64, Zone),
    /// The number that the view has; 0 for nothing.
    pub number: u64,
    /// Why it has no more.
    pub why: Why,
}

/// Why a view does not have what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// It was not applied in time.
    Late,
    /// The event storage does not have it: the token is from the future, or of another system.
    NotStored,
    /// The stream is in quarantine.
    Quarantined,
    /// The event storage could not be read.
    Unreadable(String),
    /// The view is not kept any more.
    Stopped(State),
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the view {} is older than asked for after {:?}:", self.view, self.waited)?;
        for (place, missing) in self.missing.iter().enumerate() {
            let Missing { stream, wanted: (wanted, zone), number, why } = missing;
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma} {stream} is at {number} and not at {wanted}")?;
            if *zone != Zone::default() {
                write!(f, "@{zone}")?;
            }
            match why {
                Why::Late => f.write_str(" (late)")?,
                Why::NotStored => f.write_str(" (not in the event storage)")?,
                Why::Quarantined => f.write_str(" (in quarantine)")?,
                Why::Unreadable(error) => write!(f, " ({error})")?,
                Why::Stopped(state) => write!(f, " (the view is not kept any more: {state:?})")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Stale {}

/// A stream that a token names and that the view follows.
struct Wish<S> {
    /// `None` if the key or the sequence is none of this system.
    key: Option<S>,
    stream: StreamName,
    wanted: (u64, Zone),
    why: Why,
}

impl<V: ViewStore> Synchronizer<V> {
    /// What `read` makes of the view once it has every commit of `token`, or a typed "no" after `timeout`.
    ///
    /// `read` reads the rows and the places of the streams that it is given in one snapshot; stores of views offer that as
    /// their own `read`. It is called at once, because the view is mostly new enough; where this very synchronizer has yet to
    /// apply what is asked for, after that, or after as long as a batch should take. It is called again after what is missing
    /// was fetched from the event storage: without waiting for any feed, and once for all who wait for the same stream.
    ///
    /// Streams of categories that the view does not follow are none of its business, and pass.
    ///
    /// # Errors
    ///
    /// [`AtLeastError::Stale`] names what is missing and why, after `timeout`, or at once if the view is not kept any more;
    /// [`AtLeastError::Storage`] if the view's database cannot be read until then, or at all.
    pub async fn at_least<T, R>(
        &self,
        token: &Token,
        timeout: Duration,
        read: impl Fn(Arc<[StreamName]>) -> R,
    ) -> Result<T, AtLeastError>
    where
        R: Future<Output = Result<(Vec<Place<V::Sequence>>, T), StorageError>>,
    {
        let shared = &self.0.shared;
        let mut wishes: Vec<Wish<(V::Key, V::Sequence)>> = token
            .positions()
            .filter(|(stream, ..)| shared.follows(stream))
            .map(|(stream, number, zone)| {
                let key = V::Key::from_parts(stream.category(), stream.id());
                let key = key.zip(V::Sequence::from_parts(number, zone));
                Wish { key, stream: stream.clone(), wanted: (number, zone), why: Why::Late }
            })
            .collect();
        let streams: Arc<[StreamName]> = wishes.iter().map(|wish| wish.stream.clone()).collect();
        let begun = shared.surroundings.clock.now();
        let mut limit = shared.surroundings.clock.sleep(timeout);
        let mut pace = shared.settings.retry.start();
        let mut seen = vec![Place::default(); wishes.len()];
        let late = wishes.iter_mut().zip(&mut seen).filter_map(|(wish, seen)| {
            seen.position = shared.remembered(&wish.stream)?;
            (!wish.is_met(seen)).then_some(wish)
        });
        let late: Vec<_> = late.collect();
        if !late.is_empty() {
            // A read would come too early. But these workers may be stuck where those of another process are not.
            let patience = shared.surroundings.clock.sleep(shared.settings.time_per_batch.min(timeout));
            future::select(Box::pin(self.fetch(late)), patience).await;
        }
        // What the last read showed, if all that it lacked was fetched since.
        let mut lacking = None;
        loop {
            let reading = Box::pin(read(Arc::clone(&streams)));
            let outcome = match future::select(reading, &mut limit).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(..) => break,
            };
            let mut failure = None;
            match outcome {
                Ok((places, value)) => {
                    if places.len() == wishes.len() {
                        seen = places;
                    }
                    if wishes.iter().zip(&seen).all(|(wish, place)| wish.is_met(place)) {
                        return Ok(value);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => failure = Some(error),
                Err(error) => return Err(error.into()),
            }
            if shared.is_stopped() {
                wishes.iter_mut().for_each(|wish| wish.why = Why::Stopped(shared.state()));
                break;
            }
            // Fetching did not help where the version that readers see is kept by somebody else.
            let helpless = failure.is_some() || lacking.take().as_ref() == Some(&seen);
            let fetching = async {
                let missing = wishes.iter_mut().zip(&seen).filter(|(wish, place)| !wish.is_met(place));
                let missing = missing.map(|(wish, _)| wish).collect();
                let reached = !helpless && self.fetch(missing).await;
                if !reached {
                    let wait = pace.wait(&shared.surroundings.randomness).max(Duration::from_millis(1));
                    shared.surroundings.clock.sleep(wait).await;
                }
                reached
            };
            match future::select(Box::pin(fetching), &mut limit).await {
                Either::Left((true, _)) => lacking = Some(seen.clone()),
                Either::Left((false, _)) => {}
                Either::Right(..) => match failure {
                    Some(error) => return Err(error.into()),
                    None => break,
                },
            }
        }
        let waited = shared.surroundings.clock.now().duration_since(begun);
        let missing = wishes.into_iter().zip(seen).filter(|(wish, place)| !wish.is_met(place));
        Err(AtLeastError::Stale(Stale {
            view: shared.view.definition().to_string(),
            waited: Duration::try_from(waited).unwrap_or_default(),
            missing: missing
                .map(|(Wish { stream, wanted, why, .. }, place)| {
                    let number = place.position.map_or(0, Sequence::number);
                    Missing { stream, wanted, number, why }
                })
                .collect(),
        }))
    }

    /// Waits until the view has every commit of `token`.
    ///
    /// # Errors
    ///
    /// As for [`at_least`](Synchronizer::at_least).
    pub async fn catch_up(&self, token: &Token, timeout: Duration) -> Result<(), AtLeastError> {
        self.at_least(token, timeout, |streams| async move { Ok((self.view().places(&streams).await?, ())) })
            .await
    }

    /// Has the workers bring forward what is missing; true if all of it was reached.
    async fn fetch(&self, missing: Vec<&mut Wish<(V::Key, V::Sequence)>>) -> bool {
        let mut replies = Vec::new();
        let mut progress = true;
        for wish in missing {
            let Some((key, wanted)) = wish.key.clone() else {
                wish.why = Why::NotStored;
                progress = false;
                continue;
            };
            let (reply, looked) = oneshot::channel();
            let request = Request::Wait(wish.stream.clone(), key, wanted, reply);
            if self.0.desk.ask(&wish.stream, request).await {
                replies.push(async move { (wish, looked.await) });
            } else {
                progress = false;
            }
        }
        for (wish, looked) in future::join_all(replies).await {
            progress &= looked == Ok(Looked::Reached);
            wish.why = match looked {
                Ok(Looked::Reached) => Why::Late,
                Ok(Looked::NotStored) => Why::NotStored,
                Ok(Looked::Quarantined) => Why::Quarantined,
                Ok(Looked::Unreadable(error)) => Why::Unreadable(error),
                Err(_) => Why::Stopped(self.0.shared.state()),
            };
        }
        progress
    }
}

impl<K, S: Sequence> Wish<(K, S)> {
    fn is_met(&self, place: &Place<S>) -> bool {
        self.key.as_ref().is_some_and(|(_, wanted)| place.position >= Some(*wanted))
    }
}

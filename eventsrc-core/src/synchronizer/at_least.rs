//! Reading a view that is at least as new as a token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, Either};
use tokio::sync::oneshot;

use super::handle::Synchronizer;
use super::inbox::WaitOutcome;
use super::status::SynchronizerState;
use super::worker::Request;
use crate::storage::error::describe;
use crate::storage::{ErrorKind, StorageError};
use crate::stream::{Sequence, StreamKey, StreamName};
use crate::token::{Token, TokenPosition};
use crate::view::{StreamPosition, ViewStore};

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
#[derive(Debug, Clone)]
pub struct Stale {
    /// The view, with its version.
    pub view: String,
    /// How long was waited.
    pub waited: Duration,
    /// What is missing; never empty.
    pub missing: Vec<MissingStream>,
}

/// A stream of which a view does not have enough.
#[derive(Debug, Clone)]
pub struct MissingStream {
    /// The stream.
    pub stream: StreamName,
    /// The position that was asked for.
    pub wanted: TokenPosition,
    /// The position that the view has; `None` before its first event.
    pub actual: Option<TokenPosition>,
    /// The reason for which it has no more.
    pub reason: StaleReason,
}

/// Why a view does not have what was asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StaleReason {
    /// It was not applied in time.
    Late,
    /// The event storage does not have it: the token is from the future, or of another system.
    NotStored,
    /// The stream is in quarantine.
    Quarantined,
    /// The event storage could not be read.
    Unreadable(Arc<StorageError>),
    /// The view is not kept any more.
    Stopped(SynchronizerState),
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the view {} is older than asked for after {:?}:", self.view, self.waited)?;
        for (index, missing) in self.missing.iter().enumerate() {
            let MissingStream { stream, wanted, actual, reason } = missing;
            let comma = if index == 0 { "" } else { "," };
            match actual {
                Some(actual) => write!(f, "{comma} {stream} is at {actual} and not at {wanted}")?,
                None => write!(f, "{comma} {stream} is at its start and not at {wanted}")?,
            }
            match reason {
                StaleReason::Late => f.write_str(" (late)")?,
                StaleReason::NotStored => f.write_str(" (not in the event storage)")?,
                StaleReason::Quarantined => f.write_str(" (in quarantine)")?,
                StaleReason::Unreadable(error) => write!(f, " ({})", describe(&**error))?,
                StaleReason::Stopped(state) => write!(f, " (the view is not kept any more: {state:?})")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Stale {}

/// A stream that a token names and that the view follows.
struct Target<S> {
    /// `None` if the key or the sequence is none of this system.
    key: Option<S>,
    stream: StreamName,
    wanted: TokenPosition,
    reason: StaleReason,
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
        R: Future<Output = Result<(Vec<StreamPosition<V::Sequence>>, T), StorageError>>,
    {
        let shared = &self.0.shared;
        let mut targets: Vec<Target<(V::Key, V::Sequence)>> = token
            .positions()
            .filter(|(stream, _)| shared.follows(stream))
            .map(|(stream, wanted)| {
                let key = V::Key::from_parts(stream.category(), stream.id());
                let key = key.zip(V::Sequence::from_parts(wanted.number, wanted.zone));
                Target { key, stream: stream.clone(), wanted, reason: StaleReason::Late }
            })
            .collect();
        let streams: Arc<[StreamName]> = targets.iter().map(|target| target.stream.clone()).collect();
        let begun = shared.environment.clock.now();
        let mut limit = shared.environment.clock.sleep(timeout);
        let mut backoff = shared.settings.retry.start();
        let mut seen = vec![StreamPosition::default(); targets.len()];
        let late = targets.iter_mut().zip(&mut seen).filter_map(|(target, seen)| {
            seen.position = shared.remembered(&target.stream)?;
            (!target.is_met(seen)).then_some(target)
        });
        let late: Vec<_> = late.collect();
        if !late.is_empty() {
            // A read would come too early. But these workers may be stuck where those of another process are not.
            let patience = shared.environment.clock.sleep(shared.settings.time_per_batch.min(timeout));
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
                    if places.len() == targets.len() {
                        seen = places;
                    }
                    if targets.iter().zip(&seen).all(|(target, place)| target.is_met(place)) {
                        return Ok(value);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => failure = Some(error),
                Err(error) => return Err(error.into()),
            }
            if shared.is_stopped() {
                targets.iter_mut().for_each(|target| target.reason = StaleReason::Stopped(shared.state()));
                break;
            }
            // Fetching did not help where the version that readers see is kept by somebody else.
            let helpless = failure.is_some() || lacking.take().as_ref() == Some(&seen);
            let fetching = async {
                let missing = targets.iter_mut().zip(&seen).filter(|(target, place)| !target.is_met(place));
                let missing = missing.map(|(target, _)| target).collect();
                let reached = !helpless && self.fetch(missing).await;
                if !reached {
                    let wait = backoff.wait(&shared.environment.randomness).max(Duration::from_millis(1));
                    shared.environment.clock.sleep(wait).await;
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
        let waited = shared.environment.clock.now().duration_since(begun);
        let missing = targets.into_iter().zip(seen).filter(|(target, place)| !target.is_met(place));
        Err(AtLeastError::Stale(Stale {
            view: shared.view.definition().to_string(),
            waited: Duration::try_from(waited).unwrap_or_default(),
            missing: missing
                .map(|(Target { stream, wanted, reason, .. }, at)| MissingStream {
                    stream,
                    wanted,
                    actual: at.position.map(TokenPosition::of),
                    reason,
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
        self.at_least(
            token,
            timeout,
            |streams| async move { Ok((self.view().positions_of(&streams).await?, ())) },
        )
        .await
    }

    /// Has the workers bring forward what is missing; true if all of it was reached.
    async fn fetch(&self, missing: Vec<&mut Target<(V::Key, V::Sequence)>>) -> bool {
        let mut replies = Vec::new();
        let mut progress = true;
        for target in missing {
            let Some((key, wanted)) = target.key.clone() else {
                target.reason = StaleReason::NotStored;
                progress = false;
                continue;
            };
            let (reply, looked) = oneshot::channel();
            let request = Request::Wait(target.stream.clone(), key, wanted, reply);
            if self.0.router.ask(&target.stream, request).await {
                replies.push(async move { (target, looked.await) });
            } else {
                progress = false;
            }
        }
        for (target, looked) in future::join_all(replies).await {
            progress &= matches!(looked, Ok(WaitOutcome::Reached));
            target.reason = match looked {
                Ok(WaitOutcome::Reached) => StaleReason::Late,
                Ok(WaitOutcome::NotStored) => StaleReason::NotStored,
                Ok(WaitOutcome::Quarantined) => StaleReason::Quarantined,
                Ok(WaitOutcome::Unreadable(error)) => StaleReason::Unreadable(error),
                Err(_) => StaleReason::Stopped(self.0.shared.state()),
            };
        }
        progress
    }
}

impl<K, S: Sequence> Target<(K, S)> {
    fn is_met(&self, place: &StreamPosition<S>) -> bool {
        self.key.as_ref().is_some_and(|(_, wanted)| place.position >= Some(*wanted))
    }
}

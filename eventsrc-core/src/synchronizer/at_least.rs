//! Read-your-writes: reads of a view that is at least as new as a token.

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

/// Error of [`Synchronizer::at_least`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AtLeastError {
    /// The view did not contain the token within the timeout.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The view cannot be read.
    #[error("the view cannot be read")]
    Storage(#[from] StorageError),
}

/// Staleness of a view: the streams in which it is behind a token.
#[derive(Debug, Clone)]
pub struct Stale {
    /// Name and version of the view that was read: of the serving version, if it is known.
    pub view: String,
    /// Duration of the wait.
    pub waited: Duration,
    /// Streams in which the view is behind the token; never empty.
    pub missing: Vec<MissingStream>,
}

/// A stream in which a view is behind a token.
#[derive(Debug, Clone)]
pub struct MissingStream {
    /// Name of the stream.
    pub stream: StreamName,
    /// Position in the token.
    pub wanted: TokenPosition,
    /// Position in the view; `None` before the first event.
    pub actual: Option<TokenPosition>,
    /// Reason for which the view has no more.
    pub reason: StaleReason,
}

/// Reason for which a view is behind a token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StaleReason {
    /// The commits were not applied within the timeout.
    Late,
    /// The event storage does not have the sequence: the token is from the future, or from another system.
    NotStored,
    /// The stream is in quarantine.
    Quarantined,
    /// The event storage could not be read.
    Unreadable(Arc<StorageError>),
    /// The synchronizer has stopped.
    Stopped(SynchronizerState),
    /// This synchronizer has applied the commits to its version of the view, which it names; readers see another version.
    /// It happens after a downgrade, if the later version has taken over and no process keeps it up to date.
    OtherVersion(String),
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the view {} is still behind the token after {:?}:", self.view, self.waited)?;
        for (index, missing) in self.missing.iter().enumerate() {
            let MissingStream { stream, wanted, actual, reason } = missing;
            let comma = if index == 0 { "" } else { "," };
            match actual {
                Some(actual) => write!(f, "{comma} {stream} is at {actual} and not at {wanted}")?,
                None => write!(f, "{comma} {stream} is at its start and not at {wanted}")?,
            }
            match reason {
                StaleReason::Late => f.write_str(" (not applied in time)")?,
                StaleReason::NotStored => f.write_str(" (not in the event storage)")?,
                StaleReason::Quarantined => f.write_str(" (in quarantine)")?,
                StaleReason::Unreadable(error) => write!(f, " ({})", describe(&**error))?,
                StaleReason::Stopped(state) => write!(f, " (the synchronizer has stopped: {state:?})")?,
                StaleReason::OtherVersion(kept) => {
                    write!(f, " (this process keeps {kept} up to date, and readers see another version)")?;
                }
            }
        }
        Ok(())
    }
}

impl std::error::Error for Stale {}

/// A stream that a token names and that the view follows.
struct Target<S> {
    /// Key and sequence; `None` if one of them is not valid in this system.
    key: Option<S>,
    stream: StreamName,
    wanted: TokenPosition,
    reason: StaleReason,
}

impl<V: ViewStore> Synchronizer<V> {
    /// Returns the result of `read` once the view contains every commit of `token`, or an error after `timeout`.
    ///
    /// `read` must read the rows, and the positions of the streams that it is given, in one snapshot; the `read` method
    /// of each view store does so. `read` is usually called at once, because the view is usually new enough. If this
    /// synchronizer knows that the view is behind, it first fetches the missing commits, for at most the target
    /// duration of a batch. After each read that is too old, it fetches the missing commits from the event storage,
    /// without waiting for a feed, and calls `read` again. Concurrent callers that wait for the same stream share one
    /// fetch.
    ///
    /// Streams of categories that the view does not follow are ignored.
    ///
    /// # Errors
    ///
    /// [`AtLeastError::Stale`] with the missing streams and the reasons, after `timeout`, or immediately if the
    /// synchronizer has stopped; [`AtLeastError::Storage`] if the view's database fails, after `timeout` for transient
    /// failures.
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
        let start = shared.environment.clock.elapsed();
        let mut limit = shared.environment.clock.sleep(timeout);
        let mut backoff = shared.settings.retry.start();
        let mut seen = vec![StreamPosition::default(); targets.len()];
        let behind = targets.iter_mut().zip(&mut seen).filter_map(|(target, seen)| {
            seen.position = shared.cached_position(&target.stream)?;
            (!target.is_met(seen)).then_some(target)
        });
        let behind: Vec<_> = behind.collect();
        if !behind.is_empty() {
            // A read would be too early. The wait is limited, because another process may advance a stream that this
            // one cannot.
            let limit_of_fetch = shared.environment.clock.sleep(shared.settings.time_per_batch.min(timeout));
            future::select(Box::pin(self.fetch(behind)), limit_of_fetch).await;
        }
        // Positions that the last read showed, if the missing commits were fetched after it.
        let mut seen_before_fetch = None;
        // Version that readers see, if it is another one than that of this synchronizer.
        let mut other_version = None;
        loop {
            let reading = Box::pin(read(Arc::clone(&streams)));
            let outcome = match future::select(reading, &mut limit).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(..) => break,
            };
            let mut failure = None;
            match outcome {
                Ok((positions, value)) => {
                    if positions.len() == targets.len() {
                        seen = positions;
                    }
                    if targets.iter().zip(&seen).all(|(target, seen)| target.is_met(seen)) {
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
            // Another fetch does not help if the last one changed nothing, as when another process keeps the serving
            // version.
            let is_unchanged = seen_before_fetch.take().as_ref() == Some(&seen);
            let skips_fetch = failure.is_some() || is_unchanged;
            let fetching = async {
                if is_unchanged && other_version.is_none() {
                    other_version = self.version_of_other_readers().await;
                }
                let missing = targets.iter_mut().zip(&seen).filter(|(target, seen)| !target.is_met(seen));
                let missing = missing.map(|(target, _)| target).collect();
                let reached = !skips_fetch && self.fetch(missing).await;
                if !reached {
                    let wait = backoff.wait(&shared.environment.randomness).max(Duration::from_millis(1));
                    shared.environment.clock.sleep(wait).await;
                }
                reached
            };
            match future::select(Box::pin(fetching), &mut limit).await {
                Either::Left((true, _)) => seen_before_fetch = Some(seen.clone()),
                Either::Left((false, _)) => {}
                Either::Right(..) => match failure {
                    Some(error) => return Err(error.into()),
                    None => break,
                },
            }
        }
        let waited = shared.environment.clock.elapsed().saturating_sub(start);
        let kept = shared.view.definition();
        let read = kept.clone().at_version(other_version.unwrap_or(kept.version()));
        if other_version.is_some() {
            let late = targets.iter_mut().filter(|target| matches!(target.reason, StaleReason::Late));
            late.for_each(|target| target.reason = StaleReason::OtherVersion(kept.to_string()));
        }
        let missing = targets.into_iter().zip(seen).filter(|(target, seen)| !target.is_met(seen));
        Err(AtLeastError::Stale(Stale {
            view: read.to_string(),
            waited,
            missing: missing
                .map(|(Target { stream, wanted, reason, .. }, seen)| MissingStream {
                    stream,
                    wanted,
                    actual: seen.position.map(TokenPosition::of),
                    reason,
                })
                .collect(),
        }))
    }

    /// Returns the version that readers see, if it is known and is another one than that of this synchronizer.
    async fn version_of_other_readers(&self) -> Option<u32> {
        let view = self.view();
        let serving = view.version_of_readers().await.ok().flatten();
        serving.filter(|serving| *serving != view.definition().version())
    }

    /// Waits until the view contains every commit of `token`.
    ///
    /// # Errors
    ///
    /// The errors of [`at_least`](Synchronizer::at_least).
    pub async fn catch_up(&self, token: &Token, timeout: Duration) -> Result<(), AtLeastError> {
        self.at_least(
            token,
            timeout,
            |streams| async move { Ok((self.view().positions_of(&streams).await?, ())) },
        )
        .await
    }

    /// Makes the workers fetch and apply the missing commits. Returns true if the view has all of them.
    async fn fetch(&self, missing: Vec<&mut Target<(V::Key, V::Sequence)>>) -> bool {
        let mut replies = Vec::new();
        let mut all_reached = true;
        for target in missing {
            let Some((key, wanted)) = target.key.clone() else {
                target.reason = StaleReason::NotStored;
                all_reached = false;
                continue;
            };
            let (reply, outcome) = oneshot::channel();
            let request = Request::Wait(target.stream.clone(), key, wanted, reply);
            if self.0.router.send(&target.stream, request).await {
                replies.push(async move { (target, outcome.await) });
            } else {
                all_reached = false;
            }
        }
        for (target, outcome) in future::join_all(replies).await {
            all_reached &= matches!(outcome, Ok(WaitOutcome::Reached));
            target.reason = match outcome {
                Ok(WaitOutcome::Reached) => StaleReason::Late,
                Ok(WaitOutcome::NotStored) => StaleReason::NotStored,
                Ok(WaitOutcome::Quarantined) => StaleReason::Quarantined,
                Ok(WaitOutcome::Unreadable(error)) => StaleReason::Unreadable(error),
                Err(_) => StaleReason::Stopped(self.0.shared.state()),
            };
        }
        all_reached
    }
}

impl<K, S: Sequence> Target<(K, S)> {
    /// True if the position is at or after the wanted sequence.
    fn is_met(&self, current: &StreamPosition<S>) -> bool {
        self.key.as_ref().is_some_and(|(_, wanted)| current.position >= Some(*wanted))
    }
}

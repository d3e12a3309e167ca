//! Copying changes from a feed to a Kinesis stream.

use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::codec::Codec;
use eventsrc_core::feed::{Change, ChangeFeed};
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::{ErrorKind, StorageError};
use futures::FutureExt;

use crate::publisher::Publisher;

/// Publishes the changes of `feed` to a Kinesis stream, until the feed ends.
///
/// For example, it copies a [`DynamoStream`](crate::dynamodb::DynamoStream) to a Kinesis stream that any number of services
/// read. A delivery is acknowledged after all of its changes are on the stream. Therefore no change is lost, and changes
/// published before a crash may be published again. Changes of one event stream keep the order of the feed. Transient errors
/// are retried without a limit; `retry` is the backoff between retries.
///
/// # Errors
///
/// Returns the permanent errors of the feed, and `Refused` if the stream does not exist or the permission to write to it is
/// missing.
pub async fn forward<F, C>(
    mut feed: F,
    publisher: &Publisher<F::Key, F::Sequence, F::Payload, C>,
    retry: &BackoffSettings,
    clock: &dyn Clock,
    randomness: &Randomness,
) -> Result<(), StorageError>
where
    F: ChangeFeed,
    C: Codec<F::Payload>,
{
    let mut backoff = retry.start();
    loop {
        let delivery = match feed.next().await {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(error = %error, "cannot read the feed; retrying");
                clock.sleep(backoff.wait(randomness)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut changes: Vec<Change<_, _, _>> = delivery.changes;
        let mut acknowledgements = vec![delivery.acknowledgement];
        // Deliveries that are ready join the same call.
        let mut ended = false;
        while changes.len() < MAX_CHANGES_PER_CALL {
            match feed.next().now_or_never() {
                Some(Ok(Some(delivery))) => {
                    changes.extend(delivery.changes);
                    acknowledgements.push(delivery.acknowledgement);
                }
                Some(Ok(None)) => {
                    ended = true;
                    break;
                }
                // The feed returns the error again.
                Some(Err(_)) | None => break,
            }
        }
        while let Err(error) = publisher.publish(&changes).await {
            if error.kind() != ErrorKind::Unavailable {
                return Err(error);
            }
            clock.sleep(backoff.wait(randomness)).await;
        }
        backoff = retry.start();
        metrics::counter!("eventsrc_kinesis_published_total").increment(changes.len() as u64);
        acknowledgements.into_iter().for_each(|acknowledgement| acknowledgement.acknowledge());
        if ended {
            return Ok(());
        }
    }
}

/// Number of changes after which no further delivery joins a call.
const MAX_CHANGES_PER_CALL: usize = 5000;

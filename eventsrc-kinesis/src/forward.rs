//! From a feed onto a stream.

use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::codec::Codec;
use eventsrc_core::feed::{Change, ChangeFeed};
use eventsrc_core::retry::BackoffSettings;
use eventsrc_core::{ErrorKind, StorageError};
use futures::FutureExt;

use crate::publisher::Publisher;

/// Puts what `feed` brings onto a stream, until the feed ends: from a [`DynamoStream`](crate::dynamodb::DynamoStream) onto a stream of
/// Kinesis, say, from which any number of services read.
///
/// A delivery is acknowledged once all of it is on the stream. So nothing is lost, and what was put before a crash may be put
/// again. Changes of one stream of events keep their order as far as the feed has it.
///
/// # Errors
///
/// What the feed cannot go on from, and `Refused` if the stream is not there or nothing may be put onto it. What may go well
/// another time is tried for ever.
pub async fn forward<F, C>(
    mut feed: F,
    publisher: &Publisher<F::Key, F::Sequence, F::Payload, C>,
    clock: &dyn Clock,
    randomness: &Randomness,
) -> Result<(), StorageError>
where
    F: ChangeFeed,
    C: Codec<F::Payload>,
{
    let mut backoff = BackoffSettings::default().start();
    loop {
        let delivery = match feed.next().await {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(error = %error, "the feed is out of reach; trying again");
                clock.sleep(backoff.wait(randomness)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut changes: Vec<Change<_, _, _>> = delivery.changes;
        let mut acknowledgements = vec![delivery.acknowledgement];
        // Whatever else is at hand goes along.
        let mut ended = false;
        while changes.len() < MOST {
            match feed.next().now_or_never() {
                Some(Ok(Some(delivery))) => {
                    changes.extend(delivery.changes);
                    acknowledgements.push(delivery.acknowledgement);
                }
                Some(Ok(None)) => {
                    ended = true;
                    break;
                }
                // It says so again.
                Some(Err(_)) | None => break,
            }
        }
        while let Err(error) = publisher.publish(&changes).await {
            if error.kind() != ErrorKind::Unavailable {
                return Err(error);
            }
            clock.sleep(backoff.wait(randomness)).await;
        }
        backoff = BackoffSettings::default().start();
        metrics::counter!("eventsrc_kinesis_published_total").increment(changes.len() as u64);
        acknowledgements.into_iter().for_each(|acknowledgement| acknowledgement.acknowledge());
        if ended {
            return Ok(());
        }
    }
}

/// How many changes are put together, roughly.
const MOST: usize = 5000;

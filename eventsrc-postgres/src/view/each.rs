//! Application of events one by one.

use eventsrc_core::view::{Batch, ViewError};
use eventsrc_core::{Event, Sequence, StreamKey};
use futures::TryStreamExt;
use futures::stream::FuturesUnordered;

/// Applies the events of `batch` one by one: the events of one stream in their order, different streams concurrently.
///
/// The statements of different streams are pipelined, so a batch takes about as many round trips as its longest stream has
/// events. A view that writes each table with one statement for the whole batch is faster.
///
/// # Errors
///
/// The first error of `apply`; the remaining events are not applied.
///
/// # Example
///
/// ```
/// use eventsrc_core::StreamName;
/// use eventsrc_core::view::{Batch, ViewError};
/// use eventsrc_postgres::{Transaction, each};
///
/// async fn apply(transaction: &Transaction, batch: &Batch<StreamName, u64, String>) -> Result<(), ViewError> {
///     let put = &transaction
///         .prepare_cached(
///             "INSERT INTO users_v1 VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
///         )
///         .await?;
///     each(batch, |event| async move {
///         transaction.execute(put, &[&event.key().id(), event.payload]).await?;
///         Ok(())
///     })
///     .await
/// }
/// ```
pub async fn each<'a, K, S, E, F>(
    batch: &'a Batch<K, S, E>,
    apply: impl Fn(Event<'a, K, S, E>) -> F,
) -> Result<(), ViewError>
where
    K: StreamKey,
    S: Sequence,
    F: Future<Output = Result<(), ViewError>>,
{
    let apply = &apply;
    let streams: FuturesUnordered<_> = batch
        .streams()
        .map(|commits| async move {
            for event in commits.iter().flat_map(|commit| commit.events()) {
                apply(event).await?;
            }
            Ok(())
        })
        .collect();
    streams.try_collect().await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::task::Poll;

    use eventsrc_core::clock::Randomness;
    use eventsrc_core::commit::Vec1;
    use eventsrc_core::view::CommitRun;
    use eventsrc_core::{Commit, Metadata, StreamName, Timestamp};
    use futures::future::poll_fn;

    use super::*;

    /// Batch of three streams with two commits of two events; each payload is the stream and the number of its event.
    fn batch() -> Batch<StreamName, u64, String> {
        let ids = Randomness::seeded(1);
        let runs = ["a/1", "a/2", "a/3"].map(|stream| {
            let stream: StreamName = stream.parse().unwrap();
            let commits = [1, 3].map(|first| {
                let payloads = [first, first + 1].map(|number| format!("{stream} {number}"));
                Arc::new(Commit {
                    key: stream.clone(),
                    first,
                    previous: None,
                    time: Timestamp::UNIX_EPOCH,
                    metadata: Metadata::new(ids.commit_id(Timestamp::UNIX_EPOCH)),
                    payloads: Vec1::try_from_vec(payloads.into()).unwrap().into(),
                })
            });
            CommitRun { stream, from: None, commits: commits.to_vec() }
        });
        Batch::new(runs.into())
    }

    #[tokio::test]
    async fn streams_are_applied_concurrently_and_each_in_its_order() {
        let applied = RefCell::new(Vec::new());
        let begun = RefCell::new(0);
        let batch = batch();
        let all = each(&batch, |event| {
            let (applied, begun) = (&applied, &begun);
            *begun.borrow_mut() += 1;
            let mut polls = 0;
            poll_fn(move |context| {
                polls += 1;
                context.waker().wake_by_ref();
                if polls < 3 {
                    return Poll::Pending;
                }
                assert!(*begun.borrow() >= 3, "streams do not wait for each other");
                applied.borrow_mut().push(event.payload.clone());
                Poll::Ready(Ok(()))
            })
        });
        all.await.unwrap();
        for stream in ["a/1", "a/2", "a/3"] {
            let of_stream =
                applied.borrow().iter().filter(|text| text.starts_with(stream)).cloned().collect::<Vec<_>>();
            assert_eq!(of_stream, [1, 2, 3, 4].map(|number| format!("{stream} {number}")));
        }
    }

    #[tokio::test]
    async fn the_first_error_ends_the_application() {
        let applied = RefCell::new(0);
        let batch = batch();
        let all = each(&batch, |event| {
            let applied = &applied;
            async move {
                if event.payload == "a/2 2" {
                    return Err("it cannot be applied".into());
                }
                *applied.borrow_mut() += 1;
                Ok(())
            }
        });
        assert_eq!(all.await.unwrap_err().to_string(), "it cannot be applied");
        assert!(*applied.borrow() < 12);
    }
}

//! Applying events one by one.

use eventsrc_core::{Batch, Event, Sequence, StreamKey, ViewError};
use futures::TryStreamExt;
use futures::stream::FuturesUnordered;

/// Applies the events of `batch` one by one: those of one stream in their order, each once the one before is done, and
/// streams side by side.
///
/// So the statements of many streams are on their way at once, and a batch costs about as many round trips as its longest
/// stream has events. A view that writes each table with one statement for the whole batch is faster still.
///
/// # Errors
///
/// The first error, after which nothing more is applied.
///
/// # Example
///
/// ```
/// use eventsrc_core::{Batch, StreamName, ViewError};
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

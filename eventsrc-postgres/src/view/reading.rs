//! Reads of rows and positions from one snapshot of the database.

use eventsrc_core::commit::Payload;
use eventsrc_core::view::StreamPosition;
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName};
use futures::future;
use tokio_postgres::Error;

use super::classification::Classification;
use super::contract::View;
use super::inner::ViewInner;
use super::layout::{self, StreamPositionRow};
use super::open_transaction::OpenTransaction;
use super::rows;
use super::transaction::Transaction;
use crate::failure::Failure;

/// Number of times that a read is tried while versions take over or connections turn out to be broken.
const MAX_ATTEMPTS: usize = 10;

/// Outcome of one attempt to read.
enum ReadOutcome<T> {
    Read(Vec<StreamPositionRow>, T),
    /// The serving version is another one than the cached one, or a public name does not exist.
    OtherVersion(Option<Error>),
    /// A prepared statement was stale, or an idle connection was broken.
    Stale,
}

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// Returns the positions of `streams` and the result of `query`.
    pub(super) async fn read<T, Q>(
        &self,
        streams: &[StreamName],
        query: impl Fn(Transaction) -> Q,
    ) -> Result<(Vec<StreamPosition<S>>, T), StorageError>
    where
        Q: Future<Output = Result<T, Error>>,
    {
        for _ in 0..MAX_ATTEMPTS {
            let attempt = self.in_transaction("read", |open| self.attempt_to_read(open, streams, &query));
            match attempt.await? {
                ReadOutcome::Read(positions, result) => {
                    return Ok((rows::positions_of(streams, &positions)?, result));
                }
                ReadOutcome::OtherVersion(missing) => {
                    let before = self.serving();
                    self.set_serving(&self.versions().await?)?;
                    if let Some(error) = missing
                        && before == self.serving()
                        && let Some(name) = self.missing_public_name().await?
                    {
                        return Err(self.missing_public("read", &name).because(error));
                    }
                }
                ReadOutcome::Stale => {}
            }
        }
        let what = format!(
            "{}: the serving version or the connection changed in each of {MAX_ATTEMPTS} attempts; retry later",
            self.cannot("read")
        );
        Err(StorageError::new(ErrorKind::Unavailable, what))
    }

    async fn attempt_to_read<T, Q>(
        &self,
        open: OpenTransaction,
        streams: &[StreamName],
        query: impl Fn(Transaction) -> Q,
    ) -> Result<ReadOutcome<T>, StorageError>
    where
        Q: Future<Output = Result<T, Error>>,
    {
        let serving = self.serving();
        let was_idle = open.was_idle();
        let failed = |error| {
            let failure = Failure::new(&self.cannot("read"), error);
            if failure.is_connection_lost() && was_idle {
                Ok(ReadOutcome::Stale)
            } else {
                Err(failure.into())
            }
        };
        let statement = match self.layout.positions.prepare_serving(&open).await {
            Ok(statement) => statement,
            Err(error) => return failed(error),
        };
        let keys = rows::keys(streams);
        let (begun, positions, result) = future::join3(
            open.batch_execute(&serving.begin),
            layout::serving_positions(&open, &statement, self.definition.name(), &keys),
            query(open.share()),
        )
        .await;
        let positions = match begun {
            Ok(()) => positions,
            Err(error) if layout::misses_a_name(&error) => return Ok(ReadOutcome::OtherVersion(Some(error))),
            Err(error) => return failed(error),
        };
        let positions = match positions {
            Ok(positions) => positions,
            Err(error) => return failed(error),
        };
        if positions.as_ref().map(|(version, _)| *version) != serving.version {
            return Ok(ReadOutcome::OtherVersion(None));
        }
        let error = match result {
            Ok(result) => {
                let none = || vec![StreamPositionRow::default(); streams.len()];
                let positions = positions.map_or_else(none, |(_, positions)| positions);
                return Ok(ReadOutcome::Read(positions, result));
            }
            Err(error) => error,
        };
        match Classification::of(&error) {
            Classification::Transient(ErrorKind::Refused, reason) => {
                let what = format!("{}: {reason}", self.cannot("read"));
                Err(StorageError::new(ErrorKind::Refused, what).because(error))
            }
            Classification::Transient(..) => failed(error),
            Classification::StaleStatement => {
                open.clear_statement_caches();
                Ok(ReadOutcome::Stale)
            }
            Classification::Permanent | Classification::EndedTransaction | Classification::Unknown => {
                let what = format!("{}: the query failed", self.cannot("read"));
                Err(StorageError::new(ErrorKind::Invalid, what).because(error))
            }
        }
    }
}

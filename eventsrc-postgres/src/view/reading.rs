//! Reading the rows, and how new they are, from one state of the database.

use deadpool_postgres::Object;
use eventsrc_core::commit::Payload;
use eventsrc_core::view::StreamPosition;
use eventsrc_core::{ErrorKind, Sequence, StorageError, StreamKey, StreamName};
use futures::future;
use tokio_postgres::Error;

use super::applying::forget_statements;
use super::classification::Classification;
use super::inner::ViewInner;
use super::layout::{self, StreamPositionRow};
use super::transaction::{OpenTransaction, Transaction};
use super::{View, rows};
use crate::failure::Failure;

/// How often a read is tried that came in between.
const TRIES: usize = 10;

/// What an attempt came to.
enum ReadOutcome<T> {
    Read(Vec<StreamPositionRow>, T),
    /// Another version serves than the one whose names were looked up.
    Elsewhere,
    /// A statement, or the connection, was from before something changed.
    Outdated,
}

impl<K, S, E, V> ViewInner<K, S, E, V>
where
    K: StreamKey,
    S: Sequence,
    E: Payload,
    V: View<K, S, E>,
{
    /// What `query` reads, and where the streams are.
    pub(super) async fn read<T, Q>(
        &self,
        streams: &[StreamName],
        query: impl Fn(Transaction) -> Q,
    ) -> Result<(Vec<StreamPosition<S>>, T), StorageError>
    where
        Q: Future<Output = Result<T, Error>>,
    {
        for _ in 0..TRIES {
            match self.attempt_to_read(streams, &query).await? {
                ReadOutcome::Read(places, found) => {
                    return Ok((rows::positions_of(streams, &places)?, found));
                }
                ReadOutcome::Elsewhere => self.note_serving(&self.versions().await?)?,
                ReadOutcome::Outdated => {}
            }
        }
        let what = format!("{}: it changes again and again", self.cannot("read"));
        Err(StorageError::new(ErrorKind::Unavailable, what))
    }

    async fn attempt_to_read<T, Q>(
        &self,
        streams: &[StreamName],
        query: impl Fn(Transaction) -> Q,
    ) -> Result<ReadOutcome<T>, StorageError>
    where
        Q: Future<Output = Result<T, Error>>,
    {
        let serving = self.serving();
        let transaction = Transaction::new(self.postgres.connection().await?);
        let was_idle = Object::metrics(transaction.connection()).recycle_count > 0;
        let ours = |error| {
            let failure = Failure::new(&self.cannot("read"), error);
            if failure.is_lost() && was_idle { Ok(ReadOutcome::Outdated) } else { Err(failure.into()) }
        };
        let statement = match self.layout.prepare_places(&transaction).await {
            Ok(statement) => statement,
            Err(error) => return ours(error),
        };
        let open = OpenTransaction::new(transaction);
        let names = rows::names(streams);
        let (begun, places, found) = future::join3(
            open.batch_execute(&serving.begin),
            layout::served_places(&open, &statement, self.definition.name(), &names),
            query(open.share()),
        )
        .await;
        let places = match begun {
            Ok(()) => places,
            Err(error) if layout::misses_a_name(&error) => return Ok(ReadOutcome::Elsewhere),
            Err(error) => return ours(error),
        };
        let places = match places {
            Ok(places) => places,
            Err(error) => return ours(error),
        };
        if places.as_ref().map(|(version, _)| *version) != serving.version {
            return Ok(ReadOutcome::Elsewhere);
        }
        let error = match found {
            Ok(found) => {
                let nowhere = || vec![StreamPositionRow::default(); streams.len()];
                return Ok(ReadOutcome::Read(places.map_or_else(nowhere, |(_, places)| places), found));
            }
            Err(error) => error,
        };
        match Classification::on(&error) {
            Classification::Passes(..) => ours(error),
            Classification::Outdated => {
                forget_statements(&open);
                Ok(ReadOutcome::Outdated)
            }
            Classification::Lasts | Classification::Ends | Classification::Unknown => {
                let what = format!("{}: its query fails", self.cannot("read"));
                Err(StorageError::new(ErrorKind::Invalid, what).because(error))
            }
        }
    }
}

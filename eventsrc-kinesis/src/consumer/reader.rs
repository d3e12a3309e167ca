//! Reading one shard.

use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::feed::{Change, Delivery};
use eventsrc_core::lease::{Checkpoint, Lease, ShardPosition};
use eventsrc_core::{ErrorKind, StorageError};
use futures::StreamExt;
use tokio::sync::{mpsc, watch};

use super::progress::Progress;
use super::settings::{ConsumerEnvironment, ConsumerSettings};
use super::status::Board;
use crate::anomaly::Anomaly;
use crate::polling::before;
use crate::record::{Decoded, Decoder};
use crate::source::{ReadError, RecordBatch, SequencedRecord, ShardSource, StartPosition};

/// What a delivery of the decoder `D` is.
pub(super) type DeliveryOf<D, R> =
    Delivery<<D as Decoder<R>>::Key, <D as Decoder<R>>::Sequence, <D as Decoder<R>>::Payload>;

/// Why a shard is not read on.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It has ended, and all of it was dealt with.
    Ended,
    /// It was to be handed over.
    Stopped,
    /// What was handed over was dropped without its acknowledgement.
    Refused,
    /// It cannot be read.
    Failed(StorageError),
}

/// What the readers of a consumer share.
pub(super) struct Reading<So: ShardSource, D: Decoder<So::Record>> {
    pub(super) source: So,
    pub(super) decoder: D,
    pub(super) settings: ConsumerSettings,
    pub(super) environment: ConsumerEnvironment,
    pub(super) deliveries: mpsc::Sender<DeliveryOf<D, So::Record>>,
    pub(super) board: Arc<Board>,
    pub(super) retention: Duration,
}

/// Reads the shard of a lease until its end, or until `stop`.
pub(super) async fn read<So: ShardSource, D: Decoder<So::Record>>(
    reading: Arc<Reading<So, D>>,
    lease: Lease,
    progress: Arc<Progress>,
    mut stop: watch::Receiver<bool>,
) -> Outcome {
    let reader = Reader { reading: &reading, shard: &lease.shard, progress: &progress };
    let outcome = tokio::select! {
        outcome = reader.run(&lease.checkpoint) => outcome,
        () = told(&mut stop) => Outcome::Stopped,
    };
    if let Outcome::Stopped = outcome {
        // What is open is not lost if it is not settled in time: whoever comes next reads it again.
        let limit = reading.environment.clock.sleep(reading.settings.handover);
        tokio::select! {
            _ = progress.settled() => {}
            () = limit => {}
        }
    }
    outcome
}

/// Waits until it is told to stop, or there is nobody any more to tell it.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

struct Reader<'a, So: ShardSource, D: Decoder<So::Record>> {
    reading: &'a Reading<So, D>,
    shard: &'a str,
    progress: &'a Arc<Progress>,
}

impl<So: ShardSource, D: Decoder<So::Record>> Reader<'_, So, D> {
    async fn run(&self, checkpoint: &Checkpoint) -> Outcome {
        let mut dealt_with = None;
        let mut start = match checkpoint {
            Checkpoint::TrimHorizon => StartPosition::TrimHorizon,
            Checkpoint::Latest => StartPosition::Latest,
            Checkpoint::At(time) => StartPosition::Time(*time),
            Checkpoint::After(place) => {
                dealt_with = Some(place);
                StartPosition::At(Arc::clone(&place.sequence_number))
            }
            Checkpoint::End => return Outcome::Ended,
        };
        if let Some(place) = dealt_with.filter(|place| self.is_too_old(place)) {
            let why =
                format!("the checkpoint at {} is older than what the stream keeps", place.sequence_number);
            if !self.lost(why).await {
                return Outcome::Refused;
            }
        }
        let began = self.reading.environment.clock.now();
        let mut was_silent = false;
        loop {
            let mut batches = self.reading.source.records(self.shard, start.clone());
            let error = loop {
                match self.within_silence(batches.next()).await {
                    Some(Some(Ok(batch))) => {
                        was_silent = false;
                        if let Some(last) = batch.records.last() {
                            start = StartPosition::After(last.sequence_number.as_str().into());
                        }
                        if !self.take(batch, dealt_with).await {
                            return Outcome::Refused;
                        }
                    }
                    Some(Some(Err(error))) => break Some(error),
                    Some(None) if self.progress.settled().await => return Outcome::Ended,
                    Some(None) => return Outcome::Refused,
                    None => break None,
                }
            };
            match error {
                None => {
                    let error = self.silence();
                    if was_silent {
                        return Outcome::Failed(error);
                    }
                    tracing::warn!(shard = self.shard, error = %error, "reading the shard anew");
                    metrics::counter!("eventsrc_kinesis_restarts_total").increment(1);
                    was_silent = true;
                    if start == StartPosition::Latest {
                        // What came since it was first asked for must not be missed.
                        start = StartPosition::Time(before(began));
                    }
                }
                Some(ReadError::Failed(error)) => return Outcome::Failed(error),
                Some(ReadError::Trimmed(error)) => {
                    // A shard that is gone as a whole was trimmed to its end.
                    let is_gone = match self.reading.source.shards().await {
                        Ok(shards) => !shards.iter().any(|shard| shard.id == self.shard),
                        Err(error) => return Outcome::Failed(error),
                    };
                    if !self.lost(error.to_string()).await {
                        return Outcome::Refused;
                    }
                    if is_gone {
                        return if self.progress.settled().await { Outcome::Ended } else { Outcome::Refused };
                    }
                    start = StartPosition::TrimHorizon;
                }
            }
        }
    }

    /// What the source brings, unless it is silent for too long.
    async fn within_silence<T>(&self, next: impl Future<Output = T>) -> Option<T> {
        let silence = self.reading.environment.clock.sleep(self.reading.settings.silence);
        tokio::select! {
            next = next => Some(next),
            () = silence => None,
        }
    }

    fn silence(&self) -> StorageError {
        let (shard, silence) = (self.shard, self.reading.settings.silence);
        let what = format!("cannot read the shard {shard}: nothing was said of it for {silence:?}");
        StorageError::new(ErrorKind::Unavailable, what)
    }

    /// Hands over what a batch says; false if that is of no use any more.
    async fn take(&self, batch: RecordBatch<So::Record>, dealt_with: Option<&ShardPosition>) -> bool {
        let RecordBatch { records, behind } = batch;
        self.reading.board.read(self.shard, records.len(), behind);
        if self.progress.is_refused() {
            return false;
        }
        let mut records = records.into_iter();
        loop {
            let mut decoded = Decoded::default();
            let mut last = None;
            let some = records.by_ref().take(self.reading.settings.records_per_delivery.max(1));
            for SequencedRecord { sequence_number, arrived: time, record } in some {
                let from = dealt_with
                    .filter(|place| *place.sequence_number == *sequence_number)
                    .map_or(0, |place| place.part.saturating_add(1));
                let part = self.reading.decoder.decode(record, from, &mut decoded);
                last = Some((sequence_number, part, time));
            }
            let Some((sequence_number, part, time)) = last else { return true };
            let place = ShardPosition { sequence_number: sequence_number.into(), part, time };
            let Decoded { changes, anomalies } = decoded;
            anomalies.iter().for_each(|anomaly| self.report(anomaly));
            if changes.is_empty() {
                self.progress.pass(place);
            } else if !self.deliver(changes, Some(place)).await {
                return false;
            }
        }
    }

    async fn deliver(
        &self,
        changes: Vec<Change<D::Key, D::Sequence, D::Payload>>,
        place: Option<ShardPosition>,
    ) -> bool {
        if !self.progress.room(self.reading.settings.deliveries_ahead).await {
            return false;
        }
        // Room in the channel comes first: what was handed over and not sent would count as refused.
        let Ok(permit) = self.reading.deliveries.reserve().await else { return false };
        permit.send(Delivery { changes, acknowledgement: self.progress.hand_over(place) });
        true
    }

    /// Whether records after `place` may have been removed because of their age.
    fn is_too_old(&self, place: &ShardPosition) -> bool {
        let now = self.reading.environment.clock.now();
        let age = place.time.map(|time| now.duration_since(time));
        age.is_some_and(|age| age.unsigned_abs() > self.reading.retention && age.is_positive())
    }

    /// The stream does not have some of what it had: the storage is asked for it.
    async fn lost(&self, why: String) -> bool {
        self.report(&Anomaly::Lost { shard: self.shard.to_owned(), why });
        self.deliver(vec![Change::Anything], None).await
    }

    fn report(&self, anomaly: &Anomaly) {
        self.reading.board.found(self.shard, anomaly);
        (self.reading.environment.on_anomaly)(anomaly);
    }
}

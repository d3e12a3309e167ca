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
use super::status::StatusBoard;
use crate::anomaly::Anomaly;
use crate::polling::minus_clock_skew;
use crate::record::{Decoded, Decoder};
use crate::source::{ReadError, RecordBatch, SequencedRecord, ShardSource, StartPosition};

/// Delivery of changes that the decoder `D` reads from records of type `R`.
pub(super) type DeliveryOf<D, R> =
    Delivery<<D as Decoder<R>>::Key, <D as Decoder<R>>::Sequence, <D as Decoder<R>>::Payload>;

/// Result of reading a shard.
#[derive(Debug)]
pub(super) enum ReadOutcome {
    /// The shard has ended, and all of its deliveries are acknowledged.
    Ended,
    /// The reader was asked to stop.
    Stopped,
    /// An acknowledgement was dropped unused.
    Unacknowledged,
    /// The shard cannot be read.
    Failed(StorageError),
}

/// Source, settings and status that the shard readers of a consumer share.
pub(super) struct ReaderContext<So: ShardSource, D: Decoder<So::Record>> {
    pub(super) source: So,
    pub(super) decoder: D,
    pub(super) settings: ConsumerSettings,
    pub(super) environment: ConsumerEnvironment,
    pub(super) deliveries: mpsc::Sender<DeliveryOf<D, So::Record>>,
    pub(super) board: Arc<StatusBoard>,
    pub(super) retention: Duration,
}

/// Reads the shard of a lease until its end, or until `stop` is set.
pub(super) async fn read_shard<So: ShardSource, D: Decoder<So::Record>>(
    context: Arc<ReaderContext<So, D>>,
    lease: Lease,
    progress: Arc<Progress>,
    mut stop: watch::Receiver<bool>,
) -> ReadOutcome {
    let reader = ShardReader { context: &context, shard: &lease.shard, progress: &progress };
    let outcome = tokio::select! {
        outcome = reader.run(&lease.checkpoint) => outcome,
        () = stop_requested(&mut stop) => ReadOutcome::Stopped,
    };
    if let ReadOutcome::Stopped = outcome {
        // The next owner reads deliveries again that are not acknowledged in time.
        let limit = context.environment.clock.sleep(context.settings.handover);
        tokio::select! {
            _ = progress.wait_for_all() => {}
            () = limit => {}
        }
    }
    outcome
}

/// Waits until `stop` is set or its sender is dropped.
pub(super) async fn stop_requested(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Reader of one shard.
struct ShardReader<'a, So: ShardSource, D: Decoder<So::Record>> {
    context: &'a ReaderContext<So, D>,
    shard: &'a str,
    progress: &'a Arc<Progress>,
}

impl<So: ShardSource, D: Decoder<So::Record>> ShardReader<'_, So, D> {
    async fn run(&self, checkpoint: &Checkpoint) -> ReadOutcome {
        let mut processed = None;
        let mut start = match checkpoint {
            Checkpoint::TrimHorizon => StartPosition::TrimHorizon,
            Checkpoint::Latest => StartPosition::Latest,
            Checkpoint::At(time) => StartPosition::Time(*time),
            // The record is read again, because only some of its parts may be processed.
            Checkpoint::After(position) => {
                processed = Some(position);
                StartPosition::At(Arc::clone(&position.sequence_number))
            }
            Checkpoint::End => return ReadOutcome::Ended,
        };
        if let Some(position) = processed.filter(|position| self.is_past_retention(position)) {
            let reason =
                format!("the checkpoint at {} is older than the retention", position.sequence_number);
            if !self.deliver_lost(reason).await {
                return ReadOutcome::Unacknowledged;
            }
        }
        let started = self.context.environment.clock.now();
        let mut has_restarted = false;
        loop {
            let mut batches = self.context.source.records(self.shard, start.clone());
            let error = loop {
                match self.within_silence(batches.next()).await {
                    Some(Some(Ok(batch))) => {
                        has_restarted = false;
                        if let Some(last) = batch.records.last() {
                            start = StartPosition::After(last.sequence_number.as_str().into());
                        }
                        if !self.process(batch, processed).await {
                            return ReadOutcome::Unacknowledged;
                        }
                    }
                    Some(Some(Err(error))) => break Some(error),
                    Some(None) if self.progress.wait_for_all().await => return ReadOutcome::Ended,
                    Some(None) => return ReadOutcome::Unacknowledged,
                    None => break None,
                }
            };
            match error {
                None => {
                    let error = self.silence_error();
                    if has_restarted {
                        return ReadOutcome::Failed(error);
                    }
                    tracing::warn!(shard = self.shard, error = %error, "restarting the reader of the shard");
                    metrics::counter!("eventsrc_kinesis_restarts_total").increment(1);
                    has_restarted = true;
                    if start == StartPosition::Latest {
                        // Records since the first start must not be missed.
                        start = StartPosition::Time(minus_clock_skew(started));
                    }
                }
                Some(ReadError::Failed(error)) => return ReadOutcome::Failed(error),
                Some(ReadError::Trimmed(error)) => {
                    // A deleted shard was trimmed to its end.
                    let is_gone = match self.context.source.shards().await {
                        Ok(shards) => !shards.iter().any(|shard| shard.id == self.shard),
                        Err(error) => return ReadOutcome::Failed(error),
                    };
                    if !self.deliver_lost(error.to_string()).await {
                        return ReadOutcome::Unacknowledged;
                    }
                    if is_gone {
                        return if self.progress.wait_for_all().await {
                            ReadOutcome::Ended
                        } else {
                            ReadOutcome::Unacknowledged
                        };
                    }
                    start = StartPosition::TrimHorizon;
                }
            }
        }
    }

    /// Waits for the next answer of the source; returns `None` if there is none within `ConsumerSettings::silence`.
    async fn within_silence<T>(&self, next: impl Future<Output = T>) -> Option<T> {
        let silence = self.context.environment.clock.sleep(self.context.settings.silence);
        tokio::select! {
            next = next => Some(next),
            () = silence => None,
        }
    }

    fn silence_error(&self) -> StorageError {
        let (shard, silence) = (self.shard, self.context.settings.silence);
        let what = format!("cannot read the shard {shard}: the source gave no answer for {silence:?}");
        StorageError::new(ErrorKind::Unavailable, what)
    }

    /// Decodes and delivers a batch. Returns false if an acknowledgement was dropped or the consumer is gone.
    async fn process(&self, batch: RecordBatch<So::Record>, processed: Option<&ShardPosition>) -> bool {
        let RecordBatch { records, behind_latest } = batch;
        self.context.board.record_read(self.shard, records.len(), behind_latest);
        if self.progress.has_dropped() {
            return false;
        }
        let mut records = records.into_iter();
        loop {
            let mut decoded = Decoded::default();
            let mut last = None;
            let chunk = records.by_ref().take(self.context.settings.records_per_delivery.max(1));
            for SequencedRecord { sequence_number, arrived: time, record } in chunk {
                let from = processed
                    .filter(|position| *position.sequence_number == *sequence_number)
                    .map_or(0, |position| position.part.saturating_add(1));
                let part = self.context.decoder.decode(record, from, &mut decoded);
                last = Some((sequence_number, part, time));
            }
            let Some((sequence_number, part, time)) = last else { return true };
            let position = ShardPosition { sequence_number: sequence_number.into(), part, time };
            let Decoded { changes, anomalies } = decoded;
            anomalies.iter().for_each(|anomaly| self.report(anomaly));
            if changes.is_empty() {
                self.progress.pass_over(position);
            } else if !self.deliver(changes, Some(position)).await {
                return false;
            }
        }
    }

    async fn deliver(
        &self,
        changes: Vec<Change<D::Key, D::Sequence, D::Payload>>,
        position: Option<ShardPosition>,
    ) -> bool {
        if !self.progress.wait_for_room(self.context.settings.deliveries_ahead).await {
            return false;
        }
        // The channel is reserved first: a delivery that is registered and not sent would count as dropped.
        let Ok(permit) = self.context.deliveries.reserve().await else { return false };
        permit.send(Delivery { changes, acknowledgement: self.progress.register(position) });
        true
    }

    /// True if the stream may have trimmed records after `position`.
    fn is_past_retention(&self, position: &ShardPosition) -> bool {
        let now = self.context.environment.clock.now();
        let age = position.time.map(|time| now.duration_since(time));
        age.is_some_and(|age| age.unsigned_abs() > self.context.retention && age.is_positive())
    }

    /// Reports that the stream may have lost records, and delivers a hint that any stream may have grown.
    async fn deliver_lost(&self, reason: String) -> bool {
        self.report(&Anomaly::Lost { shard: self.shard.to_owned(), reason });
        self.deliver(vec![Change::Anything], None).await
    }

    fn report(&self, anomaly: &Anomaly) {
        self.context.board.record_anomaly(self.shard, anomaly);
        (self.context.environment.on_anomaly)(anomaly);
    }
}

//! What is written to a partition, and how far it can be read: its log and its producers, in step.

use std::time::Duration;

use kafka_client::records::TimestampType;
use kafka_client::records::control::{EndMarker, Ending};
use kafka_protocol::ResponseError;

use crate::configs::{Retention, TopicConfigs};
use crate::log::{CompactionTerms, Produced, Refusal, WrittenBatch};
use crate::producers::{Admission, MarkerRefused, Producers, Stamp, Verdict, Written};
use crate::topics::PartitionState;

/// `producer.id.expiration.ms`
const PRODUCER_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who may read how far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    #[default]
    ReadUncommitted,
    ReadCommitted,
}

impl Isolation {
    /// As requests number it.
    pub(crate) fn of(level: i8) -> Self {
        if level == 1 { Self::ReadCommitted } else { Self::ReadUncommitted }
    }
}

impl PartitionState {
    /// Where the first transaction begins that is still open, or the end of the log.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.producers.first_open().map_or(self.log.end(), |first| first.max(self.log.start()))
    }

    /// The first offset that cannot be read.
    pub(crate) fn readable_until(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadUncommitted => self.log.end(),
            Isolation::ReadCommitted => self.last_stable_offset(),
        }
    }

    /// Appends a producer's batch, stamped with `append_time` already where that is not -1; one that was written before
    /// is answered as then.
    pub(crate) fn append(
        &mut self,
        configs: &TopicConfigs,
        batch: Produced,
        append_time: i64,
        admission: Admission,
    ) -> Result<Written, ResponseError> {
        let stamp = Stamp::of(&batch.header);
        match stamp.map_or(Verdict::Append, |stamp| self.producers.check(stamp, admission)) {
            Verdict::Append => {}
            Verdict::Duplicate(written) => return Ok(written),
            Verdict::OutOfOrder => return Err(ResponseError::OutOfOrderSequenceNumber),
            Verdict::Fenced => return Err(ResponseError::InvalidProducerEpoch),
            Verdict::WrongTransaction => return Err(ResponseError::InvalidTxnState),
        }
        let epoch = self.replicas.epoch();
        let written = Written { base_offset: self.log.append(batch, epoch), append_time };
        if let Some(stamp) = stamp {
            self.producers.written(stamp, written);
        }
        self.shrink(configs);
        self.changed();
        Ok(written)
    }

    /// Keeps to `retention.bytes`.
    fn shrink(&mut self, configs: &TopicConfigs) -> bool {
        match configs.retention_bytes {
            Some(limit) if configs.deletes => self.log.shrink(limit),
            _ => false,
        }
    }

    /// Drops what is kept no longer: old batches, and producers that have gone. `now` in milliseconds since 1970.
    pub(crate) fn enforce_retention(&mut self, configs: &TopicConfigs, now: i64) {
        let expired = match configs.retention {
            _ if !configs.deletes => false,
            Retention::Unlimited => false,
            Retention::ByTimestamp(age) => self.log.expire(now.saturating_sub(age)),
            Retention::SinceArrival(age) => self.log.expire_arrived(age),
        };
        if self.shrink(configs) || expired {
            self.changed();
        }
        self.producers.forget_idle(PRODUCER_EXPIRY);
    }

    /// Compacts the log as it is at `now`, in milliseconds since 1970.
    pub(crate) fn compact(&mut self, configs: &TopicConfigs, now: i64) {
        self.log.compact(&CompactionTerms {
            until: self.last_stable_offset(),
            now,
            delete_retention: configs.delete_retention_ms,
            min_lag: configs.min_compaction_lag_ms,
            producers: self.producers.last_written(),
        });
    }

    /// Makes `broker` the leader, whose log ends at `end` or before the batch that holds it; where it ends.
    pub(crate) fn lose_to(
        &mut self,
        broker: i32,
        end: i64,
        is_live: &dyn Fn(i32) -> bool,
    ) -> Result<i64, ResponseError> {
        if !(self.log.start()..=self.log.end()).contains(&end) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        // The election first, since it may fail; the epoch begins where the log ends then.
        let mut replicas = self.replicas.clone();
        replicas.elect_behind(broker, is_live, self.log.end())?;
        let own = replicas.take_lost().unwrap_or(end);
        self.lose_from(end.min(own));
        self.lead_anew(|present| *present = replicas);
        Ok(self.log.end())
    }

    /// Ends the log at `end`, or before the batch that holds it; where records before its start are lost too, there. What
    /// producers are remembered for is what is left.
    pub(crate) fn lose_from(&mut self, end: i64) {
        self.log.truncate(end);
        let mut producers = Producers::default();
        for batch in self.log.batches() {
            match batch.written() {
                Ok(WrittenBatch::Marker(marker)) => drop(producers.ended(&marker)),
                Ok(WrittenBatch::Records(header)) => {
                    let append_time = match header.timestamp_type {
                        TimestampType::LogAppendTime => header.max_timestamp,
                        _ => -1,
                    };
                    let written = Written { base_offset: header.base_offset, append_time };
                    Stamp::of(&header).into_iter().for_each(|stamp| producers.written(stamp, written));
                }
                // Its records cannot be read; its producer is not known for it.
                Err(_) => {}
            }
        }
        self.producers = producers;
    }

    /// Appends the marker that ends a producer's transaction.
    pub(crate) fn append_marker(
        &mut self,
        configs: &TopicConfigs,
        marker: &EndMarker,
    ) -> Result<(), ResponseError> {
        self.producers.check_marker(marker).map_err(|refused| match refused {
            MarkerRefused::ProducerFenced => ResponseError::InvalidProducerEpoch,
            MarkerRefused::CoordinatorFenced => ResponseError::TransactionCoordinatorFenced,
        })?;
        // The broker's own batch is a sound one.
        let invalid = |_: Refusal| ResponseError::UnknownServerError;
        let mut batch = Produced::marker(marker).map_err(invalid)?;
        if configs.log_append_time {
            batch.stamp_append_time(marker.timestamp).map_err(invalid)?;
        }
        self.log.append(batch, self.replicas.epoch());
        let began = self.producers.ended(marker);
        if let (Some(began), Ending::Abort) = (began, marker.ending) {
            self.log.abort(marker.producer_id, began);
        }
        self.changed();
        Ok(())
    }
}

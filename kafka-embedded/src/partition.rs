//! What is written to a partition, and how far it can be read: its log and its producers, in step.

use kafka_client::records::control::{EndMarker, Ending};
use kafka_protocol::ResponseError;

use crate::configs::TopicConfigs;
use crate::log::{Produced, Refusal};
use crate::producers::{Admission, MarkerRefused, Stamp, Verdict, Written};
use crate::topics::PartitionState;

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
        self.changed();
        Ok(written)
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

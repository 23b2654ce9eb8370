//! Record batches for tests.

use bytes::Bytes;

use crate::config::Compression;
use crate::records::append::{AppendStamp, stamp};
use crate::records::control::{EndMarker, Ending};
use crate::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite, batch, control_batch};
use crate::records::{BatchHeader, Batches, Record};

/// A batch to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) base_offset: i64,
    pub(crate) count: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) compression: Compression,
    /// Producer id of a transaction.
    pub(crate) transaction: Option<i64>,
    /// Bytes of each value beside its offset.
    pub(crate) padding: usize,
}

impl Recipe {
    pub(crate) fn new(base_offset: i64, count: i32) -> Self {
        let (compression, transaction) = (Compression::None, None);
        Self { base_offset, count, leader_epoch: 0, compression, transaction, padding: 0 }
    }

    fn stamp(&self) -> ProducerStamp {
        match self.transaction {
            Some(producer_id) => {
                ProducerStamp { producer_id, epoch: 0, base_sequence: 0, transactional: true }
            }
            None => ProducerStamp::NONE,
        }
    }

    /// Records whose values are their offsets.
    pub(crate) fn build(&self) -> Bytes {
        let mut builder = BatchBuilder::new(1024);
        for offset in self.base_offset..self.base_offset + i64::from(self.count) {
            let mut value = offset.to_be_bytes().to_vec();
            value.resize(8 + self.padding, 7);
            builder.append(RecordToWrite { timestamp: offset, key: None, value: Some(&value), headers: &[] });
        }
        self.stamped(&builder.build(self.compression, self.stamp()).unwrap())
    }

    /// The transaction's marker, at the base offset.
    pub(crate) fn marker(&self, commit: bool) -> Bytes {
        let marker = EndMarker {
            producer_id: self.transaction.unwrap(),
            producer_epoch: 0,
            ending: if commit { Ending::Commit } else { Ending::Abort },
            coordinator_epoch: 0,
            timestamp: 0,
        };
        self.stamped(&control_batch(&marker).unwrap())
    }

    fn stamped(&self, batch: &[u8]) -> Bytes {
        let mut batch = batch.to_vec();
        let (base_offset, leader_epoch) = (self.base_offset, self.leader_epoch);
        stamp(&mut batch, AppendStamp { base_offset, leader_epoch, append_time: None }).unwrap();
        batch.into()
    }
}

/// The batch after compaction removed its tail: it covers `more` offsets behind its last record.
pub(crate) fn compacted(bytes: &Bytes, more: i64) -> Bytes {
    let opened = Batches::new(bytes.clone(), true).next_batch().unwrap().unwrap();
    let header = BatchHeader { last_offset: opened.header().last_offset + more, ..*opened.header() };
    let records = opened.records().map(|record| {
        let Record { offset, timestamp, key, value, .. } = record.unwrap();
        (offset, RecordToWrite { timestamp, key, value, headers: &[] })
    });
    batch(&header, records).unwrap()
}

/// All of them, one after the other.
pub(crate) fn joined(batches: &[Bytes]) -> Bytes {
    Bytes::from(batches.concat())
}

//! Compaction (`cleanup.policy=compact`), with the rules of Kafka's cleaner: of each key the last record stays, a
//! tombstone until its delete horizon, a transaction's marker until nothing of the transaction is left.
//!
//! Batches keep their first and last offset, whatever was taken out of them. One that holds its producer's last sequence
//! stays even without records, so that the producer is known by it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use kafka_client::records::{BatchHeader, Record, RecordError, TimestampType};

use super::rewrite::{open, rewrite};
use super::{Aborted, Batch, Log};

/// What a compaction goes by.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Where the first transaction begins that is still open: nothing from there on is touched.
    pub(crate) until: i64,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
    /// `delete.retention.ms`: how long a reader has for a tombstone, from the first compaction that meets it.
    pub(crate) delete_retention: i64,
    /// `min.compaction.lag.ms`: how old a batch must be.
    pub(crate) min_lag: i64,
    /// By producer id: its epoch, and where its last batch begins, `None` where a marker was the last.
    pub(crate) producers: BTreeMap<i64, (i16, Option<i64>)>,
}

impl Log {
    /// Compacts all but the last batch, which is what Kafka's active segment is here: the end of the log stays where
    /// readers can come to it, and what it says of a key takes nothing from those before it yet. A batch that cannot be
    /// read stays as it is.
    pub(crate) fn compact(&mut self, terms: &Terms) {
        let stable = self.batches.partition_point(|batch| batch.last_offset < terms.until);
        let young = |batch: &Arc<Batch>| {
            terms.min_lag > 0 && batch.max_timestamp > terms.now.saturating_sub(terms.min_lag)
        };
        let cleanable = self.batches.iter().take(stable).position(young).unwrap_or(stable);
        let mut cleaner = Cleaner::new(terms, &self.aborted);
        let kept_whole = cleanable.min(self.batches.len().saturating_sub(1));
        for batch in self.batches.range(..kept_whole) {
            cleaner.learn(batch);
        }
        let mut compacted = VecDeque::with_capacity(self.batches.len());
        for (index, batch) in self.batches.iter().enumerate() {
            match if index < kept_whole { cleaner.clean(batch) } else { Cleaned::AsItIs } {
                Cleaned::AsItIs => compacted.push_back(Arc::clone(batch)),
                Cleaned::To(batch) => compacted.push_back(Arc::new(batch)),
                Cleaned::Gone => {}
            }
        }
        let first_kept = self.batches.get(kept_whole).map_or(i64::MAX, |batch| batch.base_offset());
        let forgotten = cleaner.forgotten;
        self.aborted.retain(|aborted| aborted.last >= first_kept || !forgotten.contains(&aborted.last));
        self.bytes = compacted.iter().map(|batch| batch.size()).sum();
        self.batches = compacted;
    }
}

/// What became of a batch.
enum Cleaned {
    AsItIs,
    To(Batch),
    Gone,
}

struct Cleaner<'l> {
    terms: &'l Terms,
    aborted: HashMap<i64, Vec<Aborted>>,
    /// The last offset of each key.
    last: HashMap<Vec<u8>, i64>,
    /// Producers of whose transaction a batch was met since its last marker.
    met: HashSet<i64>,
    /// Markers of aborted transactions of which nothing is left.
    forgotten: HashSet<i64>,
}

impl<'l> Cleaner<'l> {
    fn new(terms: &'l Terms, all: &VecDeque<Aborted>) -> Self {
        let mut aborted: HashMap<i64, Vec<Aborted>> = HashMap::new();
        for one in all {
            aborted.entry(one.producer_id).or_default().push(*one);
        }
        Self { terms, aborted, last: HashMap::new(), met: HashSet::new(), forgotten: HashSet::new() }
    }

    fn is_aborted(&self, header: &BatchHeader) -> bool {
        let of_producer = self.aborted.get(&header.producer_id).filter(|_| header.is_transactional);
        of_producer.is_some_and(|all| {
            all.iter().any(|aborted| (aborted.first..=aborted.last).contains(&header.base_offset))
        })
    }

    /// Takes note of the keys in a batch.
    fn learn(&mut self, batch: &Batch) {
        let Ok(opened) = open(batch.whole()) else { return };
        let header = *opened.header();
        if header.is_control || self.is_aborted(&header) {
            return;
        }
        for record in opened.records().map_while(Result::ok) {
            if let Some(key) = record.key {
                self.last.insert(key.to_vec(), record.offset);
            }
        }
    }

    fn clean(&mut self, batch: &Batch) -> Cleaned {
        match open(batch.whole()).and_then(|opened| self.clean_opened(&opened)) {
            Ok(Some(Outcome::Kept)) | Err(_) => Cleaned::AsItIs,
            Ok(Some(Outcome::Rewritten(bytes))) => {
                Batch::stored(&bytes, batch.arrived).map_or(Cleaned::AsItIs, Cleaned::To)
            }
            Ok(None) => Cleaned::Gone,
        }
    }

    fn clean_opened(
        &mut self,
        opened: &kafka_client::records::Batch,
    ) -> Result<Option<Outcome>, RecordError> {
        let header = *opened.header();
        let is_over = header.has_delete_horizon && header.base_timestamp <= self.terms.now;
        let (nothing_stays, ends_nothing) = if header.is_control {
            let ends_nothing = !self.met.remove(&header.producer_id);
            if ends_nothing {
                self.forgotten.insert(header.base_offset);
            }
            (ends_nothing && is_over, ends_nothing)
        } else {
            if header.is_transactional {
                self.met.insert(header.producer_id);
            }
            (self.is_aborted(&header), false)
        };
        let mut records = Vec::new();
        let mut tombstones = false;
        for record in opened.records() {
            let record = record?;
            if !nothing_stays && (header.is_control || self.stays(&record, is_over)) {
                tombstones |= !header.is_control && record.value.is_none();
                records.push(record);
            }
        }
        if records.is_empty() {
            return self.without_records(&header);
        }
        let needs_horizon = (tombstones || ends_nothing) && !header.has_delete_horizon;
        if !needs_horizon && records.len() == usize::try_from(header.record_count).unwrap_or(0) {
            return Ok(Some(Outcome::Kept));
        }
        let horizon = needs_horizon.then(|| self.terms.now.saturating_add(self.terms.delete_retention));
        rewrite(&with_records(&header, &records, horizon), &records)
            .map(|bytes| Some(Outcome::Rewritten(bytes)))
    }

    fn stays(&self, record: &Record<'_>, is_over: bool) -> bool {
        let is_last =
            record.key.is_some_and(|key| self.last.get(key).is_none_or(|last| *last <= record.offset));
        is_last && (record.value.is_some() || !is_over)
    }

    /// A batch of which no record is left.
    fn without_records(&self, header: &BatchHeader) -> Result<Option<Outcome>, RecordError> {
        let is_last_of_producer = match self.terms.producers.get(&header.producer_id) {
            Some((_, Some(offset))) => *offset == header.base_offset,
            Some((epoch, None)) => header.is_control && header.producer_epoch == *epoch,
            None => false,
        };
        if header.producer_id < 0 || !is_last_of_producer {
            return Ok(None);
        }
        if header.record_count == 0 {
            return Ok(Some(Outcome::Kept));
        }
        let empty = BatchHeader { base_timestamp: -1, has_delete_horizon: false, ..*header };
        rewrite(&empty, &[]).map(|bytes| Some(Outcome::Rewritten(bytes)))
    }
}

enum Outcome {
    Kept,
    Rewritten(Bytes),
}

/// The header of a batch that keeps only `records`; from `horizon` on its tombstones, or the marker in it, may go.
fn with_records(header: &BatchHeader, records: &[Record<'_>], horizon: Option<i64>) -> BatchHeader {
    let first = records.first().map_or(-1, |record| record.timestamp);
    let latest = records.iter().map(|record| record.timestamp).max().unwrap_or(-1);
    BatchHeader {
        base_timestamp: match horizon {
            Some(horizon) => horizon,
            None if header.has_delete_horizon => header.base_timestamp,
            None => first,
        },
        has_delete_horizon: header.has_delete_horizon || horizon.is_some(),
        max_timestamp: match header.timestamp_type {
            TimestampType::LogAppendTime => header.max_timestamp,
            _ => latest,
        },
        ..*header
    }
}

//! Writing a batch anew: with some of its records, in another codec.

use bytes::Bytes;
use kafka_client::records::encode::{RecordToWrite, compressed_batch};
use kafka_client::records::{Batch, BatchHeader, Batches, Record, RecordError};

/// The one batch that `bytes` are.
pub(super) fn open(bytes: Bytes) -> Result<Batch, RecordError> {
    let missing = || RecordError::Malformed("not one whole batch".to_owned());
    Batches::new(bytes, false).next_batch()?.ok_or_else(missing)
}

/// The batch that `header` describes with these records, in the codec that it names.
pub(super) fn rewrite(header: &BatchHeader, records: &[Record<'_>]) -> Result<Bytes, RecordError> {
    let headers: Vec<Vec<_>> = records
        .iter()
        .map(|record| record.headers.iter().map(|one| (one.name, one.value)).collect())
        .collect();
    let written = records.iter().zip(&headers).map(|(record, headers)| {
        let Record { offset, timestamp, key, value, .. } = *record;
        (offset, RecordToWrite { timestamp, key, value, headers })
    });
    compressed_batch(header, written)
}

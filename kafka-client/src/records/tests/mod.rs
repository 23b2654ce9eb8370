//! Tests of the whole module: against Java's bytes, and against any bytes.

use bytes::Bytes;

use super::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use super::{Batch, Batches};
use crate::config::Compression;

mod broker;
mod properties;
mod vectors;
mod views;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// A batch of records with these values, offset and time counting from 0 and 1000.
fn batch_of(values: &[&str], codec: Compression, stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    for (timestamp, value) in (1000..).zip(values) {
        let value = Some(value.as_bytes());
        builder.append(RecordToWrite { timestamp, key: Some(b"key"), value, headers: &[] });
    }
    builder.build(codec, stamp).unwrap()
}

/// The one batch that `bytes` is.
fn only_batch(bytes: &Bytes) -> Batch {
    let mut batches = Batches::new(bytes.clone(), true);
    let batch = batches.next_batch().unwrap().unwrap();
    assert_eq!(batches.remaining(), 0);
    batch
}

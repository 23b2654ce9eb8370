//! What is written is read, with every codec; and any bytes are read or refused.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::{CODECS, only_batch};
use crate::config::Compression;
use crate::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite, restamp};
use crate::records::{BATCH_OVERHEAD, Batch, Batches, RecordError, header};
use crate::vectors;

/// A record that owns its parts.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn any_codec() -> impl Strategy<Value = Compression> {
    prop::sample::select(&CODECS[..])
}

/// Bytes of every kind of length, some of which compress.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..200),
        1 => vec(any::<u8>(), 8100..8300),
        1 => (any::<u8>(), 0..70_000usize).prop_map(|(byte, length)| vec![byte; length]),
        2 => (vec(any::<u8>(), 1..40), 1..400usize).prop_map(|(part, times)| part.repeat(times)),
    ]
}

fn any_record() -> impl Strategy<Value = Owned> {
    let headers = vec((".{0,20}", prop::option::of(vec(any::<u8>(), 0..100))), 0..4);
    let timestamp = prop_oneof![any::<i64>(), 1_760_000_000_000..1_760_000_100_000i64, Just(-1)];
    (timestamp, prop::option::of(any_bytes()), prop::option::of(any_bytes()), headers)
        .prop_map(|(timestamp, key, value, headers)| Owned { timestamp, key, value, headers })
}

fn any_stamp() -> impl Strategy<Value = ProducerStamp> {
    (any::<i64>(), any::<i16>(), any::<i32>(), any::<bool>()).prop_map(
        |(producer_id, epoch, base_sequence, transactional)| ProducerStamp {
            producer_id,
            epoch,
            base_sequence,
            transactional,
        },
    )
}

fn build(records: &[Owned], codec: Compression, stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(100);
    for (at, record) in records.iter().enumerate() {
        let headers: Vec<_> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let to_write = RecordToWrite {
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        let before = builder.size();
        assert_eq!(builder.append(to_write), at as i32);
        assert!(builder.size() - before <= BatchBuilder::upper_bound(&to_write));
        assert_eq!(builder.len(), at + 1);
    }
    let size = builder.size();
    let batch = builder.build(codec, stamp).unwrap();
    assert!(codec != Compression::None || batch.len() == size);
    batch
}

fn records_of(batch: &Batch) -> Vec<Owned> {
    let records = batch.records().map(|record| {
        let record = record.unwrap();
        let headers = record.headers.iter();
        Owned {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    });
    records.collect()
}

/// Reads all that there is, however broken; the number of records and of errors.
fn exhaust(bytes: &[u8], check_crcs: bool) -> (usize, usize) {
    let mut batches = Batches::new(Bytes::copy_from_slice(bytes), check_crcs);
    let (mut read, mut failed) = (0, 0);
    loop {
        match batches.next_batch() {
            Ok(None) => return (read, failed),
            Ok(Some(batch)) => {
                for record in batch.records().take(100_000) {
                    match record {
                        Ok(record) => read += 1 + record.headers.iter().count(),
                        Err(_) => failed += 1,
                    }
                }
            }
            Err(_) => failed += 1,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        records in vec(any_record(), 0..12),
        codec in any_codec(),
        stamp in any_stamp(),
    ) {
        let batch = only_batch(&build(&records, codec, stamp));
        prop_assert_eq!(&records_of(&batch), &records);
        let header = batch.header();
        prop_assert_eq!(header.producer_id, stamp.producer_id);
        prop_assert_eq!(header.producer_epoch, stamp.epoch);
        prop_assert_eq!(header.base_sequence, stamp.base_sequence);
        prop_assert_eq!(header.is_transactional, stamp.transactional);
        prop_assert_eq!(header.next_offset(), records.len() as i64);
        let highest = records.iter().map(|record| record.timestamp).max();
        prop_assert_eq!(header.max_timestamp, highest.map_or(-1, |highest| highest.max(-1)));
    }

    #[test]
    fn another_stamp_changes_only_the_stamp(
        records in vec(any_record(), 1..4),
        codec in any_codec(),
        stamps in (any_stamp(), any_stamp()),
        shared in any::<bool>(),
    ) {
        let first = build(&records, codec, stamps.0);
        let kept = shared.then(|| (first.clone(), first.to_vec()));
        prop_assert_eq!(restamp(first, stamps.1), build(&records, codec, stamps.1));
        if let Some((handle, before)) = kept {
            prop_assert_eq!(handle, before);
        }
    }

    #[test]
    fn any_part_of_a_batch_is_silence(
        records in vec(any_record(), 1..4),
        codec in any_codec(),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = build(&records, codec, ProducerStamp::NONE);
        let mut two = whole.to_vec();
        two.extend_from_slice(&whole[..cut.index(whole.len())]);
        let mut batches = Batches::new(two.into(), true);
        prop_assert!(batches.next_batch().unwrap().is_some());
        prop_assert!(batches.next_batch().unwrap().is_none());
    }

    #[test]
    fn a_changed_bit_behind_the_epoch_is_noticed(
        records in vec(any_record(), 1..4),
        codec in any_codec(),
        place in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let mut bytes = build(&records, codec, ProducerStamp::NONE).to_vec();
        let place = 17 + place.index(bytes.len() - 17);
        bytes[place] ^= 1u8 << bit;
        let read = Batches::new(bytes.into(), true).next_batch();
        prop_assert!(matches!(read, Err(RecordError::Checksum { .. })), "{:?}", read);
    }

    #[test]
    fn any_bytes_end(bytes in vec(any::<u8>(), 0..300)) {
        exhaust(&bytes, true);
        exhaust(&bytes, false);
    }

    /// Behind a sound header, so that the decoders and the walk see the garbage.
    #[test]
    fn mutated_batches_end(
        records in vec(any_record(), 0..4),
        codec in any_codec(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = build(&records, codec, ProducerStamp::NONE).to_vec();
        if let Some(cut) = cut {
            bytes.truncate(BATCH_OVERHEAD + cut.index(bytes.len() - BATCH_OVERHEAD + 1));
        }
        let from = if bytes.len() > BATCH_OVERHEAD { BATCH_OVERHEAD } else { 0 };
        for (place, byte) in changes {
            let place = from + place.index(bytes.len() - from);
            bytes[place] = byte;
        }
        exhaust(&bytes, false);
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        header::write_checksum(&mut bytes);
        exhaust(&bytes, true);
    }

    #[test]
    fn random_payloads_end(codec in any_codec(), payload in vec(any::<u8>(), 0..400), magic in any::<bool>()) {
        let mut bytes = build(&[], codec, ProducerStamp::NONE).to_vec();
        bytes.truncate(BATCH_OVERHEAD);
        bytes[57..61].copy_from_slice(&3i32.to_be_bytes());
        if magic {
            bytes.extend_from_slice(match codec {
                Compression::None => &[],
                Compression::Gzip => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
                Compression::Snappy => &[0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1],
                Compression::Lz4 => &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82],
                Compression::Zstd => &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58],
            });
        }
        bytes.extend_from_slice(&payload);
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        exhaust(&bytes, false);
    }
}

/// Java's bytes with changes that the checksums do not see: old wrappers, control batches, every codec's own framing.
#[test]
fn changed_vectors_end() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    for case in vectors::lines("record_batches.jsonl").iter().chain(&vectors::lines("old_messages.jsonl")) {
        let whole = vectors::bytes(&case["bytes"]).unwrap();
        for _ in 0..20 {
            let mut bytes = whole.to_vec();
            for (place, byte) in changes.new_tree(&mut runner).unwrap().current() {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = byte;
                }
            }
            exhaust(&bytes, false);
        }
    }
}

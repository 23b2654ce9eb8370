//! What the views promise beyond the right values: no copies, a start inside a batch, what can be said of a failure.

use bytes::Bytes;

use super::{CODECS, batch_of, only_batch};
use crate::config::Compression;
use crate::records::append::{AppendStamp, stamp};
use crate::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use crate::records::{Batches, Codec, RecordError, Records, add_to_sequence, header};

fn at_offset(bytes: &Bytes, base_offset: i64) -> Vec<u8> {
    let mut moved = bytes.to_vec();
    stamp(&mut moved, AppendStamp { base_offset, leader_epoch: 0, append_time: None }).unwrap();
    moved
}

#[test]
fn plain_records_lie_in_the_bytes_given() {
    let bytes = batch_of(&["one", "two"], Compression::None, ProducerStamp::NONE);
    let batch = only_batch(&bytes);
    assert!(!batch.is_detached());
    for record in batch.records() {
        let record = record.unwrap();
        for part in [record.key.unwrap(), record.value.unwrap()] {
            assert!(bytes.as_ptr_range().contains(&part.as_ptr()));
            let kept = batch.slice_of(part);
            assert_eq!((kept.as_ptr(), kept.len()), (part.as_ptr(), part.len()));
        }
    }
}

#[test]
fn what_is_kept_of_a_compressed_batch_is_not_copied_either() {
    for codec in &CODECS[1..] {
        let batch = only_batch(&batch_of(&["one", "two"], *codec, ProducerStamp::NONE));
        assert!(batch.is_detached());
        let clone = batch.clone();
        let value = clone.records().nth(1).unwrap().unwrap().value.unwrap();
        let kept = batch.slice_of(value);
        assert_eq!(kept.as_ptr(), value.as_ptr());
        drop((batch, clone));
        assert_eq!(kept, "two");
    }
}

#[test]
fn foreign_bytes_are_copied() {
    let batch = only_batch(&batch_of(&["one"], Compression::None, ProducerStamp::NONE));
    let foreign = b"somewhere else".to_vec();
    assert_eq!(batch.slice_of(&foreign), foreign);
    assert_eq!(batch.slice_of(&[]), b"".as_slice());
}

#[test]
fn reading_can_start_inside_a_batch() {
    let bytes = batch_of(&["a", "b", "c"], Compression::None, ProducerStamp::NONE);
    let batch = only_batch(&Bytes::from(at_offset(&bytes, 40)));
    let offsets = |from| batch.records_from(from).map(|record| record.unwrap().offset).collect::<Vec<_>>();
    assert_eq!(offsets(0), [40, 41, 42]);
    assert_eq!(offsets(40), [40, 41, 42]);
    assert_eq!(offsets(42), [42]);
    assert_eq!(offsets(43), [0; 0]);
    assert_eq!(Records::none().count(), 0);
}

#[test]
fn a_record_that_cannot_be_read_is_not_passed_over() {
    let mut bytes = batch_of(&["a", "b", "c"], Compression::None, ProducerStamp::NONE).to_vec();
    let second = header::BATCH_OVERHEAD
        + only_batch(&bytes.clone().into()).records().nth(1).unwrap().unwrap().position;
    bytes[second] = 0xff;
    header::write_checksum(&mut bytes);
    let batch = only_batch(&bytes.into());
    let mut records = batch.records_from(2);
    let error = records.next().unwrap().unwrap_err();
    assert!(error.to_string().contains(&format!("at byte {}", second - header::BATCH_OVERHEAD)), "{error}");
    assert!(records.next().is_none());
}

#[test]
fn the_last_header_of_a_name_wins() {
    let mut builder = BatchBuilder::new(0);
    let headers = [("a", Some(b"1".as_slice())), ("b", None), ("a", Some(b"2")), ("a", None)];
    builder.append(RecordToWrite { timestamp: 0, key: None, value: None, headers: &headers[..3] });
    builder.append(RecordToWrite { timestamp: 0, key: None, value: None, headers: &headers });
    let batch = only_batch(&builder.build(Compression::None, ProducerStamp::NONE).unwrap());
    let views: Vec<_> = batch.records().map(|record| record.unwrap().headers).collect();
    assert_eq!((views[0].len(), views[1].len()), (3, 4));
    assert_eq!(views[0].last("a").unwrap().value, Some(b"2".as_slice()));
    assert_eq!(views[1].last("a").unwrap().value, None);
    assert_eq!(views[1].last("c"), None);
}

#[test]
fn a_header_name_that_is_not_text_is_an_error_of_its_record() {
    let mut builder = BatchBuilder::new(0);
    let headers = [("name", Some(b"value".as_slice()))];
    builder.append(RecordToWrite { timestamp: 0, key: None, value: None, headers: &headers });
    let mut bytes = builder.build(Compression::None, ProducerStamp::NONE).unwrap().to_vec();
    let name = bytes.windows(4).position(|window| window == b"name").unwrap();
    bytes[name] = 0xff;
    header::write_checksum(&mut bytes);
    let error = only_batch(&bytes.into()).records().next().unwrap().unwrap_err();
    assert!(error.to_string().contains("not UTF-8"), "{error}");
}

#[test]
fn bytes_after_the_last_header_are_an_error_of_the_record() {
    let mut bytes = batch_of(&["value"], Compression::None, ProducerStamp::NONE).to_vec();
    // The value ends one byte earlier: what was its last byte is a count of no headers, and then there is one more.
    let length = bytes.windows(5).position(|window| window == b"value").unwrap() - 1;
    bytes[length] = 8;
    bytes[length + 5] = 0;
    header::write_checksum(&mut bytes);
    let error = only_batch(&bytes.into()).records().next().unwrap().unwrap_err();
    assert!(error.to_string().contains("after the last header"), "{error}");
}

#[test]
fn a_batch_without_records_is_not_opened() {
    let mut bytes = batch_of(&[], Compression::Gzip, ProducerStamp::NONE).to_vec();
    bytes.truncate(header::BATCH_OVERHEAD);
    bytes[8..12].copy_from_slice(&49i32.to_be_bytes());
    header::write_checksum(&mut bytes);
    let batch = only_batch(&bytes.into());
    assert_eq!((batch.header().codec, batch.records().count()), (Codec::Gzip, 0));
}

#[test]
fn a_batch_can_be_passed_over_unopened() {
    let mut both = at_offset(&batch_of(&["a"], Compression::Zstd, ProducerStamp::NONE), 0);
    *both.last_mut().unwrap() ^= 1;
    both.extend(at_offset(&batch_of(&["b"], Compression::None, ProducerStamp::NONE), 1));
    let mut batches = Batches::new(both.into(), true);
    assert_eq!(batches.peek_header().unwrap().unwrap().base_offset, 0);
    batches.skip_batch();
    assert_eq!(batches.next_batch().unwrap().unwrap().header().base_offset, 1);
    batches.skip_batch();
    assert!(batches.next_batch().unwrap().is_none());
}

#[test]
fn a_failure_says_where_and_ends_it() {
    let batch = batch_of(&["a"], Compression::None, ProducerStamp::NONE);
    let mut bytes = [at_offset(&batch, 7), at_offset(&batch, 8), at_offset(&batch, 9)].concat();
    bytes[batch.len() + 30] ^= 1;
    let mut batches = Batches::new(bytes.into(), true);
    assert!(batches.next_batch().unwrap().is_some());
    assert_eq!(batches.failed_at(), None);
    assert!(matches!(batches.next_batch(), Err(RecordError::Checksum { .. })));
    assert_eq!(batches.failed_at(), Some(8));
    assert_eq!(batches.peek_header(), Ok(None));
    assert!(batches.next_batch().unwrap().is_none());
}

#[test]
fn without_check_crcs_none_is_compared() {
    let mut bytes = batch_of(&["a"], Compression::None, ProducerStamp::NONE).to_vec();
    bytes[17] ^= 1;
    let batch = Batches::new(bytes.into(), false).next_batch().unwrap().unwrap();
    assert_eq!(batch.records().count(), 1);
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(add_to_sequence(0, 5), 5);
    assert_eq!(add_to_sequence(i32::MAX, 1), 0);
    assert_eq!(add_to_sequence(i32::MAX - 1, 3), 1);
}

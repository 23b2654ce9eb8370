use kafka_client::config::Compression;
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_client::records::{Batches, Codec};
use proptest::prelude::*;

use super::*;
use bytes::Bytes;

/// A produced batch of records with these timestamps, each of `size` bytes.
fn produced(timestamps: &[i64], size: usize) -> Bytes {
    compressed(timestamps, size, Compression::None)
}

fn compressed(timestamps: &[i64], size: usize, compression: Compression) -> Bytes {
    let value = vec![b'v'; size];
    let mut builder = BatchBuilder::new(1024);
    for timestamp in timestamps {
        builder.append(RecordToWrite { timestamp: *timestamp, key: None, value: Some(&value), headers: &[] });
    }
    builder.build(compression, ProducerStamp::NONE).unwrap()
}

fn append(log: &mut Log, batch: &Bytes) -> i64 {
    log.append(Produced::parse(batch).unwrap(), 0)
}

fn read(log: &Log, offset: i64, bytes: usize, at_least_one: bool) -> Result<Vec<Arc<Batch>>, OutOfRange> {
    let mut batches = Vec::new();
    let limit = Limit { bytes, at_least_one, until: i64::MAX };
    let total = log.read(offset, limit, &mut batches)?;
    assert_eq!(total, batches.iter().map(|batch| batch.size()).sum::<usize>());
    Ok(batches)
}

fn whole(batch: &Batch) -> Bytes {
    Bytes::from([batch.head().as_slice(), batch.records()].concat())
}

#[test]
fn a_batch_comes_out_as_it_came_in_but_for_its_place() {
    let batch = produced(&[10, 20], 3000);
    let mut log = Log::default();
    append(&mut log, &batch);
    assert_eq!(log.append(Produced::parse(&batch).unwrap(), 4), 2);
    let second = whole(&read(&log, 2, 0, true).unwrap()[0]);
    let opened = Batches::new(second.clone(), true).next_batch().unwrap().unwrap();
    assert_eq!((opened.header().base_offset, opened.header().leader_epoch), (2, 4));
    assert_eq!(second[21..], batch[21..], "all that the checksum covers");
}

#[test]
fn a_batch_that_is_damaged_or_not_alone_is_refused() {
    let good = produced(&[1], 10);
    let mut damaged = good.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(Produced::parse(&damaged.into()).err(), Some(Refusal::Corrupt));
    let invalid = |bytes: &[u8]| match Produced::parse(&Bytes::copy_from_slice(bytes)) {
        Err(Refusal::InvalidRecord(_)) => {}
        other => panic!("{other:?}"),
    };
    invalid(&[]);
    invalid(&good[..good.len() - 1]);
    invalid(&[&good[..], &good].concat());
    let mut elsewhere = good.to_vec();
    elsewhere[7] = 1;
    invalid(&elsewhere);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut flipped = good.to_vec();
            flipped[at] ^= 1 << bit;
            let parsed = Produced::parse(&flipped.into());
            let epoch = 12..16;
            assert_eq!(parsed.is_ok(), epoch.contains(&at), "bit {bit} of byte {at}: {parsed:?}");
        }
    }
}

#[test]
fn append_time_replaces_the_timestamps_and_keeps_the_batch_valid() {
    let mut batch = Produced::parse(&compressed(&[10, 20], 5000, Compression::Gzip)).unwrap();
    batch.stamp_append_time(77).unwrap();
    let placed = batch.place(5, 1);
    let opened = Batches::new(whole(&placed), true).next_batch().unwrap().unwrap();
    assert_eq!(opened.header().codec, Codec::Gzip);
    let records: Vec<_> = opened.records().map(|record| record.unwrap()).collect();
    assert_eq!(
        records.iter().map(|record| (record.offset, record.timestamp)).collect::<Vec<_>>(),
        [(5, 77), (6, 77)]
    );
}

#[test]
fn a_timestamp_finds_the_first_record_that_is_not_older() {
    let mut log = Log::default();
    append(&mut log, &produced(&[10, 30, 20], 1));
    append(&mut log, &compressed(&[15, 40, 40], 1, Compression::Gzip));
    let at = |timestamp| log.at_time(timestamp).map(|found| (found.offset, found.timestamp));
    assert_eq!(at(0), Some((0, 10)));
    assert_eq!(at(11), Some((1, 30)));
    assert_eq!(at(31), Some((4, 40)));
    assert_eq!(at(41), None);
    assert_eq!(log.at_max_time().map(|found| found.offset), Some(4));
    log.delete_before(2).unwrap();
    assert_eq!(log.at_time(11).map(|found| found.offset), Some(2), "what is deleted is not found");
}

#[test]
fn an_epoch_ends_where_the_next_begins() {
    let mut log = Log::default();
    let batch = produced(&[1, 1], 1);
    for epoch in [0, 0, 2, 5] {
        log.append(Produced::parse(&batch).unwrap(), epoch);
    }
    let end = |epoch| log.end_of_epoch(epoch);
    assert_eq!((end(0), end(1), end(2)), (Some((0, 4)), Some((0, 4)), Some((2, 6))));
    assert_eq!((end(4), end(5), end(6)), (Some((2, 6)), Some((5, 8)), None));
    assert_eq!((log.epoch_at(3), log.epoch_at(4), log.epoch_at(7)), (Some(0), Some(2), Some(5)));
    log.delete_before(5).unwrap();
    assert_eq!(log.end_of_epoch(0), Some((0, 5)), "older than all that is left");
    assert_eq!(log.end_of_epoch(2), Some((2, 6)));
}

#[test]
fn retention_keeps_at_least_the_bytes_it_promises_and_drops_whole_batches() {
    let mut log = Log::default();
    let batch = produced(&[10], 100);
    for _ in 0..5 {
        append(&mut log, &batch);
    }
    let size = batch.len();
    assert!(!log.shrink(5 * size), "all of it is kept");
    assert!(!log.shrink(4 * size + 1));
    assert!(log.shrink(2 * size + 1));
    assert_eq!((log.start(), log.end()), (2, 5));
    assert!(read(&log, 1, 1, true).is_err());
    assert!(log.shrink(0));
    assert_eq!((log.start(), log.end(), log.bytes), (5, 5, 0));
}

#[test]
fn what_is_older_than_its_retention_goes_from_the_oldest_on() {
    let mut log = Log::default();
    for timestamps in [&[10, 20][..], &[15], &[40], &[5]] {
        append(&mut log, &produced(timestamps, 10));
    }
    assert!(!log.expire(20), "a batch is as old as its youngest record");
    assert!(log.expire(21));
    assert_eq!(log.start(), 3);
    assert!(!log.expire(40), "an old batch behind a young one stays");
    assert_eq!(log.batches.len(), 2);
}

#[test]
fn a_batch_can_be_put_into_another_codec() {
    let plain = Produced::parse(&produced(&[10, 20], 5000)).unwrap();
    let size = plain.size();
    let packed = plain.recompress(Codec::Lz4).unwrap();
    assert!(packed.size() < size / 2);
    let opened = Batches::new(whole(&packed.place(5, 0)), true).next_batch().unwrap().unwrap();
    let records: Vec<_> = opened.records().map(Result::unwrap).collect();
    let found: Vec<_> =
        records.iter().map(|one| (one.offset, one.timestamp, one.value.unwrap().len())).collect();
    assert_eq!((opened.header().codec, found), (Codec::Lz4, vec![(5, 10, 5000), (6, 20, 5000)]));
}

proptest! {
    #[test]
    fn reads_give_whole_batches_in_order_from_the_one_that_holds_the_offset(
        sizes in prop::collection::vec((1usize..4, 0usize..300), 1..20),
        deleted in 0i64..30,
        offset in 0i64..60,
        bytes in 0usize..2000,
        at_least_one: bool,
    ) {
        let mut log = Log::default();
        let mut bounds = Vec::new();
        for (count, size) in sizes {
            let batch = produced(&vec![1; count], size);
            let base = append(&mut log, &batch);
            bounds.push((base, base + count as i64, batch.len()));
        }
        let deleted = deleted.min(log.end());
        log.delete_before(deleted).unwrap();
        prop_assert_eq!(log.start(), deleted);

        let found = read(&log, offset, bytes, at_least_one);
        if offset < log.start() || offset > log.end() {
            prop_assert_eq!(found.err(), Some(OutOfRange));
            return Ok(());
        }
        let mut expected = Vec::new();
        let mut room = bytes;
        for (base, end, size) in bounds.into_iter().filter(|(_, end, _)| *end > offset) {
            if size > room && !(at_least_one && expected.is_empty()) {
                break;
            }
            room = room.saturating_sub(size);
            expected.push((base, end - 1));
        }
        let found = found.unwrap();
        let header = |batch: &Arc<Batch>| {
            let header = Batches::new(whole(batch), true).peek_header().unwrap().unwrap();
            (header.base_offset, header.last_offset)
        };
        prop_assert_eq!(found.iter().map(header).collect::<Vec<_>>(), expected);
    }
}

use std::collections::BTreeMap;

use kafka_client::config::Compression;
use kafka_client::records::control::{EndMarker, Ending};
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_client::records::{BatchHeader, Batches, Codec};
use proptest::prelude::*;

use super::*;

type Written<'a> = (&'a str, Option<&'a str>);

fn produced(records: &[Written<'_>], stamp: ProducerStamp, compression: Compression) -> Produced {
    let mut builder = BatchBuilder::new(256);
    for (key, value) in records {
        let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
        builder.append(RecordToWrite { timestamp: 100, key, value, headers: &[("h", Some(b"1"))] });
    }
    Produced::parse(&builder.build(compression, stamp).unwrap()).unwrap()
}

fn append(log: &mut Log, records: &[Written<'_>]) {
    log.append(produced(records, ProducerStamp::NONE, Compression::None), 0);
}

fn by(base_sequence: i32, transactional: bool) -> ProducerStamp {
    ProducerStamp { producer_id: 7, epoch: 0, base_sequence, transactional }
}

fn mark(log: &mut Log, ending: Ending) {
    let marker =
        EndMarker { ending, producer_id: 7, producer_epoch: 0, coordinator_epoch: 0, timestamp: 100 };
    log.append(Produced::marker(&marker).unwrap(), 0);
}

/// Compacts at `now`; markers and tombstones are kept for 1000 ms from the first time on.
fn compact(log: &mut Log, now: i64, producers: &[(i64, (i16, Option<i64>))]) {
    let producers: BTreeMap<_, _> = producers.iter().copied().collect();
    log.compact(&CompactionTerms { until: log.end(), now, delete_retention: 1000, min_lag: 0, producers });
}

/// Every batch that is left: its offsets, and its records as `offset:key=value`.
fn left(log: &Log) -> Vec<((i64, i64), Vec<String>)> {
    let text =
        |bytes: Option<&[u8]>| bytes.map_or("-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into());
    let of_batch = |batch: &Arc<Batch>| {
        let opened = Batches::new(batch.whole(), true).next_batch().unwrap().unwrap();
        let records = opened.records().map(|record| {
            let record = record.unwrap();
            assert!(opened.header().is_control || record.headers.len() == 1, "headers stay");
            match opened.header().is_control {
                true => format!("{}:marker", record.offset),
                false => format!("{}:{}={}", record.offset, text(record.key), text(record.value)),
            }
        });
        ((opened.header().base_offset, opened.header().last_offset), records.collect())
    };
    log.batches.iter().map(of_batch).collect()
}

fn records(log: &Log) -> Vec<String> {
    left(log).into_iter().flat_map(|(_, records)| records).collect()
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let mut log = Log::default();
    append(&mut log, &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
    append(&mut log, &[("a", Some("2"))]);
    append(&mut log, &[("a", Some("3")), ("b", Some("2"))]);
    append(&mut log, &[("z", Some("1"))]);
    compact(&mut log, 0, &[]);
    let whole = |from, to, records: &[&str]| {
        ((from, to), records.iter().map(|record| (*record).to_owned()).collect::<Vec<_>>())
    };
    let batches = [whole(0, 2, &["2:c=1"]), whole(4, 5, &["4:a=3", "5:b=2"]), whole(6, 6, &["6:z=1"])];
    assert_eq!(left(&log), batches);
    assert_eq!((log.start(), log.end()), (0, 7));
    let mut read = Vec::new();
    let limit = Limit { bytes: 1 << 20, at_least_one: true, until: i64::MAX };
    log.read(3, limit, &mut read).unwrap();
    assert_eq!(read[0].base_offset(), 4, "a reader in a gap goes on behind it");
    assert_eq!(log.bytes, log.batches.iter().map(|batch| batch.size()).sum::<usize>());
    assert_eq!(log.at_time(0).map(|found| found.offset), Some(2));
}

#[test]
fn the_last_batch_stays_as_it_is() {
    let mut log = Log::default();
    append(&mut log, &[("a", Some("1")), ("a", Some("2")), ("b", None)]);
    compact(&mut log, 0, &[]);
    compact(&mut log, 5000, &[]);
    assert_eq!(records(&log), ["0:a=1", "1:a=2", "2:b=-"]);
    append(&mut log, &[("a", Some("3"))]);
    compact(&mut log, 0, &[]);
    assert_eq!(records(&log), ["1:a=2", "2:b=-", "3:a=3"], "and takes nothing from those before it");
}

#[test]
fn a_tombstone_goes_when_its_horizon_has_passed() {
    let mut log = Log::default();
    append(&mut log, &[("a", Some("1")), ("b", Some("1"))]);
    append(&mut log, &[("a", None)]);
    append(&mut log, &[("z", Some("1"))]);
    compact(&mut log, 500, &[]);
    assert_eq!(records(&log), ["1:b=1", "2:a=-", "3:z=1"]);
    let header = BatchHeader::parse(&log.batches[1].whole()).unwrap().unwrap();
    assert_eq!((header.has_delete_horizon, header.base_timestamp), (true, 1500));
    assert_eq!(log.at_time(100).map(|found| found.timestamp), Some(100), "timestamps stay");
    compact(&mut log, 1499, &[]);
    assert_eq!(records(&log).len(), 3, "the horizon was set once");
    compact(&mut log, 1500, &[]);
    assert_eq!(records(&log), ["1:b=1", "3:z=1"]);
}

#[test]
fn aborted_records_go_at_once_and_their_marker_later() {
    let mut log = Log::default();
    append(&mut log, &[("a", Some("1"))]);
    log.append(produced(&[("a", Some("aborted"))], by(0, true), Compression::None), 0);
    mark(&mut log, Ending::Abort);
    log.abort(7, 1);
    append(&mut log, &[("z", Some("1"))]);
    compact(&mut log, 0, &[]);
    assert_eq!(records(&log), ["0:a=1", "2:marker", "3:z=1"], "an aborted record supersedes nothing");
    assert_eq!(log.aborted(0, 9).count(), 1);
    compact(&mut log, 10, &[]);
    assert_eq!(log.aborted(0, 9).count(), 0, "nothing of it is left");
    assert_eq!(records(&log).len(), 3);
    compact(&mut log, 1009, &[]);
    assert_eq!(records(&log).len(), 3);
    compact(&mut log, 1010, &[]);
    assert_eq!(records(&log), ["0:a=1", "3:z=1"]);
}

#[test]
fn a_commit_stays_while_something_of_its_transaction_does() {
    let mut log = Log::default();
    log.append(produced(&[("a", Some("1")), ("b", Some("1"))], by(0, true), Compression::None), 0);
    mark(&mut log, Ending::Commit);
    append(&mut log, &[("a", Some("2"))]);
    append(&mut log, &[("z", Some("1"))]);
    compact(&mut log, 0, &[]);
    compact(&mut log, 5000, &[]);
    assert_eq!(records(&log), ["1:b=1", "2:marker", "3:a=2", "4:z=1"]);
    append(&mut log, &[("b", Some("2"))]);
    append(&mut log, &[("y", Some("1"))]);
    for now in [10_000, 20_000, 30_000] {
        compact(&mut log, now, &[]);
    }
    assert_eq!(records(&log), ["3:a=2", "4:z=1", "5:b=2", "6:y=1"]);
}

#[test]
fn the_batch_with_a_producers_last_sequence_stays_without_records() {
    let mut log = Log::default();
    log.append(produced(&[("a", Some("1"))], by(0, false), Compression::None), 0);
    log.append(produced(&[("a", Some("2"))], by(1, false), Compression::None), 0);
    append(&mut log, &[("a", Some("3"))]);
    append(&mut log, &[("z", Some("1"))]);
    compact(&mut log, 0, &[(7, (0, Some(1)))]);
    assert_eq!(left(&log)[0], ((1, 1), vec![]));
    let header = BatchHeader::parse(&log.batches[0].whole()).unwrap().unwrap();
    assert_eq!((header.producer_id, header.base_sequence, header.record_count), (7, 1, 0));
    compact(&mut log, 0, &[]);
    assert_eq!(records(&log), ["2:a=3", "3:z=1"], "a producer that is forgotten needs it no more");
}

#[test]
fn open_transactions_and_young_batches_are_not_touched() {
    let mut log = Log::default();
    append(&mut log, &[("a", Some("1"))]);
    append(&mut log, &[("a", Some("2"))]);
    append(&mut log, &[("a", Some("3"))]);
    let terms = |until, min_lag, now| {
        let producers = BTreeMap::new();
        CompactionTerms { until, now, delete_retention: 1000, min_lag, producers }
    };
    log.compact(&terms(1, 0, 0));
    log.compact(&terms(3, 50, 149));
    assert_eq!(records(&log).len(), 3);
    log.compact(&terms(2, 50, 150));
    assert_eq!(records(&log), ["1:a=2", "2:a=3"]);
}

#[test]
fn a_compressed_batch_stays_compressed() {
    let mut log = Log::default();
    let long = "v".repeat(5000);
    let both = [("a", Some("1")), ("b", Some(long.as_str()))];
    log.append(produced(&both, ProducerStamp::NONE, Compression::Gzip), 0);
    append(&mut log, &[("a", Some("2"))]);
    append(&mut log, &[("z", Some("1"))]);
    compact(&mut log, 0, &[]);
    let header = BatchHeader::parse(&log.batches[0].whole()).unwrap().unwrap();
    assert_eq!((header.codec, header.record_count, records(&log).len()), (Codec::Gzip, 1, 3));
    assert!(header.size < 1000);
}

proptest! {
    /// Whoever reads from the beginning and keeps the last value of each key has the same before and after.
    #[test]
    fn the_table_stays_the_same(
        batches in prop::collection::vec(prop::collection::vec((0u8..5, prop::option::of(0u8..9)), 1..4), 1..12),
        compactions in prop::collection::vec(0i64..3000, 1..4),
    ) {
        let mut log = Log::default();
        let mut table = BTreeMap::new();
        let mut offset = 0;
        for batch in &batches {
            let texts: Vec<_> = batch
                .iter()
                .map(|(key, value)| (key.to_string(), value.map(|value| value.to_string())))
                .collect();
            let borrowed: Vec<Written<'_>> =
                texts.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            append(&mut log, &borrowed);
            for (key, value) in texts {
                table.insert(key, (offset, value));
                offset += 1;
            }
        }
        let mut now = 0;
        for step in compactions {
            now += step;
            compact(&mut log, now, &[]);
            let mut read = BTreeMap::new();
            let mut last = -1;
            for record in records(&log) {
                let (at, pair) = record.split_once(':').unwrap();
                let (key, value) = pair.split_once('=').unwrap();
                let at: i64 = at.parse().unwrap();
                prop_assert!(at > last, "offsets ascend");
                last = at;
                read.insert(key.to_owned(), (at, (value != "-").then(|| value.to_owned())));
            }
            for (key, (at, value)) in &table {
                match (read.get(key), value) {
                    (Some(found), _) => prop_assert_eq!(found, &(*at, value.clone())),
                    (None, None) => {}
                    (None, Some(_)) => prop_assert!(false, "the last value of {} is gone", key),
                }
            }
            prop_assert_eq!(log.end(), offset);
        }
    }
}

//! What a broker needs: checking, stamping, markers.

use bytes::Bytes;

use super::{CODECS, batch_of, only_batch};
use crate::config::Compression;
use crate::records::append::{AppendStamp, check_produced, stamp};
use crate::records::control::{EndMarker, Ending};
use crate::records::encode::{ProducerStamp, control_batch};
use crate::records::{RecordError, TimestampType, header};
use crate::vectors;

const IDEMPOTENT: ProducerStamp =
    ProducerStamp { producer_id: 5, epoch: 1, base_sequence: 3, transactional: false };

#[test]
fn a_stamp_moves_the_batch_and_leaves_the_rest() {
    for codec in CODECS {
        let mut bytes = batch_of(&["a", "b"], codec, IDEMPOTENT).to_vec();
        let before = check_produced(&bytes).unwrap();
        let append = AppendStamp { base_offset: 1 << 40, leader_epoch: 9, append_time: None };
        let header = stamp(&mut bytes, append).unwrap();
        let mut expected = before;
        (expected.base_offset, expected.last_offset, expected.leader_epoch) = (1 << 40, (1 << 40) + 1, 9);
        assert_eq!(header, expected);
        let batch = only_batch(&bytes.into());
        let read: Vec<_> = batch.records().map(|record| record.unwrap()).collect();
        assert_eq!([read[0].offset, read[1].offset], [1 << 40, (1 << 40) + 1]);
        assert_eq!([read[0].timestamp, read[1].timestamp], [1000, 1001]);
    }
}

#[test]
fn an_append_time_is_every_records_time() {
    let mut bytes = batch_of(&["a", "b"], Compression::Lz4, IDEMPOTENT).to_vec();
    let header =
        stamp(&mut bytes, AppendStamp { base_offset: 3, leader_epoch: 0, append_time: Some(77) }).unwrap();
    assert_eq!((header.timestamp_type, header.max_timestamp), (TimestampType::LogAppendTime, 77));
    assert!(only_batch(&bytes.into()).records().all(|record| record.unwrap().timestamp == 77));
}

#[test]
fn only_one_whole_batch_is_stamped() {
    let one = batch_of(&["a"], Compression::None, IDEMPOTENT);
    let append = AppendStamp { base_offset: 3, leader_epoch: 0, append_time: Some(77) };
    for mut bytes in [Vec::new(), one[..one.len() - 1].to_vec(), [one.clone(), one].concat()] {
        let before = bytes.clone();
        assert!(stamp(&mut bytes, append).is_err());
        assert_eq!(bytes, before);
    }
}

type Change = dyn Fn(&mut Vec<u8>);

/// A produced batch with one thing wrong, and what the refusal says.
#[test]
fn what_a_producer_may_not_send_is_refused() {
    let good = batch_of(&["a", "b"], Compression::None, IDEMPOTENT).to_vec();
    check_produced(&good).unwrap();
    let refusal = |change: &Change| {
        let mut bytes = good.clone();
        change(&mut bytes);
        header::write_checksum(&mut bytes);
        check_produced(&bytes).unwrap_err().to_string()
    };
    let cases: [(&str, &Change); 8] = [
        ("cut off", &|bytes| bytes.truncate(70)),
        ("more than one", &|bytes| bytes.push(0)),
        ("magic 1", &|bytes| bytes[16] = 1),
        ("2 records over 3 offsets", &|bytes| bytes[26] = 2),
        ("0 records", &|bytes| bytes[60] = 0),
        ("no codec 6", &|bytes| bytes[22] = 6),
        ("without a sequence", &|bytes| bytes[53..57].fill(0xff)),
        ("only a broker", &|bytes| bytes[22] = 1 << 5),
    ];
    for (words, change) in cases {
        let refused = refusal(change);
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let mut broken = good.clone();
    broken[40] ^= 1;
    assert!(matches!(check_produced(&broken), Err(RecordError::Checksum { .. })));
}

#[test]
fn markers_are_those_of_java() {
    let mut compared = 0;
    for case in vectors::lines("record_batches.jsonl") {
        let ending = match case["name"].as_str().unwrap() {
            "control/commit" => Ending::Commit,
            "control/abort" => Ending::Abort,
            _ => continue,
        };
        let batch = &case["batches"][0];
        let number = |field: &str| batch[field].as_i64().unwrap();
        let marker = EndMarker {
            ending,
            producer_id: number("producer_id"),
            producer_epoch: number("producer_epoch") as i16,
            coordinator_epoch: batch["records"][0]["coordinator_epoch"].as_i64().unwrap() as i32,
            timestamp: number("max_timestamp"),
        };
        let mut bytes = control_batch(&marker).unwrap().to_vec();
        let leader_epoch = number("leader_epoch") as i32;
        let append = AppendStamp { base_offset: number("base_offset"), leader_epoch, append_time: None };
        stamp(&mut bytes, append).unwrap();
        assert_eq!(Bytes::from(bytes), vectors::bytes(&case["bytes"]).unwrap());
        compared += 1;
    }
    assert_eq!(compared, 2);
}

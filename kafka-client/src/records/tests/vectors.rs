//! The golden vectors of Kafka's own classes: one set of assertions per line.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::records::control::{control_type, coordinator_epoch};
use crate::records::encode::{RecordToWrite, batch};
use crate::records::{Batch, BatchHeader, Batches, Codec, Record, RecordError, TimestampType};
use crate::vectors;

/// A header in the vectors' words.
fn describe_header(header: &BatchHeader) -> Value {
    let old = header.magic < 2;
    let mut described = json!({
        "base_offset": header.base_offset,
        "last_offset": header.last_offset,
        "next_offset": header.next_offset(),
        "leader_epoch": header.leader_epoch,
        "magic": header.magic,
        "crc": header.crc,
        "size": header.size,
        "codec": if let Codec::Unknown(_) = header.codec { Value::Null } else { header.codec.name().into() },
        "timestamp_type": match header.timestamp_type {
            TimestampType::None => "NoTimestampType",
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        },
        "max_timestamp": header.max_timestamp,
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "last_sequence": header.last_sequence(),
        "is_transactional": header.is_transactional,
        "is_control": header.is_control,
        "record_count": if old { Value::Null } else { header.record_count.into() },
    });
    if !old {
        described["base_timestamp"] = header.base_timestamp.into();
    }
    if header.has_delete_horizon {
        described["delete_horizon_ms"] = header.base_timestamp.into();
    }
    described
}

/// A record in the vectors' words.
fn describe_record(header: &BatchHeader, record: &Record<'_>) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let headers = record.headers.iter().map(|header| json!([header.name, header.value.map(hex)]));
    let mut described = json!({
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key.map(hex),
        "value": record.value.map(hex),
        "headers": headers.collect::<Vec<_>>(),
    });
    if header.base_sequence >= 0 {
        described["sequence"] = header.sequence_at(record.offset).into();
    }
    if header.is_control {
        let kind = control_type(record.key).unwrap();
        described["control_type"] = to_screaming(&format!("{kind:?}")).into();
        if !matches!(kind, crate::records::control::ControlType::LeaderChange) {
            described["coordinator_epoch"] = coordinator_epoch(record.value).unwrap().into();
        }
    }
    described
}

fn to_screaming(camel: &str) -> String {
    let mut out = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_uppercase());
    }
    out
}

/// Byte strings of the vectors as hex, however long.
fn in_hex(mut record: Value) -> Value {
    let hex = |value: &mut Value| {
        if let Some(bytes) = vectors::bytes(value) {
            *value = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        }
    };
    hex(&mut record["key"]);
    hex(&mut record["value"]);
    for header in record["headers"].as_array_mut().unwrap() {
        hex(&mut header[1]);
    }
    record
}

/// What reading a record set came to.
struct Outcome {
    opened: Vec<Batch>,
    /// The records of each opened batch, as far as they could be read.
    records: Vec<Vec<Value>>,
    /// The stage at which it failed, in the vectors' words; the header of the batch that could not be opened.
    failure: Option<(&'static str, Option<BatchHeader>)>,
    valid_bytes: usize,
}

fn read(bytes: Bytes) -> Outcome {
    let total = bytes.len();
    let mut batches = Batches::new(bytes, true);
    let mut outcome = Outcome { opened: Vec::new(), records: Vec::new(), failure: None, valid_bytes: 0 };
    loop {
        let peeked = batches.peek_header();
        let before = total - batches.remaining();
        match batches.next_batch() {
            Ok(None) => {
                assert_eq!(peeked, Ok(None));
                return outcome;
            }
            Ok(Some(batch)) => {
                outcome.valid_bytes = total - batches.remaining();
                let (records, error) = read_records(&batch);
                outcome.records.push(records);
                outcome.opened.push(batch);
                if error.is_some() {
                    outcome.failure = Some(("records", None));
                    return outcome;
                }
            }
            Err(error) => {
                outcome.valid_bytes = before;
                outcome.failure = Some(match peeked {
                    // Java's reader delimits such a batch before it finds it too small.
                    Err(RecordError::Malformed(reason)) if reason.contains("smaller than its header") => {
                        ("checksum", None)
                    }
                    Err(_) => ("batch", None),
                    Ok(header) if is_outer_checksum(&error, header.as_ref()) => ("checksum", None),
                    Ok(header) => {
                        outcome.valid_bytes = total - batches.remaining();
                        ("records", header)
                    }
                });
                assert_eq!(batches.next_batch().unwrap().map(|batch| *batch.header()), None);
                return outcome;
            }
        }
    }
}

fn is_outer_checksum(error: &RecordError, header: Option<&BatchHeader>) -> bool {
    matches!((error, header), (RecordError::Checksum { stored, .. }, Some(header)) if *stored == header.crc)
}

fn read_records(batch: &Batch) -> (Vec<Value>, Option<RecordError>) {
    let mut described = Vec::new();
    for record in batch.records() {
        match record {
            Ok(record) => {
                let again = batch.record_at(record.position).unwrap();
                assert_eq!(format!("{again:?}"), format!("{record:?}"));
                described.push(describe_record(batch.header(), &record));
            }
            Err(error) => return (described, Some(error)),
        }
    }
    (described, None)
}

fn check(case: &Value) {
    let name = case["name"].as_str().unwrap();
    let bytes = vectors::bytes(&case["bytes"]).unwrap();
    let outcome = read(bytes);
    let stage = case["error"]["stage"].as_str();
    assert_eq!(outcome.failure.map(|(stage, _)| stage), stage, "{name}");
    assert_eq!(outcome.valid_bytes, case["valid_bytes"].as_u64().unwrap() as usize, "{name}");

    let mut headers: Vec<BatchHeader> = outcome.opened.iter().map(|batch| *batch.header()).collect();
    headers.extend(outcome.failure.and_then(|(_, header)| header));
    let expected = case["batches"].as_array().unwrap();
    assert_eq!(headers.len(), expected.len(), "{name}");
    for (at, (header, expected)) in headers.iter().zip(expected).enumerate() {
        let mut expected = expected.clone();
        let fields = expected.as_object_mut().unwrap();
        let Some(Value::Array(records)) = fields.remove("records") else { panic!("{name}: no records") };
        let mut described = describe_header(header);
        if !fields.contains_key("base_offset") {
            described.as_object_mut().unwrap().remove("base_offset");
        }
        assert_eq!(described, expected, "{name}: batch {at}");
        // A batch that could not be opened has none: Java reads some records before it notices.
        let read = outcome.records.get(at).cloned().unwrap_or_default();
        let records: Vec<Value> = records.into_iter().map(in_hex).collect();
        if at < outcome.records.len() || stage.is_none() {
            assert_eq!(read, records, "{name}: records of batch {at}");
        }
    }
}

#[test]
fn batches_read_as_java_reads_them() {
    let cases = vectors::lines("record_batches.jsonl");
    assert!(cases.len() >= 200);
    cases.iter().for_each(check);
}

#[test]
fn old_messages_read_as_java_reads_them() {
    let cases = vectors::lines("old_messages.jsonl");
    assert!(cases.len() >= 70);
    cases.iter().for_each(check);
}

fn encode_again(batch_read: &Batch) -> Bytes {
    let records: Vec<Record<'_>> = batch_read.records().map(Result::unwrap).collect();
    let headers: Vec<Vec<_>> = records
        .iter()
        .map(|record| record.headers.iter().map(|header| (header.name, header.value)).collect())
        .collect();
    let to_write = records.iter().zip(&headers).map(|(record, headers)| {
        let Record { timestamp, key, value, .. } = *record;
        (record.offset, RecordToWrite { timestamp, key, value, headers })
    });
    batch(batch_read.header(), to_write).unwrap()
}

#[test]
fn uncompressed_batches_written_again_are_the_same_bytes() {
    let mut written = 0;
    for case in vectors::lines("record_batches.jsonl") {
        let name = case["name"].as_str().unwrap();
        // Their stored deltas, and their unknown bits, are not in the fields.
        let not_in_the_fields = name.ends_with("log_append_time") || name.ends_with("unknown_attribute_bits");
        if not_in_the_fields || !case["error"].is_null() {
            continue;
        }
        let bytes = vectors::bytes(&case["bytes"]).unwrap();
        let mut at = 0;
        for opened in read(bytes.clone()).opened {
            let size = opened.header().size;
            if opened.header().codec == Codec::None {
                assert_eq!(encode_again(&opened), bytes[at..at + size], "{name}");
                written += 1;
            }
            at += size;
        }
    }
    assert!(written >= 30, "only {written} batches");
}

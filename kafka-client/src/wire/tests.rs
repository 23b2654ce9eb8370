use std::collections::BTreeMap;

use super::*;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Message;
use proptest::prelude::*;

/// Calls `$what!(Message)` for every message by its name in `$name`, or evaluates to `$otherwise`.
macro_rules! by_name {
    ($name:expr, $what:ident, $otherwise:expr; $($base:ident)*) => {
        by_name!(@ $name, $what, $otherwise; $($base)*)
    };
    (@ $name:expr, $what:ident, $otherwise:expr; $($message:ident)*) => {
        match $name {
            $(stringify!($message) => $what!($message),)*
            _ => $otherwise,
        }
    };
}

macro_rules! messages {
    ($name:expr, $what:ident, $otherwise:expr) => {
        by_name!($name, $what, $otherwise;
            ProduceRequest ProduceResponse FetchRequest FetchResponse ListOffsetsRequest ListOffsetsResponse
            MetadataRequest MetadataResponse OffsetCommitRequest OffsetCommitResponse OffsetFetchRequest
            OffsetFetchResponse FindCoordinatorRequest FindCoordinatorResponse JoinGroupRequest JoinGroupResponse
            HeartbeatRequest HeartbeatResponse LeaveGroupRequest LeaveGroupResponse SyncGroupRequest
            SyncGroupResponse DescribeGroupsRequest DescribeGroupsResponse ListGroupsRequest ListGroupsResponse
            SaslHandshakeRequest SaslHandshakeResponse ApiVersionsRequest ApiVersionsResponse CreateTopicsRequest
            CreateTopicsResponse DeleteTopicsRequest DeleteTopicsResponse DeleteRecordsRequest
            DeleteRecordsResponse InitProducerIdRequest InitProducerIdResponse OffsetForLeaderEpochRequest
            OffsetForLeaderEpochResponse AddPartitionsToTxnRequest AddPartitionsToTxnResponse
            AddOffsetsToTxnRequest AddOffsetsToTxnResponse EndTxnRequest EndTxnResponse TxnOffsetCommitRequest
            TxnOffsetCommitResponse DescribeConfigsRequest DescribeConfigsResponse SaslAuthenticateRequest
            SaslAuthenticateResponse CreatePartitionsRequest CreatePartitionsResponse DeleteGroupsRequest
            DeleteGroupsResponse DescribeClusterRequest DescribeClusterResponse ConsumerGroupHeartbeatRequest
            ConsumerGroupHeartbeatResponse AlterConfigsRequest AlterConfigsResponse
            IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse ConsumerGroupDescribeRequest
            ConsumerGroupDescribeResponse OffsetDeleteRequest OffsetDeleteResponse)
    };
}

struct Line {
    message: String,
    version: i16,
    variant: String,
    header_version: i16,
    header: Bytes,
    body: Bytes,
}

fn vectors() -> Vec<Line> {
    let line = |line: &serde_json::Value| Line {
        message: line["message"].as_str().unwrap().into(),
        version: i16::try_from(line["version"].as_i64().unwrap()).unwrap(),
        variant: line["variant"].as_str().unwrap().into(),
        header_version: i16::try_from(line["header"]["version"].as_i64().unwrap()).unwrap(),
        header: crate::vectors::bytes(&line["header"]["bytes"]).unwrap(),
        body: crate::vectors::bytes(&line["bytes"]).unwrap(),
    };
    crate::vectors::lines("wire.jsonl").iter().map(line).collect()
}

fn again<M: Decodable + Encodable>(bytes: &Bytes, version: i16) -> Result<Bytes, String> {
    let message: M = decode(bytes.clone(), version).map_err(|error| error.to_string())?;
    let mut out = BytesMut::new();
    encode(&message, version, &mut out).map_err(|error| error.to_string())?;
    Ok(out.freeze())
}

#[test]
fn kafkas_own_bytes_are_read_and_written_again() {
    let (mut skipped, mut failed, mut checked) = (BTreeMap::<String, usize>::new(), Vec::new(), 0);
    for line in vectors() {
        macro_rules! body {
            ($message:ident) => {
                match $message::VERSIONS {
                    known if line.version < known.min || line.version > known.max => None,
                    _ => Some((
                        again::<$message>(&line.body, line.version),
                        $message::header_version(line.version),
                    )),
                }
            };
        }
        let what = format!("{} v{} {}", line.message, line.version, line.variant);
        let Some((body, header_version)) = messages!(line.message.as_str(), body, None) else {
            *skipped.entry(format!("{} v{}", line.message, line.version)).or_default() += 1;
            continue;
        };
        let header = match line.message.ends_with("Request") {
            true => again::<RequestHeader>(&line.header, line.header_version),
            false => again::<ResponseHeader>(&line.header, line.header_version),
        };
        assert_eq!(header_version, line.header_version, "{what}: header version");
        assert_eq!(header.as_ref(), Ok(&line.header), "{what}: header");
        checked += 1;
        if body.as_ref() != Ok(&line.body) {
            failed.push(format!("{what}: {body:?} instead of {:?}", line.body));
        }
    }
    println!("{checked} checked; not in kafka-protocol: {skipped:?}");
    assert!(failed.is_empty(), "{} differ:\n{}", failed.len(), failed.join("\n"));
    assert!(checked > 300 && skipped.len() < 20, "{checked} checked, {} skipped", skipped.len());
}

/// Decodes as every message, at every version: none may panic or reserve beyond reason.
fn decode_as(name: &str, version: i16, bytes: &Bytes) -> Option<bool> {
    macro_rules! one {
        ($message:ident) => {
            Some(decode::<$message>(bytes.clone(), version).is_ok())
        };
    }
    messages!(name, one, None)
}

const SOME: &[(&str, i16)] = &[
    ("FetchResponse", 4),
    ("FetchResponse", 12),
    ("FetchResponse", 16),
    ("MetadataResponse", 1),
    ("MetadataResponse", 12),
    ("JoinGroupResponse", 2),
    ("JoinGroupResponse", 9),
    ("ProduceRequest", 3),
    ("ProduceRequest", 11),
    ("ApiVersionsResponse", 0),
    ("ApiVersionsResponse", 3),
    ("CreateTopicsRequest", 7),
    ("OffsetFetchResponse", 8),
    ("DescribeConfigsResponse", 4),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn garbage_never_panics(
        bytes in proptest::collection::vec(prop_oneof![Just(0xffu8), Just(0x7f), Just(0x80), 0u8..4, any::<u8>()], 0..200),
        which in 0..SOME.len(),
    ) {
        let (name, version) = SOME[which];
        let _ = decode_as(name, version, &bytes.into());
    }
}

#[test]
fn mutated_messages_never_panic() {
    let rng = crate::seams::Rng::seeded(11);
    let below = |bound: usize| usize::try_from(rng.below(bound as u64)).unwrap();
    const EVIL: [&[u8]; 5] =
        [&[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x80], &[0xff, 0xff], &[0x00]];
    for line in vectors().iter().filter(|line| !line.body.is_empty()) {
        for _ in 0..40 {
            let mut body = line.body.to_vec();
            let at = below(body.len());
            match below(3) {
                0 => body.truncate(at),
                1 => body[at] ^= 1 << below(8),
                _ => {
                    let evil = EVIL[below(EVIL.len())];
                    let end = (at + evil.len()).min(body.len());
                    body.splice(at..end, evil.iter().copied());
                }
            }
            let _ = decode_as(&line.message, line.version, &body.into());
        }
    }
}

/// Every wrong length at every place of a message, both encodings: what a length would reserve must be refused.
#[test]
fn lengths_that_the_bytes_cannot_justify_are_refused() {
    let huge_array = |prefix: &[u8], length: &[u8], filler: usize| -> Bytes {
        [prefix, length, &vec![1u8; filler]].concat().into()
    };
    // FetchResponse 12: throttle, error, session, then a compact array.
    let head = [0u8; 10];
    for length in
        [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0xff, 0xff, 0xff, 0x7f], &[0x80, 0x80, 0x80, 0x80, 0x80]]
    {
        for filler in [0, 10, 3_000_000] {
            let refused = decode::<FetchResponse>(huge_array(&head, length, filler), 12);
            assert!(refused.is_err(), "{length:x?} {filler}");
        }
    }
    // MetadataResponse 1: the brokers' int32 array comes first, and elements of one byte could follow.
    for length in [i32::MAX, 2_999_999, 1_000_001] {
        let refused = decode::<MetadataResponse>(huge_array(&[], &length.to_be_bytes(), 3_000_000), 1);
        assert!(refused.is_err(), "{length}");
    }
    // A boolean of 0x80 in front of an array's length must not hide it (MetadataRequest 4 has it behind).
    let hidden = [&[0x80, 0x80, 0x80, 0x80, 0x80, 0x0f][..], &[1; 64]].concat();
    for (name, version) in SOME {
        let _ = decode_as(name, *version, &hidden.clone().into());
    }
}

#[test]
fn large_plain_fields_are_read_as_they_are() {
    let request =
        FetchRequest::default().with_max_bytes(i32::MAX).with_session_id(1 << 30).with_min_bytes(1 << 20);
    for version in [7, 11, 12, 16] {
        let mut bytes = BytesMut::new();
        encode(&request, version, &mut bytes).unwrap();
        assert_eq!(decode::<FetchRequest>(bytes.freeze(), version).unwrap(), request, "v{version}");
    }
}

#[test]
fn large_byte_fields_are_slices_of_the_frame() {
    let records = Bytes::from(vec![7u8; 5_000_000]);
    let partition = fetch_response::PartitionData::default().with_records(Some(records));
    let topic =
        fetch_response::FetchableTopicResponse::default().with_partitions(vec![partition.clone(), partition]);
    // The session id lies between the limit of elements and the bytes that are left: the one value in doubt.
    let response = FetchResponse::default().with_session_id(4_000_000).with_responses(vec![topic]);
    for version in [11, 12, 16] {
        let mut bytes = BytesMut::new();
        encode(&response, version, &mut bytes).unwrap();
        let frame = bytes.freeze();
        let read: FetchResponse = decode(frame.clone(), version).unwrap();
        assert_eq!(read, response, "v{version}");
        let part = read.responses[0].partitions[1].records.clone().unwrap();
        assert!(frame.as_ptr_range().contains(&part.as_ptr()), "v{version}: copied");
    }
}

#[test]
fn what_is_left_over_is_an_error_of_a_whole_message_only() {
    let mut bytes = Bytes::from_static(&[0, 0, 0, 9, 0xaa]);
    assert!(decode::<ResponseHeader>(bytes.clone(), 0).unwrap_err().0.contains("1 bytes are left over"));
    let header: ResponseHeader = decode_part(&mut bytes, 0).unwrap();
    assert_eq!((header.correlation_id, &bytes[..]), (9, &[0xaa][..]));
    let error = decode::<ResponseHeader>(Bytes::from_static(&[0, 0]), 0).unwrap_err();
    assert!(error.0.starts_with("ResponseHeader v0: "), "{error}");
}

#[test]
fn throttle_times_are_found_in_every_answer_that_has_one() {
    macro_rules! check {
        ($($request:ident $response:ident)*) => {$({
            let range = supported($request::KEY).unwrap();
            for version in range.min..=range.max {
                let mut body = BytesMut::new();
                let written = encode(&$response::default().with_throttle_time_ms(1234), version, &mut body).is_ok();
                let silent = decode::<$response>(body.clone().freeze(), version)
                    .map_or(true, |read| read.throttle_time_ms == 0);
                let expected = if written && !silent { 1234 } else { 0 };
                assert_eq!(throttle_millis($request::KEY, version, &body), expected, concat!(stringify!($response), " v{}"), version);
            }
        })*};
    }
    check! { ProduceRequest ProduceResponse FetchRequest FetchResponse ListOffsetsRequest ListOffsetsResponse
    MetadataRequest MetadataResponse OffsetCommitRequest OffsetCommitResponse OffsetFetchRequest OffsetFetchResponse
    FindCoordinatorRequest FindCoordinatorResponse JoinGroupRequest JoinGroupResponse HeartbeatRequest HeartbeatResponse
    LeaveGroupRequest LeaveGroupResponse SyncGroupRequest SyncGroupResponse DescribeGroupsRequest DescribeGroupsResponse
    ListGroupsRequest ListGroupsResponse CreateTopicsRequest CreateTopicsResponse DeleteTopicsRequest DeleteTopicsResponse
    DeleteRecordsRequest DeleteRecordsResponse InitProducerIdRequest InitProducerIdResponse
    OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse AddPartitionsToTxnRequest AddPartitionsToTxnResponse
    AddOffsetsToTxnRequest AddOffsetsToTxnResponse EndTxnRequest EndTxnResponse TxnOffsetCommitRequest TxnOffsetCommitResponse
    DescribeConfigsRequest DescribeConfigsResponse CreatePartitionsRequest CreatePartitionsResponse
    DeleteGroupsRequest DeleteGroupsResponse DescribeClusterRequest DescribeClusterResponse
    IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse
    ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse }
    assert_eq!(throttle_millis(ProduceRequest::KEY, 11, &[]), 0);
}

#[test]
fn every_api_is_in_the_table_once() {
    for api in versions::all() {
        assert_eq!(supported(api.key), Some(api.versions));
        assert!(!api.versions.is_empty(), "{}", api.name);
    }
    assert_eq!(supported(4), None, "LeaderAndIsr is for brokers");
    assert_eq!(supported(ProduceRequest::KEY).unwrap().max, 12);
}

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::group::vectors::{int, pairs, text, topics};
use crate::vectors::{bytes, lines};

fn subscription(value: &Value) -> MemberSubscription {
    MemberSubscription {
        topics: topics(&value["topics"]),
        user_data: bytes(&value["user_data"]),
        owned: pairs(&value["owned_partitions"]),
        generation: int(&value["generation_id"]),
        rack: text(&value["rack_id"]),
    }
}

fn assignment(value: &Value) -> MemberAssignment {
    MemberAssignment { partitions: pairs(&value["partitions"]), user_data: bytes(&value["user_data"]) }
}

/// Runs a file: what it says must be read, what it says must fail, and what it was written from.
fn check<T: PartialEq + std::fmt::Debug>(
    file: &str,
    from: impl Fn(&Value) -> T,
    encode: impl Fn(&T, i16) -> Bytes,
    decode: impl Fn(Bytes) -> Result<T, DecodeError>,
) {
    let lines = lines(file);
    assert!(lines.len() > 50, "{file} is cut short");
    for line in lines {
        let what = format!("{file}: {} v{} {}", line["case"], line["version"], line["name"]);
        let written = bytes(&line["bytes"]).unwrap();
        match decode(written.clone()) {
            Ok(read) => {
                assert!(line["error"].is_null(), "{what} must fail");
                assert_eq!(read, from(&line["parsed"]), "{what}");
            }
            Err(error) => assert!(!line["error"].is_null(), "{what}: {error}"),
        }
        if !line["input"].is_null() {
            let version = i16::try_from(int(&line["version"]).unwrap()).unwrap();
            assert_eq!(encode(&from(&line["input"]), version), written, "{what}");
        }
    }
}

#[test]
fn subscriptions_are_javas() {
    let encode = |value: &MemberSubscription, version| value.encode(version).unwrap();
    check("subscriptions.jsonl", subscription, encode, MemberSubscription::decode);
}

#[test]
fn assignments_are_javas() {
    let encode = |value: &MemberAssignment, version| value.encode(version).unwrap();
    check("assignments.jsonl", assignment, encode, MemberAssignment::decode);
}

#[test]
fn kafka_gos_version_1_without_owned_partitions_is_read() {
    let mut sent = MemberSubscription { topics: vec!["orders".into()], ..MemberSubscription::default() };
    let bytes = sent.encode(0).unwrap();
    let marked: Bytes = [&[0, 1], &bytes[2..]].concat().into();
    assert_eq!(MemberSubscription::decode(marked.clone()).unwrap(), sent);
    for version in 2..=3 {
        let cut: Bytes = [&[0, version], &bytes[2..]].concat().into();
        MemberSubscription::decode(cut).unwrap_err();
    }
    MemberSubscription::decode([&marked[..], &[0]].concat().into()).unwrap_err();
    sent.owned = vec![TopicPartition::new("orders", 1)];
    assert_eq!(MemberSubscription::decode(sent.encode(1).unwrap()).unwrap(), sent);
}

#[test]
fn java_orders_by_utf_16_units() {
    // U+FF5E as one unit is above the surrogates of U+1F600.
    assert_eq!(java_order("\u{ff5e}", "\u{1f600}"), Ordering::Greater);
    assert_eq!("\u{ff5e}".cmp("\u{1f600}"), Ordering::Less);
    assert_eq!(java_order("a", "ab"), Ordering::Less);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80), version in -1i16..5) {
        let bytes: Bytes = [&version.to_be_bytes(), &bytes[..]].concat().into();
        let _ = MemberSubscription::decode(bytes.clone());
        let _ = MemberAssignment::decode(bytes);
    }

    #[test]
    fn a_cut_is_an_error(cut in 0usize..60) {
        let whole = MemberSubscription {
            topics: vec!["orders".into(), "invoices".into()],
            user_data: Some(Bytes::from_static(b"data")),
            owned: vec![TopicPartition::new("orders", 3)],
            generation: Some(7),
            rack: Some("a".into()),
        };
        let bytes = whole.encode(VERSION).unwrap();
        prop_assert!(cut >= bytes.len() || MemberSubscription::decode(bytes.slice(..cut)).is_err());
    }
}

//! Every form of a payload, and what is said when a value is none.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::harness::{Notes, Sent, TOMBSTONE, bind, handled, refused, value};
use crate::listener::Failure;
use crate::prelude::*;

#[derive(Debug, Deserialize)]
struct Order {
    id: u64,
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    price: u32,
}

#[derive(Debug, Deserialize)]
struct Tick<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct Strict<'a> {
    symbol: &'a str,
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn owned(order: Order, seen: Notes<'_>) {
    seen.note(format!("{} {:?}", order.id, order.items.iter().map(|item| item.price).collect::<Vec<_>>()));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn borrowed(tick: Tick<'_>, seen: Notes<'_>) {
    tokio::task::yield_now().await;
    let kind = if matches!(tick.symbol, Cow::Borrowed(_)) { "borrowed" } else { "owned" };
    seen.note(format!("{kind} {}", tick.symbol));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn strict(tick: Strict<'_>, seen: Notes<'_>) {
    seen.note(tick.symbol);
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn optional(order: Option<Order>, seen: Notes<'_>) {
    seen.note(format!("{:?}", order.map(|order| order.id)));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn nested(order: Option<Option<u8>>, seen: Notes<'_>) {
    seen.note(format!("{order:?}"));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn text(text: &str, seen: Notes<'_>) {
    seen.note(text);
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn owned_text(text: String, seen: Notes<'_>) {
    seen.note(text);
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn optional_text(text: Option<&str>, seen: Notes<'_>) {
    seen.note(format!("{text:?}"));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn boxed_text(text: Box<str>, seen: Notes<'_>) {
    seen.note(text);
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn maybe_owned_text(text: Cow<'_, str>, seen: Notes<'_>) {
    seen.note(text);
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn counted_bytes(bytes: Option<Arc<[u8]>>, seen: Notes<'_>) {
    seen.note(format!("{:?}", bytes.unwrap()));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn slice(bytes: &[u8], seen: Notes<'_>) {
    seen.note(format!("{bytes:?}"));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn vector(bytes: Vec<u8>, seen: Notes<'_>) {
    seen.note(format!("{bytes:?}"));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn optional_bytes(bytes: Option<Bytes>, seen: Notes<'_>) {
    seen.note(format!("{bytes:?}"));
}

/// Bytes share the record's memory: the value and the `Bytes` of it stand at one address.
#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn shared(bytes: Bytes, Address(address): Address, seen: Notes<'_>) {
    seen.note(format!("{}", bytes.as_ptr() as usize == address));
}

struct Address(usize);

impl crate::listener::FromDelivery<'_> for Address {
    type Rejection = Failure;
    fn from_delivery(delivery: &Delivery<'_>, _: &crate::listener::Slot) -> Result<Self, Failure> {
        Ok(Self(delivery.record.value.map_or(0, |value| value.as_ptr() as usize)))
    }
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn numbers(numbers: Vec<u16>, seen: Notes<'_>) {
    seen.note(format!("{numbers:?}"));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn map(map: BTreeMap<String, u8>, seen: Notes<'_>) {
    seen.note(format!("{map:?}"));
}

#[tokio::test]
async fn json_into_owned_and_borrowed_structs() {
    let order = value(r#"{"id": 7, "items": [{"price": 3}, {"price": 4, "more": null}], "more": 1}"#);
    assert_eq!(handled("owned", order).await, ["7 [3, 4]"]);
    assert_eq!(handled("borrowed", value(r#"{"symbol": "KFK"}"#)).await, ["borrowed KFK"]);
    assert_eq!(handled("borrowed", value(r#"{"symbol": "K\"\u00fc"}"#)).await, ["owned K\"ü"]);
    assert_eq!(handled("strict", value(r#"{"symbol": "KFK"}"#)).await, ["KFK"]);
    assert_eq!(handled("numbers", value("[1, 2]")).await, ["[1, 2]"]);
    assert_eq!(handled("map", value(r#"{"a": 1}"#)).await, [r#"{"a": 1}"#]);
}

#[tokio::test]
async fn raw_forms_are_the_value_as_it_is() {
    let json = value(r#""quoted""#);
    for id in ["text", "owned_text", "boxed_text", "maybe_owned_text"] {
        assert_eq!(handled(id, json).await, [r#""quoted""#], "{id}");
        assert_eq!(handled(id, value("")).await, [""], "{id}");
    }
    for id in ["slice", "vector", "counted_bytes"] {
        assert_eq!(handled(id, value(&[0u8, 255])).await, ["[0, 255]"], "{id}");
    }
    assert_eq!(handled("shared", json).await, ["true"]);
}

#[tokio::test]
async fn a_tombstone_is_none() {
    assert_eq!(handled("optional", TOMBSTONE).await, ["None"]);
    assert_eq!(handled("optional", value(r#"{"id": 1, "items": []}"#)).await, ["Some(1)"]);
    assert_eq!(handled("nested", TOMBSTONE).await, ["None"]);
    assert_eq!(handled("nested", value("null")).await, ["Some(None)"]);
    assert_eq!(handled("nested", value("5")).await, ["Some(Some(5))"]);
    assert_eq!(handled("optional_text", TOMBSTONE).await, ["None"]);
    assert_eq!(handled("optional_text", value("null")).await, [r#"Some("null")"#]);
    assert_eq!(handled("optional_bytes", value("x")).await, [r#"Some(b"x")"#]);
}

#[tokio::test]
async fn a_tombstone_is_refused_where_it_is_not_foreseen() {
    for id in ["owned", "borrowed", "text", "owned_text", "slice", "vector", "shared", "numbers"] {
        let text = refused(id, TOMBSTONE).await;
        assert!(
            text.starts_with("the value of topic `orders`, partition 3, offset 42 cannot be decoded"),
            "{text}"
        );
        assert!(text.ends_with("it is null (a tombstone); take `Option<..>` where that may be"), "{text}");
    }
}

#[tokio::test]
async fn a_wrong_value_is_named_with_place_path_and_bytes() {
    assert_eq!(
        refused("owned", value(r#"{"id": 7, "items": [{"price": 3}, {"price": "four"}]}"#)).await,
        "the value of topic `orders`, partition 3, offset 42 cannot be decoded as \
         `kafka_runtime::listener::tests::payloads::Order`: invalid type: string \"four\", expected u32 at line 1 \
         column 50, at `$.items[1].price`, near `{\"id\": 7, \"items\": [{\"price\": 3}, {\"price\": \"four\"}]}`"
    );
}

#[tokio::test]
async fn other_wrong_values() {
    let cases: [(&str, Sent, &[&str]); 8] = [
        ("owned", value(""), &["EOF while parsing a value", "at `$`, near ``"]),
        ("owned", value(r#"{"id": 7"#), &["EOF while parsing an object", "at `$.id`", r#"near `{"id": 7`"#]),
        ("owned", value(r#"{"id": 7}"#), &["missing field `items`", "at `$`"]),
        ("owned", value(r#"{"id": 7, "items": []} x"#), &["trailing characters", "at `$`"]),
        ("owned", value(b"{\"id\": \"\xff\"}"), &["at `$.id`", r#"near `{"id": "\xff"}`"#]),
        ("strict", value(r#"{"symbol": "a\"b"}"#), &["expected a borrowed string", "at `$.symbol`"]),
        ("optional", value("[1]"), &["invalid length 1", "at `$`", "near `[1]`"]),
        ("text", value(b"ab\xc3("), &["it is not UTF-8, at byte 2, near `ab\\xc3(`"]),
    ];
    for (id, sent, parts) in cases {
        let text = refused(id, sent).await;
        for part in parts {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}

#[tokio::test]
async fn errors_stay_short_whatever_the_value() {
    let long = format!(r#"{{"id": "{}"}}"#, "ü".repeat(100_000)).leak();
    let text = refused("owned", value(&*long)).await;
    assert!(text.len() < 700, "{}", text.len());
    assert!(text.contains("$.id"), "{text}");
}

#[tokio::test]
async fn the_handler_is_not_called_with_a_part_of_its_arguments() {
    let running = bind("owned", []).unwrap();
    assert!(matches!(running.record(value("{}")).await, Err(Failure::Decode(_))));
    assert!(running.seen().is_empty());
}

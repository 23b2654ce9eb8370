//! Every argument beside the payload, what it says when it cannot be made, and what a handler returns.

use std::sync::Arc;

use super::harness::{Notes, Sent, bind, handled, refused, value};
use crate::listener::{Delivery, Failure, FromDelivery, Preparation, Slot};
use crate::prelude::*;

const PLAIN: Sent = Sent { key: Some(b"k1"), value: Some(b"v"), headers: &[] };

fn keyed(key: Option<&'static [u8]>) -> Sent {
    Sent { key, ..PLAIN }
}

fn headed(headers: &'static [(&'static str, Option<&'static [u8]>)]) -> Sent {
    Sent { headers, ..PLAIN }
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn text_key(_: &str, key: Key<&str>, owned: Key<String>, seen: Notes<'_>) {
    tokio::task::yield_now().await;
    seen.note(format!("{key} {owned}"));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn byte_key(_: &str, key: Key<&[u8]>, owned: Key<Vec<u8>>, shared: Key<Bytes>, seen: Notes<'_>) {
    seen.note(format!("{:?} {:?} {:?}", *key, *owned, *shared));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn optional_key(_: &str, Key(key): Key<Option<String>>, seen: Notes<'_>) {
    seen.note(format!("{key:?}"));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn number_key(_: &str, key: Key<Option<i32>>, seen: Notes<'_>) {
    seen.note(format!("{:?}", *key));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn long_key(_: &str, key: Key<i64>, seen: Notes<'_>) {
    seen.note(key.to_string());
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn all_headers(_: &str, headers: Headers, view: HeadersView<'_>, seen: Notes<'_>) {
    let kept = tokio::spawn(async move { headers }).await.unwrap();
    let names: Vec<_> =
        kept.iter().map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_vec))).collect();
    let same: Vec<_> =
        view.iter().map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_vec))).collect();
    assert_eq!((&names, kept.len(), kept.is_empty()), (&same, view.len(), view.is_empty()));
    let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
    seen.note(format!("{names:?} {:?}", kept.text("a")));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn one_header(
    _: &str,
    #[header("trace-id")] trace: &str,
    #[header("n")] n: Option<u16>,
    seen: Notes<'_>,
) {
    seen.note(format!("{trace} {n:?}"));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn raw_headers(
    _: &str,
    #[header("a")] text: Option<String>,
    #[header("a")] slice: Option<&[u8]>,
    #[header("a")] bytes: Option<Bytes>,
    #[header("flag")] flag: Option<bool>,
    #[header("ratio")] ratio: Option<f64>,
    seen: Notes<'_>,
) {
    seen.note(format!("{text:?} {slice:?} {bytes:?} {flag:?} {ratio:?}"));
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn metadata(_: &str, meta: Metadata, seen: Notes<'_>) {
    let Metadata { .. } = meta;
    seen.note(format!("{}-{}@{}", meta.topic(), meta.partition(), meta.offset()));
    seen.note(format!("{} {:?} {:?}", meta.timestamp_millis(), meta.timestamp_type(), meta.leader_epoch()));
    seen.note(format!("attempt {} of {}", meta.attempt(), meta.listener()));
    let time = meta.timestamp().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(time.as_millis(), 1_700_000_000_000);
}

struct Prices(u32);
struct Other;

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn states(_: &str, prices: State<Prices>, same: &State<Prices>, seen: Notes<'_>) {
    assert!(std::ptr::eq(&raw const *prices, &raw const **same));
    let moved = tokio::spawn(async move { prices.0 }).await.unwrap();
    seen.note(moved.to_string());
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn many_states(
    _: &str,
    prices: &State<Prices>,
    _other: State<Other>,
    again: State<Prices>,
    seen: Notes<'_>,
) {
    seen.note((prices.0 + again.0).to_string());
}

/// An extractor of a user's own, with state and a rejection of its own.
struct Tenant(String);
struct NoTenant;

impl From<NoTenant> for Failure {
    fn from(_: NoTenant) -> Self {
        Self::Decode("no tenant".into())
    }
}

impl<'r> FromDelivery<'r> for Tenant {
    type Rejection = NoTenant;
    fn prepare(preparation: &mut Preparation<'_>) -> Slot {
        preparation.state::<Prices>().map(Slot::new).unwrap_or_default()
    }
    fn from_delivery(delivery: &Delivery<'r>, slot: &'r Slot) -> Result<Self, NoTenant> {
        let prices: &Arc<Prices> = slot.get().ok_or(NoTenant)?;
        let tenant =
            delivery.record.headers.last("tenant").and_then(|header| header.value).ok_or(NoTenant)?;
        Ok(Self(format!("{} pays {}", String::from_utf8_lossy(tenant), prices.0)))
    }
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn own_extractor(_: &str, tenant: Tenant, seen: Notes<'_>) {
    seen.note(tenant.0);
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn acknowledging(_: &str, ack: Ack, seen: Notes<'_>) {
    seen.note("called");
    drop(ack);
}

#[derive(Debug, thiserror::Error)]
#[error("refused {0}")]
struct Refused(u8);

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn failing(which: &str) -> Result<(), Refused> {
    if which == "good" { Ok(()) } else { Err(Refused(7)) }
}

#[kafka_listener(crate = "crate::listener::tests::kafka")]
async fn failing_in_words(_: &str) -> Result<(), String> {
    Err("in words".into())
}

#[tokio::test]
async fn keys_as_text_bytes_and_numbers() {
    assert_eq!(handled("text_key", PLAIN).await, ["k1 k1"]);
    assert_eq!(handled("text_key", keyed(Some(b""))).await, [" "]);
    assert_eq!(handled("byte_key", keyed(Some(&[0xff]))).await, [r#"[255] [255] b"\xff""#]);
    assert_eq!(handled("optional_key", PLAIN).await, [r#"Some("k1")"#]);
    assert_eq!(handled("optional_key", keyed(None)).await, ["None"]);
    assert_eq!(handled("number_key", keyed(Some(&[0, 0, 1, 0]))).await, ["Some(256)"]);
    assert_eq!(handled("number_key", keyed(None)).await, ["None"]);
    assert_eq!(handled("long_key", keyed(Some(&[255, 255, 255, 255, 255, 255, 255, 251]))).await, ["-5"]);
}

#[tokio::test]
async fn keys_that_are_not_what_is_asked_for() {
    let place = "the key of topic `orders`, partition 3, offset 42 cannot be taken as";
    let null = format!("{place} `&str`: there is none, or it is null; take an `Option` where that may be");
    assert_eq!(refused("text_key", keyed(None)).await, null);
    let invalid = "it is not UTF-8 (invalid utf-8 sequence of 1 bytes from index 1)";
    assert_eq!(
        refused("text_key", keyed(Some(b"k\xff"))).await,
        format!("{place} `&str`: {invalid}; its bytes: `k\\xff`")
    );
    assert_eq!(
        refused("number_key", PLAIN).await,
        format!("{place} `core::option::Option<i32>`: it has 2 bytes instead of 4; its bytes: `k1`")
    );
}

#[tokio::test]
async fn headers_in_order_with_duplicates() {
    let sent = headed(&[("b", None), ("a", Some(b"1")), ("a", Some(b"2"))]);
    assert_eq!(handled("all_headers", sent).await, [r#"["b", "a", "a"] Some("2")"#]);
    assert_eq!(handled("all_headers", PLAIN).await, ["[] None"]);
}

#[tokio::test]
async fn a_single_header_is_the_last_of_its_name() {
    let sent = headed(&[("trace-id", Some(b"t1")), ("n", Some(b" 12 ")), ("trace-id", Some(b"t2"))]);
    assert_eq!(handled("one_header", sent).await, ["t2 Some(12)"]);
    assert_eq!(handled("one_header", headed(&[("trace-id", Some(b"")), ("n", None)])).await, [" None"]);
    let sent = headed(&[("a", Some(b"x")), ("flag", Some(b"true")), ("ratio", Some(b"0.5"))]);
    let seen = r#"Some("x") Some([120]) Some(b"x") Some(true) Some(0.5)"#;
    assert_eq!(handled("raw_headers", sent).await, [seen]);
    assert_eq!(handled("raw_headers", PLAIN).await, ["None None None None None"]);
}

#[tokio::test]
async fn headers_that_are_not_what_is_asked_for() {
    let text = refused("one_header", PLAIN).await;
    let place = "the header `trace-id` of topic `orders`, partition 3, offset 42 cannot be taken as `&str`: ";
    assert_eq!(text, format!("{place}there is none, or it is null; take an `Option` where that may be"));
    let text = refused("one_header", headed(&[("trace-id", None)])).await;
    assert!(text.contains("there is none, or it is null"), "{text}");
    let text = refused("one_header", headed(&[("trace-id", Some(b"t")), ("n", Some(b"70000"))])).await;
    assert!(text.contains("number too large") && text.ends_with("its bytes: `70000`"), "{text}");
    let text = refused("one_header", headed(&[("trace-id", Some(b"\xff"))])).await;
    assert!(text.contains("it is not UTF-8") && text.ends_with("its bytes: `\\xff`"), "{text}");
}

#[tokio::test]
async fn metadata_is_the_records_own() {
    let seen = ["orders-3@42", "1700000000000 CreateTime Some(7)", "attempt 2 of test"];
    assert_eq!(handled("metadata", PLAIN).await, seen);
}

#[tokio::test]
async fn states_are_shared() {
    let running = bind("states", [Arc::new(Prices(5)) as _]).unwrap();
    running.record(PLAIN).await.unwrap();
    running.record(PLAIN).await.unwrap();
    assert_eq!(running.seen(), ["5", "5"]);
}

#[test]
fn everything_that_is_missing_is_reported_together() {
    let Err(missing) = bind("many_states", [Arc::new(Arc::new(Prices(1))) as _]) else {
        panic!("nothing is missing")
    };
    let [prices, other, again] = &missing[..] else { panic!("{missing:?}") };
    let line = include_str!("arguments.rs")
        .lines()
        .position(|line| line.starts_with("async fn many_states"))
        .unwrap();
    let place =
        format!("listener `many_states` (kafka-runtime/src/listener/tests/arguments.rs:{line}:1), argument");
    let path = "kafka_runtime::listener::tests::arguments";
    assert_eq!(
        *prices,
        format!(
            "{place} `prices`: no state of type `{path}::Prices`, though there is an `Arc<{path}::Prices>`: states \
             are shared by themselves, so give the value without `Arc` to `.state(..)`"
        )
    );
    assert_eq!(
        *other,
        format!(
            "{place} `_other`: no state of type `{path}::Other`: give the application one with `.state(..)`"
        )
    );
    assert!(again.starts_with(&format!("{place} `again`: no state")), "{again}");
}

#[tokio::test]
async fn extractors_of_a_users_own() {
    let running = bind("own_extractor", [Arc::new(Prices(3)) as _]).unwrap();
    running.record(headed(&[("tenant", Some(b"acme"))])).await.unwrap();
    assert_eq!(running.seen(), ["acme pays 3"]);
    let Err(Failure::Decode(text)) = running.record(PLAIN).await else { panic!("no tenant, and handled") };
    assert_eq!(text, "no tenant");
    let Err(missing) = bind("own_extractor", []) else { panic!("nothing is missing") };
    assert!(missing[0].contains("argument `tenant`: no state of type"), "{missing:?}");
}

#[tokio::test]
async fn an_ack_where_none_is_issued() {
    let text = refused("acknowledging", PLAIN).await;
    assert_eq!(text, "the argument `Ack` needs `ack = \"manual\"` or `ack = \"manual-immediate\"`");
}

#[tokio::test]
async fn errors_keep_their_type() {
    let running = bind("failing", []).unwrap();
    running.record(value("good")).await.unwrap();
    let Err(Failure::Handler(error)) = running.record(value("bad")).await else { panic!("handled") };
    assert_eq!(error.error().downcast_ref::<Refused>().unwrap().0, 7);
    let Err(Failure::Handler(error)) = bind("failing_in_words", []).unwrap().record(PLAIN).await else {
        panic!("handled")
    };
    assert_eq!(error.to_string(), "in words");
}

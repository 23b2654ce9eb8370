//! Batch listeners: what they get, and how far a failed one came.

use super::harness::{Notes, Sent, TOMBSTONE, bind, value};
use crate::listener::{BatchFailure, Failure};
use crate::prelude::*;

#[kafka_listener(batch, crate = "crate::listener::tests::kafka")]
async fn batch_of_numbers(numbers: Vec<u8>, meta: Metadata, seen: Notes<'_>) {
    seen.note(format!("{numbers:?} {}-{}@{}", meta.topic(), meta.partition(), meta.offset()));
}

#[kafka_listener(batch, crate = "crate::listener::tests::kafka")]
async fn texts(texts: &[Option<&str>], seen: Notes<'_>) {
    tokio::task::yield_now().await;
    seen.note(format!("{texts:?}"));
}

#[kafka_listener(batch, crate = "crate::listener::tests::kafka")]
async fn items(seen: Notes<'_>, #[payload] words: Batch<&str>) {
    seen.note(format!("{} {} of {}", words.len(), words.join(" "), words.partition()));
    for item in words.items().rev() {
        let key: Result<Key<&str>, _> = item.key();
        let key = key.map_or_else(|error| error.to_string(), |key| key.to_string());
        let headers = item.headers().iter().map(|header| header.name).collect::<String>();
        seen.note(format!("{} {key} {headers:?} {}", item.payload(), item.metadata().offset()));
    }
    assert_eq!(words.into_iter().count(), 3);
}

#[kafka_listener(batch, crate = "crate::listener::tests::kafka")]
async fn partly(numbers: Vec<u8>, seen: Notes<'_>) -> Result<(), BatchError<String>> {
    seen.note(format!("{numbers:?}"));
    match numbers.iter().position(|number| *number == 0) {
        Some(zero) => Err(BatchError::at(zero, format!("{zero}"))),
        None if numbers.len() == 1 => Err(BatchError::at(99, "beyond".to_owned())),
        None => Ok(()),
    }
}

#[kafka_listener(batch, crate = "crate::listener::tests::kafka")]
async fn wholly(_: Vec<u8>) -> Result<(), std::io::Error> {
    Err(std::io::Error::other("whole"))
}

#[kafka_listener(batch, crate = "crate::listener::tests::kafka")]
async fn batch_acknowledging(_: Vec<u8>, ack: Ack) {
    drop(ack);
}

async fn failed(id: &str, batches: &[&[Sent]]) -> (usize, Failure, Vec<String>) {
    let running = bind(id, []).unwrap();
    let BatchFailure { index, failure } = running.batches(batches).await.unwrap_err();
    (index, failure, running.seen())
}

#[tokio::test]
async fn payloads_of_several_batches_of_the_wire() {
    let running = bind("batch_of_numbers", []).unwrap();
    running.batches(&[&[value("1"), value("2")], &[value("3")]]).await.unwrap();
    assert_eq!(running.seen(), ["[1, 2, 3] orders-3@42"]);
    let running = bind("texts", []).unwrap();
    running.batches(&[&[value("a"), TOMBSTONE]]).await.unwrap();
    assert_eq!(running.seen(), [r#"[Some("a"), None]"#]);
}

#[tokio::test]
async fn items_have_keys_headers_and_metadata() {
    let sent = |key, value: &'static str, headers| Sent { key, value: Some(value.as_bytes()), headers };
    let running = bind("items", []).unwrap();
    let first = [sent(Some(&b"k1"[..]), "a", &[("h", None), ("i", None)]), sent(None, "b", &[])];
    running.batches(&[&first, &[sent(Some(&b"k3"[..]), "c", &[])]]).await.unwrap();
    let null = "the key of topic `orders`, partition 3, offset 43 cannot be taken as `&str`: there is none, or it is \
                null; take an `Option` where that may be";
    let seen = ["3 a b c of orders-3", "c k3 \"\" 44", &format!("b {null} \"\" 43"), "a k1 \"hi\" 42"];
    assert_eq!(running.seen(), seen);
}

#[tokio::test]
async fn a_value_that_cannot_be_decoded_ends_the_batch_before_it() {
    let (index, failure, seen) =
        failed("batch_of_numbers", &[&[value("1"), value("2")], &[value("x"), value("4")]]).await;
    assert_eq!((index, seen), (2, vec!["[1, 2] orders-3@42".to_owned()]));
    assert!(matches!(failure, Failure::Decode(text) if text.contains("offset 44")));
    let (index, _, seen) = failed("batch_of_numbers", &[&[TOMBSTONE, value("2")]]).await;
    assert_eq!((index, seen), (0, vec![]));
}

#[tokio::test]
async fn a_failure_of_what_precedes_counts_first() {
    let (index, failure, seen) = failed("partly", &[&[value("1"), value("0"), value("x")]]).await;
    assert_eq!((index, seen), (1, vec!["[1, 0]".to_owned()]));
    assert!(matches!(failure, Failure::Handler(error) if error.to_string() == "1"));
}

#[tokio::test]
async fn an_index_is_within_what_was_handed_over() {
    let (index, failure, _) = failed("partly", &[&[value("1"), value("x")]]).await;
    assert_eq!(index, 0);
    assert!(matches!(failure, Failure::Handler(error) if error.to_string() == "beyond"));
}

#[tokio::test]
async fn without_an_index_nothing_is_handled() {
    let (index, failure, _) = failed("wholly", &[&[value("1"), value("2")]]).await;
    assert_eq!(index, 0);
    assert!(matches!(failure, Failure::Handler(_)));
    let (index, failure, _) = failed("batch_acknowledging", &[&[value("1"), value("2")]]).await;
    assert_eq!(index, 0);
    assert!(matches!(failure, Failure::Decode(text) if text.contains("`Ack`")));
}

#[test]
fn a_batch_of_a_test() {
    let batch = Batch::from(vec!["a", "b"]);
    let item = batch.items().next_back().unwrap();
    assert_eq!((item.payload(), item.metadata().offset(), item.headers().len()), (&"b", 1, 0));
    assert!(item.key::<Option<&str>>().unwrap().is_none());
    assert_eq!(
        item.key::<&str>().unwrap_err().to_string(),
        "the key of topic ``, partition 0, offset 1 cannot be taken as `&str`: there is none, or it is null; take an \
         `Option` where that may be"
    );
    assert_eq!(batch.into_payloads(), ["a", "b"]);
}

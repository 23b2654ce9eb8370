//! Typed JSON from a template through a listener, whatever a handler may ask for.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use kafka_runtime::prelude::*;
use tests::{Cluster, Probe};

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    items: Vec<Item>,
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Item {
    sku: String,
    cents: i64,
}

#[derive(Deserialize)]
struct Borrowed<'a> {
    id: u64,
    #[serde(borrow)]
    customer: Cow<'a, str>,
}

fn order(id: u64) -> Order {
    Order {
        id,
        customer: format!("c{}", id % 7),
        items: vec![Item { sku: "a\"quoted\" \u{fc}mlaut \u{1f980}".into(), cents: -5 }],
        note: id.is_multiple_of(2).then(|| "line\nbreak".to_owned()),
    }
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-owned")]
async fn owned(
    order: Order,
    key: Key<String>,
    meta: Metadata,
    headers: Headers,
    probe: State<Probe>,
) -> Result<(), String> {
    if headers.last("trace").is_none() {
        return Err("the header is missing".into());
    }
    probe.saw(meta.partition(), meta.offset(), Some(&key), serde_json::to_string(&order).unwrap());
    Ok(())
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-borrowed")]
async fn borrowed(order: Borrowed<'_>, #[header("trace")] trace: &str, meta: Metadata, probe: &State<Probe>) {
    probe.saw(meta.partition(), meta.offset(), Some(&order.customer), format!("{}/{trace}", order.id));
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-raw")]
async fn raw(value: Bytes, key: Key<Option<String>>, meta: Metadata, probe: &State<Probe>) {
    let text = String::from_utf8(value.to_vec()).unwrap();
    probe.saw(meta.partition(), meta.offset(), key.as_deref(), text);
}

#[kafka_listener(topic = "${suite.topic}", group = "${suite.topic}-batches", batch)]
async fn batches(orders: Vec<Order>, meta: Metadata, probe: &State<Probe>) {
    for order in orders {
        probe.saw(meta.partition(), -1, Some(&order.customer), order.id.to_string());
    }
}

async fn run(listener: &str) -> (Vec<tests::Seen>, Vec<Order>) {
    let cluster = Cluster::start().await;
    let topic = cluster.topic("round-trip", 3).await;
    let probe = Probe::default();
    let yaml = cluster.yaml(&format!("suite: {{topic: {topic}}}\n"));
    let app = App::from_yaml(&yaml).unwrap().only([listener]).state(probe.clone()).start().await.unwrap();
    let orders: Vec<Order> = (0..200).map(order).collect();
    for order in &orders {
        let record = Record::to(&topic).key(&order.customer).json(order).unwrap().header("trace", "t1");
        app.template().send_record(record).await.unwrap();
    }
    probe.at_least(orders.len(), LIMIT).await;
    app.stop().await.unwrap();
    assert_eq!(probe.len(), orders.len(), "handled more than was sent");
    (probe.seen(), orders)
}

#[tokio::test]
async fn owned_structs_with_key_headers_and_state() {
    let (mut seen, mut orders) = run("owned").await;
    seen.sort_by_key(|seen| serde_json::from_str::<Order>(&seen.value).unwrap().id);
    orders.sort_by_key(|order| order.id);
    for (seen, order) in seen.iter().zip(&orders) {
        assert_eq!(&serde_json::from_str::<Order>(&seen.value).unwrap(), order);
        assert_eq!(seen.key.as_deref(), Some(order.customer.as_str()));
    }
}

#[tokio::test]
async fn borrowed_structs_and_a_single_header() {
    let (seen, orders) = run("borrowed").await;
    let mut ids: Vec<String> = seen.into_iter().map(|seen| seen.value).collect();
    let mut wanted: Vec<String> = orders.iter().map(|order| format!("{}/t1", order.id)).collect();
    ids.sort();
    wanted.sort();
    assert_eq!(ids, wanted);
}

#[tokio::test]
async fn raw_bytes_are_the_json_that_was_sent() {
    let (seen, orders) = run("raw").await;
    let mut values: Vec<String> = seen.into_iter().map(|seen| seen.value).collect();
    let mut wanted: Vec<String> = orders.iter().map(|order| serde_json::to_string(order).unwrap()).collect();
    values.sort();
    wanted.sort();
    assert_eq!(values, wanted);
}

#[tokio::test]
async fn batches_of_structs() {
    let (seen, orders) = run("batches").await;
    let mut ids: Vec<u64> = seen.iter().map(|seen| seen.value.parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, orders.iter().map(|order| order.id).collect::<Vec<_>>());
}

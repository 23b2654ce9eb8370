//! Every form of a listener compiles and is registered, in a crate that forbids unsafe code and denies every warning.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, clippy::all)]

use std::borrow::Cow;
use std::error::Error;

use kafka_runtime::__private::inventory;
use kafka_runtime::listener::{CommitEvery, ListenerDescriptor, PartitionsAttribute};
use kafka_runtime::prelude::*;

#[derive(Debug, Deserialize)]
struct Order {
    id: u64,
}

#[derive(Debug, Deserialize)]
struct Tick<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
}

/// What the aliases below stand for decides, not their names.
type Maybe = Option<Order>;
type Acknowledgement = Ack;
type Orders = Vec<Order>;
type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[kafka_listener]
async fn configured_elsewhere(order: Order) {
    let _ = order.id;
}

#[kafka_listener(topic = "ticks", group = "prices", concurrency = 4)]
async fn borrowed(tick: Tick<'_>) {
    tokio::task::yield_now().await;
    let _ = tick.symbol;
}

#[kafka_listener(topic = "ticks")]
async fn with_lifetimes_of_its_own<'a, 'b: 'a>(tick: Tick<'a>, Key(key): Key<&'b str>) -> Result<(), String> {
    tokio::task::yield_now().await;
    let _ = (tick, key);
    Ok(())
}

/// Topics with a type, wherever an attribute names one.
mod typed {
    use super::{Order, Tick, Topic};
    pub(crate) const ORDERS: Topic<Order> = Topic::new("orders");
    pub(crate) const MORE_ORDERS: Topic<Order> = Topic::new("${app.topics.more:more}");
    pub(crate) const TICKS: Topic<Tick<'static>> = Topic::new("ticks");
}

#[kafka_listener(topics = [typed::ORDERS, "returns", typed::MORE_ORDERS], dead_letter = typed::ORDERS)]
async fn typed_topics(order: Option<Order>) {
    let _ = order;
}

#[kafka_listener(topics = [typed::TICKS], batch, dead_letter(partitions = 3, topic = typed::TICKS))]
async fn typed_ticks(ticks: Vec<Tick<'_>>) {
    drop(ticks);
}

#[kafka_listener(topics = ["${app.topics.a:a}", "b"], id = "by-alias")]
async fn aliases(order: Maybe, ack: Acknowledgement) -> Outcome {
    let _ = order;
    ack.ack()?;
    Ok(())
}

#[kafka_listener(pattern = "orders-.*", ack = "manual-immediate")]
async fn every_argument(
    headers: HeadersView<'_>,
    #[header("trace")] trace: Option<&str>,
    #[payload] order: Option<&str>,
    key: Key<Option<String>>,
    meta: Metadata,
    state: &State<u32>,
    ack: Ack,
) -> Result<(), std::io::Error> {
    tokio::task::yield_now().await;
    let _ = (headers, trace, order, key, meta, state, ack);
    Ok(())
}

#[kafka_listener(topic = "t")]
async fn more_arguments(
    mut order: Bytes,
    headers: Headers,
    #[header("n")] n: u32,
    #[header("raw")] raw: &[u8],
    state: State<String>,
) {
    order.clear();
    tokio::spawn(async move { (order, headers, state) }).await.ok();
    let _ = (n, raw);
}

#[kafka_listener(topic = "t", batch)]
async fn batch_of_structs(
    orders: Orders,
    state: &State<u32>,
    meta: Metadata,
) -> Result<(), BatchError<String>> {
    let _ = (orders, state, meta);
    Err(BatchError::at(0, String::new()))
}

#[kafka_listener(topic = "t", batch, ack = "manual")]
async fn batch_with_items(state: &State<u32>, #[payload] ticks: Batch<Tick<'_>>, ack: Ack) -> Outcome {
    tokio::task::yield_now().await;
    for tick in ticks.items() {
        let key: Key<Option<&str>> = tick.key().map_err(|error| error.to_string())?;
        let _ = (key, &tick.symbol, tick.headers().len(), tick.metadata(), state);
    }
    ack.ack()?;
    Ok(())
}

#[kafka_listener(topic = "t", batch = true)]
async fn batch_of_texts(texts: &[Option<&str>]) -> Result<(), BatchError<std::io::Error>> {
    tokio::task::yield_now().await;
    let _ = texts;
    Ok(())
}

#[kafka_listener(
    partitions("orders", "0-3", from = "earliest"),
    partitions(("a", 0), ("b", "*", from = 42)),
    id = "settings",
    group = "${app.group}",
    concurrency = "${app.n:4}",
    members = 2,
    commit = "sync",
    commit_every(records = 500, time = "2s"),
    ack = "auto",
    auto_startup = false,
    client_id = "c",
    properties("max.poll.records" = 10, "isolation.level" = "${level}"),
)]
async fn every_setting(_: Vec<u8>) {}

/// Attributes of the function stay with it, on either side.
#[tracing::instrument(skip_all)]
#[kafka_listener(topic = "t")]
#[tracing::instrument(skip_all)]
#[allow(clippy::unused_unit)]
async fn instrumented(order: Order) -> () {
    let _ = order;
}

#[kafka_listener(topic = "t")]
#[cfg(any())]
async fn left_out(_: DoesNotExist) {}

#[kafka_listener(topic = "t")]
#[cfg_attr(all(), cfg(any()), doc = "text")]
async fn left_out_too(_: DoesNotExist) {}

#[kafka_listener(topic = "t")]
#[deprecated]
async fn r#async(order: Order) {
    let _ = order;
}

/// A module like any other.
pub mod elsewhere {
    pub use kafka_runtime as renamed;

    /// A public listener.
    #[super::elsewhere::renamed::kafka_listener(topic = "t", crate = "crate::elsewhere::renamed")]
    pub async fn listener(_: &str) {}

    /// Names in scope do not get into generated code.
    mod hostile {
        #![allow(dead_code, non_camel_case_types)]
        struct Option;
        struct Result;
        struct Vec;
        struct String;
        struct Some;
        struct None;
        mod core {}
        mod std {}
        mod kafka_runtime {}
        trait Everything {
            fn form(&self) {}
            fn prepare(&self) {}
            fn item(&self) {}
            fn slot(&self) {}
            fn argument(&self) {}
        }
        impl<T> Everything for T {}

        #[crate::kafka_listener(topic = "t")]
        async fn listener(_: ::kafka_runtime::prelude::Bytes, _: ::kafka_runtime::prelude::Metadata) {}
    }
}

fn registered(id: &str) -> Vec<&'static ListenerDescriptor> {
    inventory::iter::<ListenerDescriptor>.into_iter().filter(|listener| listener.id == id).collect()
}

fn the(id: &str) -> &'static ListenerDescriptor {
    let found = registered(id);
    assert_eq!(found.len(), 1, "`{id}`");
    found[0]
}

#[test]
fn an_attribute_is_registered_as_it_is_written() {
    let listener = the("settings");
    let attributes = listener.attributes;
    assert_eq!(listener.function, "forms::every_setting");
    assert!(!listener.batch && !listener.takes_ack);
    assert_eq!(
        attributes.partitions,
        [
            PartitionsAttribute { topic: "orders", partitions: "0-3", from: Some("earliest") },
            PartitionsAttribute { topic: "a", partitions: "0", from: None },
            PartitionsAttribute { topic: "b", partitions: "*", from: Some("42") },
        ]
    );
    assert_eq!(attributes.group, Some("${app.group}"));
    assert_eq!(attributes.concurrency, Some("${app.n:4}"));
    assert_eq!(attributes.members, Some("2"));
    assert_eq!(attributes.commit, Some("sync"));
    let every = CommitEvery { each: None, records: Some("500"), time: Some("2s") };
    assert_eq!(attributes.commit_every, Some(every));
    assert_eq!(attributes.ack, Some("auto"));
    assert_eq!(attributes.auto_startup, Some("false"));
    assert_eq!(attributes.client_id, Some("c"));
    assert_eq!(attributes.properties, [("max.poll.records", "10"), ("isolation.level", "${level}")]);
}

#[test]
fn an_empty_attribute_says_nothing() {
    let listener = the("configured_elsewhere");
    assert_eq!(listener.attributes, Default::default());
}

/// Also through an alias; `None` where nothing can fail.
#[test]
fn the_type_of_error_has_a_name() {
    let error = |id: &str| (the(id).error_type)();
    assert_eq!(error("with_lifetimes_of_its_own"), Some(std::any::type_name::<String>()));
    assert_eq!(error("by-alias"), Some(std::any::type_name::<Box<dyn Error + Send + Sync>>()));
    assert_eq!(error("configured_elsewhere"), None);
}

#[test]
fn typed_topics_are_registered_by_their_names() {
    let attributes = the("typed_topics").attributes;
    assert_eq!(attributes.topics, ["orders", "returns", "${app.topics.more:more}"]);
    assert_eq!(attributes.dead_letter.topic, Some("orders"));
    let letters = the("typed_ticks").attributes.dead_letter;
    assert_eq!((letters.topic, letters.partitions), (Some("ticks"), Some("3")));
}

#[test]
fn the_place_is_that_of_the_attribute() {
    let location = the("by-alias").location;
    assert!(location.file.ends_with("forms.rs"), "{location}");
    let line = include_str!("forms.rs").lines().nth(location.line as usize - 1).unwrap();
    assert!(line.contains("by-alias"), "{line}");
    assert_eq!(location.column, 1);
}

#[test]
fn types_decide_what_an_argument_is() {
    assert!(the("by-alias").takes_ack);
    assert!(the("every_argument").takes_ack);
    assert!(the("batch_with_items").takes_ack && the("batch_with_items").batch);
    assert!(!the("more_arguments").takes_ack);
    assert!(the("batch_of_structs").batch && the("batch_of_texts").batch);
}

#[test]
fn names_conditions_and_modules() {
    assert_eq!(the("async").function, "forms::async");
    assert_eq!(the("instrumented").attributes.topics, ["t"]);
    assert_eq!(registered("left_out").len() + registered("left_out_too").len(), 0);
    let mut functions: Vec<_> = registered("listener").iter().map(|listener| listener.function).collect();
    functions.sort_unstable();
    assert_eq!(functions, ["forms::elsewhere::hostile::listener", "forms::elsewhere::listener"]);
}

#[tokio::test]
async fn a_listener_is_a_function_like_any_other() {
    configured_elsewhere(Order { id: 1 }).await;
    borrowed(Tick { symbol: "a".into() }).await;
    batch_of_texts(&[None, Some("a")]).await.unwrap();
    let meta = Metadata::at("orders", 3, 7);
    let error = batch_of_structs(vec![], &State::new(1), meta).await.unwrap_err();
    assert_eq!((error.index(), error.error().as_str()), (0, ""));
    assert_eq!((meta.topic(), meta.partition(), meta.offset(), meta.attempt()), ("orders", 3, 7, 1));
}

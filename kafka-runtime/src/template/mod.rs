//! Sending: a typed producer built from the configuration; and reading a piece of a partition without a group.
//!
//! ```text
//!   send, enqueue ──▶ interceptors ────────────────────▶ Producer ──▶ batches ──▶ brokers
//!   send_all, send_async ──▶ lines (order of a topic) ──▶    │
//!      callback ◀── forwarder ◀── delivery ◀─────────────────┘
//!   in_transaction ──▶ pool ──▶ Tx ──▶ TransactionalProducer
//!   request ──▶ send; answer ◀── by correlation id ◀── reader of the reply topic
//! ```

mod buffers;
mod ending;
mod error;
mod forward;
mod intercept;
mod key;
mod lines;
mod many;
mod pool;
mod receive;
mod record;
mod request;
mod topic;
mod transaction;
pub(crate) mod value;

use std::fmt;
use std::future::Future;
use std::ops::RangeBounds;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

pub use kafka_client::config::{Choice, ChoosePartition};
pub use kafka_client::consumer::{GroupMetadata, Offsets};
pub use kafka_client::group::CommittedOffset;
use kafka_client::producer::{Delivery, Producer};
pub use kafka_client::producer::{Outgoing as OutgoingRecord, partition_for_key};
pub use kafka_client::producer::{ProducerStats, RecordMetadata, Remedy, SendError, TransactionError};
use kafka_client::{Client, TopicName};
pub use kafka_client::{Error as ClientError, ResponseError};
use serde::Serialize;

pub use self::error::TemplateError;
use self::forward::Forwarder;
pub use self::intercept::Interceptor;
use self::intercept::Interceptors;
pub use self::key::AsKey;
use self::pool::Pool;
pub use self::receive::{Page, Received};
pub use self::record::Record;
use self::request::Replies;
pub use self::request::Reply;
pub use self::topic::{Destination, Topic};
pub use self::transaction::{Tx, TxError};
use crate::config::TemplateSettings;

/// A result of the template.
pub type Result<T, E = TemplateError> = std::result::Result<T, E>;

/// Sends records by the settings under `spring.kafka.producer` and `spring.kafka.template`. Clones share it. In a handler it
/// is the argument `State<Template>`, elsewhere [`RunningApp::template`](crate::RunningApp::template).
///
/// What all of its sends have in common: text and bytes (`str`, `String`, `[u8]`, `[u8; N]`, `Vec<u8>`, `Bytes`, and
/// references, `Box`, `Arc`, `Rc` and `Cow` of them) are sent as they are, every other value as JSON, and a listener whose payload
/// is text, bytes or the value's type reads it. (So a `String` is what Spring's `StringSerializer` sends; in quotes, as its
/// `JsonSerializer` has it, it goes by [`Record::json`].) The record is encoded
/// at the call; without a partition the key decides (as
/// Java's default partitioner does); what may pass is retried within `delivery.timeout.ms`.
///
/// ```no_run
/// # use kafka_runtime::prelude::*;
/// # #[derive(Serialize)] struct Order { customer: String }
/// # async fn example(template: Template, order: Order) -> Result<(), TemplateError> {
/// let sent = template.send("orders", &order.customer, &order).await?;
/// println!("{} offset {}", sent.partition, sent.offset);
/// template.send_record(Record::to("orders").key("k").json(&order)?.header("trace", "t1").partition(3)).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Template(Arc<Inner>);

struct Inner {
    client: Client,
    producer: Producer,
    default_topic: Option<TopicName>,
    close_timeout: Duration,
    delivery_timeout: Duration,
    /// How long [`Template::receive`] waits for the next records.
    patience: Duration,
    buffer_memory: usize,
    forwarder: OnceLock<Forwarder>,
    interceptors: Arc<Interceptors>,
    transactions: Option<Pool>,
    replies: Replies,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("default_topic", &self.0.default_topic).finish_non_exhaustive()
    }
}

impl Template {
    pub(crate) fn new(
        client: Client,
        settings: &TemplateSettings,
        interceptors: Vec<Arc<dyn Interceptor>>,
    ) -> kafka_client::Result<Self> {
        let producer = client.producer(settings.producer.clone())?;
        let prefix = settings.transaction_id_prefix.clone();
        let pool = |prefix| Pool::new(producer.clone(), settings.producer.clone(), prefix);
        Ok(Self(Arc::new(Inner {
            interceptors: Arc::new(Interceptors::new(interceptors)),
            transactions: prefix.map(pool),
            replies: Replies::new(settings.reply_topic.as_deref(), settings.reply_timeout),
            client,
            producer,
            default_topic: settings.default_topic.as_deref().map(TopicName::new),
            close_timeout: settings.close_timeout,
            delivery_timeout: settings.producer.delivery_timeout,
            patience: settings.client.request_timeout,
            buffer_memory: settings.producer.buffer_memory,
            forwarder: OnceLock::new(),
        })))
    }

    /// Sends `value` (text and bytes as they are, all else as JSON) and waits until it is acknowledged. The topic is a name
    /// or a [`Topic`]; `key` is anything [`AsKey`], `()` for none.
    ///
    /// # Errors
    /// It cannot be encoded, or was not delivered.
    pub fn send<K: AsKey, V: Serialize + ?Sized, D: Destination<V>>(
        &self,
        topic: D,
        key: K,
        value: &V,
    ) -> impl Future<Output = Result<RecordMetadata>> + Send + use<'_, K, V, D> {
        let record = Record::encoded(topic.topic(), key, value);
        async move { self.hand_over_awaited(&mut record?).await?.await }
    }

    /// [`Template::send`] to `spring.kafka.template.default-topic`.
    ///
    /// # Errors
    /// None is set, or as [`Template::send`].
    pub fn send_default<K: AsKey, V: Serialize + ?Sized>(
        &self,
        key: K,
        value: &V,
    ) -> impl Future<Output = Result<RecordMetadata>> + Send {
        let topic = self.0.default_topic.ok_or(TemplateError::NoDefaultTopic);
        let record = topic.and_then(|topic| Record::encoded(topic, key, value));
        async move { self.hand_over_awaited(&mut record?).await?.await }
    }

    /// Sends text as it is and waits until it is acknowledged.
    ///
    /// # Errors
    /// It was not delivered.
    pub fn send_text<K: AsKey>(
        &self,
        topic: impl AsRef<str>,
        key: K,
        text: &str,
    ) -> impl Future<Output = Result<RecordMetadata>> + Send {
        let record = Record::to(topic).key(key).text(text);
        async move { self.send_record(record).await }
    }

    /// Sends bytes as they are and waits until they are acknowledged.
    ///
    /// # Errors
    /// They were not delivered.
    pub fn send_bytes<K: AsKey>(
        &self,
        topic: impl AsRef<str>,
        key: K,
        bytes: impl Into<Vec<u8>>,
    ) -> impl Future<Output = Result<RecordMetadata>> + Send {
        let record = Record::to(topic).key(key).bytes(bytes);
        async move { self.send_record(record).await }
    }

    /// Sends a null value, which a compacted topic takes as the deletion of `key`, and waits until it is acknowledged.
    ///
    /// # Errors
    /// It was not delivered.
    pub fn send_tombstone<K: AsKey>(
        &self,
        topic: impl AsRef<str>,
        key: K,
    ) -> impl Future<Output = Result<RecordMetadata>> + Send {
        let record = Record::to(topic).key(key);
        async move { self.send_record(record).await }
    }

    /// Sends a record with everything that a record can have, and waits until it is acknowledged.
    ///
    /// # Errors
    /// It was not delivered.
    pub async fn send_record(&self, mut record: Record) -> Result<RecordMetadata> {
        self.hand_over_awaited(&mut record).await?.await
    }

    /// Waits for room in the producer's buffer only; the returned future is the delivery's. Dropping that does not
    /// take the record back.
    ///
    /// # Errors
    /// What can be said before it is sent: it cannot be encoded, is too large, or there was no room in time.
    pub fn enqueue<K: AsKey, V: Serialize + ?Sized, D: Destination<V>>(
        &self,
        topic: D,
        key: K,
        value: &V,
    ) -> impl Future<Output = Result<Pending>> + Send + use<'_, K, V, D> {
        let record = Record::encoded(topic.topic(), key, value);
        async move { self.hand_over(&mut record?).await }
    }

    /// [`Template::enqueue`] for a record with everything that a record can have.
    ///
    /// # Errors
    /// As [`Template::enqueue`].
    pub async fn enqueue_record(&self, mut record: Record) -> Result<Pending> {
        self.hand_over(&mut record).await
    }

    /// [`Template::enqueue_record`] for a record that somebody waits for: it does not linger.
    pub(crate) async fn enqueue_awaited(&self, mut record: Record) -> Result<Pending> {
        self.hand_over_awaited(&mut record).await
    }

    /// A record stays where its caller has it: it is a hundred bytes, which cost more to move from step to step than the
    /// steps. What is left of it afterwards is nobody's.
    async fn hand_over(&self, record: &mut Record) -> Result<Pending> {
        self.0.interceptors.before(record);
        let delivery = {
            let headers = record.header_views();
            self.0.producer.enqueue(record.outgoing(&headers)).await
        };
        self.0.interceptors.after(record, delivery)
    }

    async fn hand_over_awaited(&self, record: &mut Record) -> Result<Pending> {
        self.0.interceptors.before(record);
        let delivery = {
            let headers = record.header_views();
            self.0.producer.enqueue_awaited(record.outgoing(&headers)).await
        };
        self.0.interceptors.after(record, delivery)
    }

    fn client(&self) -> &Client {
        &self.0.client
    }

    fn replies(&self) -> &Replies {
        &self.0.replies
    }

    fn transactions(&self) -> Option<&Pool> {
        self.0.transactions.as_ref()
    }

    /// What was sent so far: counts, bytes, retries, times. What was sent in transactions is among it, by
    /// [`Template::in_transaction`] and by transactional listeners, whether it was committed or aborted.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        self.0.producer.stats()
    }

    /// Goes on at once; `callback` is called with the delivery's result, after the last retry, on the tokio runtime of
    /// the first such call. Records of a topic go out in the order of the calls. One that waits for its topic, or for room,
    /// holds up those behind it for the same topic and nothing else; when the topic was not found within `max.block.ms`,
    /// they fail with it. When more than `buffer.memory` waits already, the callback gets that as its error.
    pub fn send_async<K: AsKey, V: Serialize + ?Sized>(
        &self,
        topic: impl Destination<V>,
        key: K,
        value: &V,
        callback: impl FnOnce(Result<RecordMetadata>) + Send + 'static,
    ) {
        match Record::encoded(topic.topic(), key, value) {
            Ok(record) => self.send_record_async(record, callback),
            Err(error) => callback(Err(error)),
        }
    }

    /// [`Template::send_async`] for a record with everything that a record can have.
    pub fn send_record_async(
        &self,
        mut record: Record,
        callback: impl FnOnce(Result<RecordMetadata>) + Send + 'static,
    ) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return callback(Err(TemplateError::NoRuntime));
        };
        let Inner { producer, buffer_memory, forwarder, interceptors, .. } = &*self.0;
        let forwarder = forwarder.get_or_init(|| {
            Forwarder::start(&runtime, producer.clone(), Arc::clone(interceptors), *buffer_memory)
        });
        interceptors.before(&mut record);
        forwarder.forward(record, Box::new(callback));
    }

    /// Reads records of one partition without a group, up to where it ends now: `42..`, `10..20`, `..`. At most
    /// 10,000 at once: see [`Page::next`].
    ///
    /// # Errors
    /// The partition cannot be read, or nothing came for the request timeout.
    pub async fn receive(&self, topic: &str, partition: i32, offsets: impl RangeBounds<i64>) -> Result<Page> {
        let Inner { client, patience, .. } = &*self.0;
        let range = (offsets.start_bound().cloned(), offsets.end_bound().cloned());
        receive::receive(client, topic, partition, range, *patience).await
    }
}

/// A record's delivery; see [`Template::enqueue`].
#[derive(Debug)]
#[must_use = "the record is sent all the same, but nobody learns whether it arrived"]
pub struct Pending(Delivery);

impl Future for Pending {
    type Output = Result<RecordMetadata>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(TemplateError::from)
    }
}

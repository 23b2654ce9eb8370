//! Question and answer over two topics, as Spring's `ReplyingKafkaTemplate` has it.
//!
//! ```text
//!   request ── kafka_correlationId, kafka_replyTopic ──▶ topic ──▶ somebody's listener
//!      ▲                                                              │ the same kafka_correlationId
//!      └── by correlation id ◀── reader of the reply topic ◀──────────┘
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_client::config::{ConsumerConfig, OffsetReset, StartAt, Subscription};
use kafka_client::consumer::{Chunk, ConsumerEvent, PartitionStream, StreamItem};
use kafka_client::records::HeadersView;
use kafka_client::seams::Rng;
use kafka_client::{Client, Error, TopicName, TopicPartition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinSet;

use super::{Destination, Received, Record, Result, Template, TemplateError};
use crate::listener::Headers;

/// Spring's header that ties an answer to its question.
const CORRELATION_ID: &str = "kafka_correlationId";
/// Spring's header that says where the answer goes.
const REPLY_TOPIC: &str = "kafka_replyTopic";
/// Spring's header that says in which partition: four bytes, the highest first.
const REPLY_PARTITION: &str = "kafka_replyPartition";

/// Who waits for an answer, by correlation id.
type Waiting = Arc<Mutex<HashMap<Vec<u8>, oneshot::Sender<Received>>>>;

/// What requests run by.
pub(super) struct Replies {
    topic: Option<TopicName>,
    timeout: Duration,
    reader: OnceCell<Reader>,
    rng: Rng,
}

/// The reader of the reply topic, which ends with this value.
struct Reader {
    waiting: Waiting,
    _task: JoinSet<()>,
}

/// Takes a question back that nobody waits for any more.
struct Asked {
    waiting: Waiting,
    id: Vec<u8>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// An answer, as it was received.
#[derive(Debug, Clone)]
pub struct Reply<A> {
    /// Its value.
    pub value: A,
    /// The record that it came in: headers, partition, offset.
    pub record: Received,
}

impl Replies {
    pub(super) fn new(topic: Option<&str>, timeout: Duration) -> Self {
        let topic = topic.map(TopicName::new);
        Self { topic, timeout, reader: OnceCell::new(), rng: Rng::from_entropy() }
    }

    /// The reply topic and its reader, which reads from the topic's end when this returns.
    async fn reader(&self, client: &Client) -> Result<(TopicName, &Reader)> {
        let topic = self.topic.ok_or(TemplateError::NoReplyTopic)?;
        let started = self.reader.get_or_try_init(|| Reader::start(client, topic)).await;
        Ok((topic, started.map_err(|source| TemplateError::ReplyTopic { topic, source })?))
    }

    fn correlation_id(&self) -> Vec<u8> {
        [self.rng.next_u64(), self.rng.next_u64()].iter().flat_map(|part| part.to_be_bytes()).collect()
    }
}

impl Reader {
    async fn start(client: &Client, topic: TopicName) -> kafka_client::Result<Self> {
        let admin = client.admin();
        let described = admin.describe_topics(&[topic.as_str()]).await?;
        let found = described.get(&topic).filter(|found| found.error.is_none());
        let count = found.map_or(0, |found| found.partitions.len());
        if count == 0 {
            let code = described.get(&topic).and_then(|found| found.error);
            let why = code.map_or_else(|| "it has no partitions".to_owned(), |code| code.to_string());
            return Err(Error::Config(format!(
                "it cannot be read ({why}): declare it under kafka-runtime.topics"
            )));
        }
        let partitions = (0..count).filter_map(|number| i32::try_from(number).ok());
        let ends: Vec<_> =
            partitions.map(|number| (TopicPartition::new(topic, number), StartAt::End)).collect();
        let mut from = Vec::new();
        for (partition, end) in admin.list_offsets(&ends).await? {
            from.push((partition, StartAt::Offset(end?)));
        }
        let config = ConsumerConfig {
            auto_offset_reset: OffsetReset::Earliest,
            allow_auto_create_topics: false,
            ..ConsumerConfig::new(Subscription::Partitions(from))
        };
        let mut consumer = client.consumer(config)?;
        let waiting = Waiting::default();
        let mut task = JoinSet::new();
        let to_tell = Arc::clone(&waiting);
        task.spawn(async move {
            let mut streams = JoinSet::new();
            while let Some(event) = consumer.next().await {
                match event {
                    ConsumerEvent::Assigned(assigned) => {
                        for stream in assigned {
                            streams.spawn(answers(stream, Arc::clone(&to_tell)));
                        }
                    }
                    ConsumerEvent::Problem(error) => tracing::warn!(%topic, %error, "reading answers"),
                    ConsumerEvent::Fatal(error) => {
                        tracing::error!(%topic, %error, "answers are not read any more")
                    }
                    _ => {}
                }
            }
        });
        Ok(Self { waiting, _task: task })
    }

    fn ask(&self, id: Vec<u8>) -> (Asked, oneshot::Receiver<Received>) {
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), answer);
        (Asked { waiting: Arc::clone(&self.waiting), id }, answered)
    }
}

/// Hands the answers of one partition to those that wait. Answers to others' questions are passed over.
async fn answers(mut stream: PartitionStream, waiting: Waiting) {
    let partition = stream.partition();
    while let Some(item) = stream.next().await {
        match item {
            StreamItem::Chunk(chunk) => {
                if let Err(error) = hand_out(chunk, partition, &waiting) {
                    tracing::warn!(%partition, error, "an answer cannot be read");
                }
            }
            StreamItem::Failed(error) => tracing::warn!(%partition, %error, "reading answers"),
            _ => {}
        }
    }
}

fn hand_out(
    mut chunk: Chunk,
    partition: TopicPartition,
    waiting: &Waiting,
) -> std::result::Result<(), String> {
    while let Some(batch) = chunk.next_batch().map_err(|error| error.to_string())? {
        for record in batch.records() {
            let record = record.map_err(|error| error.to_string())?;
            let Some(id) = record.headers.last(CORRELATION_ID).and_then(|header| header.value) else {
                continue;
            };
            let asked = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
            if let Some(asked) = asked {
                // Who does not wait any more does not need it.
                let _ = asked.send(Received::of(partition, &batch, &record));
            }
        }
    }
    Ok(())
}

impl Template {
    /// Sends a question as [`Template::send`] does and waits for its answer, at most `kafka-runtime.template.reply-timeout`
    /// (5 s). The answer comes in `kafka-runtime.template.reply-topic`, from whoever sends it with the question's
    /// `kafka_correlationId`: a Spring listener with `@SendTo`, or one of ours that sends [`Record::answer`].
    ///
    /// ```no_run
    /// # use kafka_runtime::prelude::*;
    /// # #[derive(Serialize, Deserialize)] struct Question; #[derive(Deserialize)] struct Price { cents: u64 }
    /// # async fn example(template: Template) -> Result<(), TemplateError> {
    /// let price = template.request::<Price, _>("prices", &Question).await?.value;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The question cannot be sent, nobody answered in time, or the answer is no `A`: text for a `String`, bytes for a
    /// `Vec<u8>`, JSON for everything else ([`Received::read`]).
    pub async fn request<A: DeserializeOwned, Q: Serialize + ?Sized>(
        &self,
        topic: impl Destination<Q>,
        question: &Q,
    ) -> Result<Reply<A>> {
        let record = self.request_record(Record::to_topic(topic.topic()).value(question)?).await?;
        Ok(Reply { value: record.read()?, record })
    }

    /// [`Template::request`] for a question with key and headers; the answer as it was received.
    ///
    /// # Errors
    /// The question cannot be sent, or nobody answered in time.
    pub async fn request_record(&self, question: Record) -> Result<Received> {
        let replies = self.replies();
        let (reply_topic, reader) = replies.reader(self.client()).await?;
        let (asked, answered) = reader.ask(replies.correlation_id());
        let topic = question.topic();
        let question = question.header(CORRELATION_ID, &asked.id).header(REPLY_TOPIC, reply_topic.as_str());
        let exchange = async {
            self.send_record(question).await?;
            answered.await.map_err(|_| TemplateError::NoAnswer {
                topic,
                reply_topic,
                waited: replies.timeout,
            })
        };
        let answer = tokio::time::timeout(replies.timeout, exchange).await;
        answer.unwrap_or(Err(TemplateError::NoAnswer { topic, reply_topic, waited: replies.timeout }))
    }
}

impl Record {
    /// The answer to a question with these headers: for its reply topic (and partition, if it names one), with its
    /// correlation id. `None` where the record is no question.
    ///
    /// ```no_run
    /// # use kafka_runtime::prelude::*;
    /// #[kafka_listener(topic = "prices", group = "pricing")]
    /// async fn price(article: String, headers: Headers, template: State<Template>) -> Result<(), TemplateError> {
    ///     if let Some(answer) = Record::answer(&headers) {
    ///         template.send_record(answer.value(&42)?).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn answer(question: &Headers) -> Option<Self> {
        Self::answer_to(question.view())
    }

    /// [`Record::answer`] by a borrowed view.
    pub(crate) fn answer_to(question: HeadersView<'_>) -> Option<Self> {
        let bytes = |name: &str| question.last(name)?.value;
        let topic = std::str::from_utf8(bytes(REPLY_TOPIC)?).ok()?;
        let answer = Self::to(topic).header(CORRELATION_ID, bytes(CORRELATION_ID)?);
        let partition =
            bytes(REPLY_PARTITION).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes);
        Some(match partition {
            Some(partition) => answer.partition(partition),
            None => answer,
        })
    }
}

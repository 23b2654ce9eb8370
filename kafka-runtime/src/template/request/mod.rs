//! Question and answer over two topics, as Spring's `ReplyingKafkaTemplate` has it.
//!
//! ```text
//!   request ── kafka_correlationId, kafka_replyTopic ──▶ topic ──▶ somebody's listener
//!      ▲                                                              │ the same kafka_correlationId
//!      └── questions ◀── by correlation id ── reader ◀── reply topic ◀┘
//! ```

mod questions;
mod reader;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::records::HeadersView;
use kafka_client::seams::Rng;
use kafka_client::{Client, TopicName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use self::questions::{Asked, Questions};
use self::reader::Reader;
use super::{Destination, Received, Record, Result, Template, TemplateError};
use crate::listener::Headers;

/// Spring's header that ties an answer to its question.
const CORRELATION_ID: &str = "kafka_correlationId";
/// Spring's header that says where the answer goes.
const REPLY_TOPIC: &str = "kafka_replyTopic";
/// Spring's header that says in which partition: four bytes, the highest first.
const REPLY_PARTITION: &str = "kafka_replyPartition";

/// What requests run by.
pub(super) struct Replies {
    topic: Option<TopicName>,
    timeout: Duration,
    /// Started by the first request, and again where it has ended.
    reader: Mutex<Option<Reader>>,
    rng: Rng,
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
        Self { topic, timeout, reader: Mutex::default(), rng: Rng::from_entropy() }
    }

    /// A question, and the topic whose reader waits for its answer.
    async fn ask(&self, client: &Client) -> Result<(Asked, TopicName)> {
        let topic = self.topic.ok_or(TemplateError::NoReplyTopic)?;
        let questions = self.questions(client, topic).await;
        let questions = questions.map_err(|source| TemplateError::ReplyTopic { topic, source })?;
        Ok((questions.ask(self.correlation_id()), topic))
    }

    /// Those of a reader that reads. Whoever comes while it starts waits for it.
    async fn questions(&self, client: &Client, topic: TopicName) -> kafka_client::Result<Arc<Questions>> {
        let mut reader = self.reader.lock().await;
        match reader.as_ref().map(Reader::questions).filter(|questions| questions.are_read()) {
            Some(questions) => Ok(questions),
            None => Ok(reader.insert(Reader::start(client, topic).await?).questions()),
        }
    }

    fn correlation_id(&self) -> Vec<u8> {
        [self.rng.next_u64(), self.rng.next_u64()].iter().flat_map(|part| part.to_be_bytes()).collect()
    }
}

impl Template {
    /// Sends a question as [`Template::send`] does and waits for its answer, at most `kafka-runtime.template.reply-timeout`
    /// (5 s). The answer comes in `kafka-runtime.template.reply-topic`, from whoever sends it with the question's
    /// `kafka_correlationId`: a Spring listener with `@SendTo`, one of ours that returns it (`reply`), or that sends
    /// [`Record::answer`]. For a key, headers or a time limit of its own there is [`Template::request_record_within`].
    ///
    /// ```no_run
    /// # use kafka_runtime::prelude::*;
    /// # #[derive(Serialize, Deserialize)] struct Question; #[derive(Deserialize)] struct Price { cents: u64 }
    /// # async fn example(template: Template) -> Result<(), TemplateError> {
    /// let price = template.request::<Price, _>("prices", &Question).await?.value;
    /// # Ok(()) }
    /// ```
    ///
    /// The first request starts the reader of the reply topic: a few requests to brokers, each with its `request.timeout.ms`, and
    /// the question's time begins after them. The reader lives on the tokio runtime of that first request. When that runtime
    /// goes, the requests that wait fail at once, and the next one starts another reader on its own. Partitions that the reply
    /// topic gets later are found when an answer is missing for a second, and read from their beginning.
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
    /// As [`Template::request_record_within`].
    pub async fn request_record(&self, question: Record) -> Result<Received> {
        self.request_record_within(question, self.replies().timeout).await
    }

    /// [`Template::request_record`] with a time limit of its own.
    ///
    /// ```no_run
    /// # use kafka_runtime::prelude::*;
    /// # use std::time::Duration;
    /// # #[derive(Serialize)] struct Article { name: String }
    /// const PRICES: Topic<Article> = Topic::new("prices");
    /// # async fn example(template: Template, article: Article) -> Result<(), TemplateError> {
    /// let question = PRICES.record(&article.name, &article)?.header("currency", "EUR");
    /// let cents: u64 = template.request_record_within(question, Duration::from_secs(30)).await?.read()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The send's own error when the question was not delivered, as far as that is known in time. What is known otherwise:
    /// [`TemplateError::NotAsked`], it was not sent and will not be; [`TemplateError::NoAnswer`], nobody answered, and whether
    /// the question was acknowledged. [`TemplateError::ReplyTopic`] when answers cannot be read.
    pub async fn request_record_within(&self, question: Record, limit: Duration) -> Result<Received> {
        let (mut asked, reply_topic) = self.replies().ask(self.client()).await?;
        let topic = question.topic();
        let question = question.header(CORRELATION_ID, &asked.id).header(REPLY_TOPIC, reply_topic.as_str());
        let unread = |source| TemplateError::ReplyTopic { topic: reply_topic, source };
        let unanswered =
            |acknowledged| TemplateError::NoAnswer { topic, reply_topic, waited: limit, acknowledged };
        let mut time_is_over = pin!(tokio::time::sleep(limit));
        let sent = tokio::select! {
            biased;
            pending = self.enqueue_awaited(question) => pending?,
            () = &mut time_is_over => return Err(TemplateError::NotAsked { topic, waited: limit }),
        };
        tokio::select! {
            biased;
            // Whatever becomes of the acknowledgement: it was read by whoever answers.
            answer = asked.answer() => return answer.map_err(unread),
            sent = sent => {
                sent?;
            }
            () = &mut time_is_over => return Err(unanswered(false)),
        }
        tokio::select! {
            biased;
            answer = asked.answer() => answer.map_err(unread),
            () = &mut time_is_over => Err(unanswered(true)),
        }
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

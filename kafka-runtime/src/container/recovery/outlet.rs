//! Where a record goes that its listener gives up: a topic, which is made when it is missing.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use kafka_client::admin::{Admin, NewTopic};
use kafka_client::config::ProducerConfig;
use kafka_client::producer::{Outgoing, Producer, RecordMetadata, SendError};
use kafka_client::{Client, Error, ResponseError, TopicName, TopicPartition};
use tokio::time::Instant;
use tracing::info;

use crate::config::{AdminSettings, DeadLetters, TemplateSettings};
use crate::dead_letter::careful;
use crate::dead_letter::headers::Written;
use crate::template::Tx;

/// How soon a cluster is asked again that could not answer, or does not show yet what was created.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A record on its way out.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) topic: TopicName,
    /// Where it comes from.
    pub(crate) source: TopicPartition,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Written,
    /// How the topic is made when it is missing.
    pub(crate) plan: &'a DeadLetters,
    /// The transaction that it is part of.
    pub(crate) tx: Option<&'a Tx>,
}

/// The acknowledgement, or why there is none and will be none.
pub(crate) type Sending<'a> = Pin<Box<dyn Future<Output = Result<RecordMetadata, String>> + Send + 'a>>;

/// Writes letters.
pub(crate) trait Outlet: Send + Sync + fmt::Debug {
    /// Waits until it is acknowledged by all in-sync replicas.
    fn send<'a>(&'a self, letter: Letter<'a>) -> Sending<'a>;
    /// Milliseconds since 1970.
    fn now(&self) -> i64;
}

/// What all listeners of an application share: one producer, made when it is needed.
#[derive(Debug)]
pub(crate) struct Publisher {
    client: Client,
    config: ProducerConfig,
    admin: Admin,
    /// `admin.operation-timeout`.
    patience: Duration,
    producer: OnceLock<Producer>,
    /// How many partitions topics had when they were last looked at.
    topics: Mutex<HashMap<TopicName, usize>>,
}

/// A topic that there has to be.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    topic: TopicName,
    /// It gets as many partitions as this one.
    like: TopicName,
    plan: &'a DeadLetters,
}

/// Why it did not work.
enum Trouble {
    /// It may pass.
    Passing(String),
    /// It stays until somebody changes something.
    Lasting(String),
}

impl Publisher {
    /// Dead letters go where the template's records go, but never with less than all acknowledgements. Topics are created
    /// through `admin`.
    pub(crate) fn new(
        client: Client,
        template: &TemplateSettings,
        admin: Admin,
        settings: &AdminSettings,
    ) -> Self {
        let patience = settings.operation_timeout;
        let config = ProducerConfig { linger: Duration::ZERO, ..careful(&template.producer) };
        Self { client, config, admin, patience, producer: OnceLock::new(), topics: Mutex::default() }
    }

    fn producer(&self) -> Result<Producer, Trouble> {
        if let Some(producer) = self.producer.get() {
            return Ok(producer.clone());
        }
        let made = self.client.producer(self.config.clone()).map_err(|error| of_client(&error))?;
        Ok(self.producer.get_or_init(|| made).clone())
    }

    async fn send(&self, letter: &Letter<'_>, source: &Client) -> Result<RecordMetadata, String> {
        let until = Instant::now() + self.config.delivery_timeout;
        loop {
            match self.try_to_send(letter, source).await {
                Ok(sent) => return Ok(sent),
                Err(Trouble::Lasting(why)) => return Err(why),
                Err(Trouble::Passing(why)) if Instant::now() >= until => return Err(why),
                Err(Trouble::Passing(_)) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    async fn try_to_send(&self, letter: &Letter<'_>, source: &Client) -> Result<RecordMetadata, Trouble> {
        let wanted = Wanted { topic: letter.topic, like: letter.source.topic, plan: letter.plan };
        let partitions = self.partitions_of(wanted, source).await?;
        let same = usize::try_from(letter.source.partition).is_ok_and(|number| number < partitions);
        let headers: Vec<_> =
            letter.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let record = Outgoing {
            topic: letter.topic,
            partition: same.then_some(letter.source.partition),
            timestamp: None,
            key: letter.key,
            value: letter.value,
            headers: &headers,
        };
        let sent = match letter.tx {
            Some(tx) => tx.transaction().send(record).await,
            None => self.producer()?.send(record).await,
        };
        sent.map_err(|error| {
            if matches!(error, SendError::UnknownTopic { .. } | SendError::UnknownPartition { .. }) {
                self.topics().remove(&letter.topic);
                return Trouble::Passing(error.to_string());
            }
            Trouble::Lasting(error.to_string())
        })
    }

    /// Sees to it that there is a topic `topic`, with as many partitions as `like` has.
    pub(crate) async fn ensure(
        &self,
        topic: TopicName,
        like: TopicName,
        plan: &DeadLetters,
        source: &Client,
    ) -> Result<(), String> {
        let found = self.partitions_of(Wanted { topic, like, plan }, source).await;
        found.map(drop).map_err(|(Trouble::Passing(why) | Trouble::Lasting(why))| why)
    }

    fn topics(&self) -> std::sync::MutexGuard<'_, HashMap<TopicName, usize>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many partitions the letter's topic has; it is created if it is missing and may be.
    async fn partitions_of(&self, wanted: Wanted<'_>, source: &Client) -> Result<usize, Trouble> {
        let topic = wanted.topic;
        if let Some(known) = self.topics().get(&topic) {
            return Ok(*known);
        }
        match count(&self.client, topic).await? {
            Some(count) => {
                self.topics().insert(topic, count);
                Ok(count)
            }
            None if !wanted.plan.create => Err(Trouble::Lasting(format!(
                "topic {topic} does not exist and is not created (dead-letter.create: false)"
            ))),
            None => {
                self.create(wanted, source).await?;
                Err(Trouble::Passing(format!("topic {topic} was created and is not there yet")))
            }
        }
    }

    async fn create(&self, wanted: Wanted<'_>, source: &Client) -> Result<(), Trouble> {
        let Wanted { topic, like, plan } = wanted;
        let partitions = match plan.partitions {
            Some(partitions) => Some(partitions),
            None => count(source, like).await?.and_then(|count| i32::try_from(count).ok()),
        };
        let retention = plan.retention.map(|time| ("retention.ms".to_owned(), time.as_millis().to_string()));
        let new = NewTopic {
            name: topic.as_str().to_owned(),
            partitions,
            replication: plan.replication,
            config: retention.into_iter().collect(),
        };
        let created = self.admin.create_topics(&[new], self.patience).await;
        let created = created.map_err(|error| of_client(&error))?.pop().map_or(Ok(()), |(_, result)| result);
        match created {
            Ok(()) => {
                info!(%topic, partitions, "created, for records that failed");
                Ok(())
            }
            Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => Ok(()),
            Err(error) if error.is_retriable() => Err(Trouble::Passing(error.to_string())),
            Err(error) => Err(Trouble::Lasting(format!(
                "topic {topic} does not exist and cannot be created: {error}; create it, or allow this user to"
            ))),
        }
    }
}

/// The partitions of a topic; `None` if it does not exist.
async fn count(client: &Client, topic: TopicName) -> Result<Option<usize>, Trouble> {
    let described =
        client.admin().describe_topics(&[topic.as_str()]).await.map_err(|error| of_client(&error))?;
    match described.get(&topic).map(|found| (found.error, found.partitions.len())) {
        None | Some((Some(ResponseError::UnknownTopicOrPartition), _)) => Ok(None),
        Some((None, count)) if count > 0 => Ok(Some(count)),
        Some((None, _)) => Err(Trouble::Passing(format!("topic {topic} shows no partitions"))),
        Some((Some(error), _)) if error.is_retriable() => {
            Err(Trouble::Passing(format!("topic {topic}: {error}")))
        }
        Some((Some(error), _)) => Err(Trouble::Lasting(format!("topic {topic}: {error}"))),
    }
}

fn of_client(error: &Error) -> Trouble {
    match error.is_retriable() {
        true => Trouble::Passing(error.to_string()),
        false => Trouble::Lasting(error.to_string()),
    }
}

/// One listener's way out.
#[derive(Debug, Clone)]
pub(crate) struct ListenerOutlet {
    pub(crate) publisher: Arc<Publisher>,
    /// The cluster that the listener reads, where it is another.
    pub(crate) source: Option<Client>,
}

impl Outlet for ListenerOutlet {
    fn send<'a>(&'a self, letter: Letter<'a>) -> Sending<'a> {
        Box::pin(async move {
            {
                let source = self.source.as_ref().unwrap_or(&self.publisher.client);
                self.publisher.send(&letter, source).await
            }
        })
    }

    fn now(&self) -> i64 {
        self.publisher.client.clock().wall_millis()
    }
}

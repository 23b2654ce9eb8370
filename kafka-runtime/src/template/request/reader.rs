//! The reader of the reply topic: all of its partitions, those too that come later.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::config::{ConsumerConfig, OffsetReset, StartAt, Subscription};
use kafka_client::consumer::{Chunk, Consumer, ConsumerEvent, PartitionStream, StreamItem};
use kafka_client::{Client, Error, Result, TopicName, TopicPartition};
use tokio::task::JoinSet;

use super::CORRELATION_ID;
use super::questions::Questions;
use crate::template::Received;

/// A question without an answer for so long has the topic looked at: the answer may be in a partition that is new.
const PATIENCE: Duration = Duration::from_secs(1);

/// What reads, on the runtime that it was started on; it ends with this value.
pub(super) struct Reader {
    questions: Arc<Questions>,
    _task: JoinSet<()>,
}

impl Reader {
    /// Reads from the topic's end on when this returns.
    pub(super) async fn start(client: &Client, topic: TopicName) -> Result<Self> {
        let count = count(client, topic).await?;
        let ends: Vec<_> = partitions(topic, 0..count).map(|partition| (partition, StartAt::End)).collect();
        let mut from = Vec::new();
        for (partition, end) in client.admin().list_offsets(&ends).await? {
            from.push((partition, StartAt::Offset(end?)));
        }
        let questions = Arc::new(Questions::default());
        let consumers = JoinSet::new();
        let client = client.clone();
        let mut reading = Reading { client, topic, count, questions: Arc::clone(&questions), consumers };
        reading.read(from)?;
        let mut task = JoinSet::new();
        task.spawn(reading.run());
        Ok(Self { questions, _task: task })
    }

    pub(super) fn questions(&self) -> Arc<Questions> {
        Arc::clone(&self.questions)
    }
}

/// The reader's task.
struct Reading {
    client: Client,
    topic: TopicName,
    /// How many partitions are read.
    count: i32,
    questions: Arc<Questions>,
    /// One for the partitions of the beginning, and one each time that there were more.
    consumers: JoinSet<Error>,
}

impl Reading {
    async fn run(mut self) {
        loop {
            let Self { client, topic, count, questions, consumers } = &mut self;
            tokio::select! {
                Some(ended) = consumers.join_next() => {
                    let why = ended.unwrap_or(Error::Closed);
                    tracing::error!(%topic, error = %why, "answers are not read any more; the next request starts anew");
                    return questions.end(why);
                }
                more = grown(client, *topic, *count, questions) => self.grow(more),
            }
        }
    }

    /// Nobody could have seen the records of a partition that is new: it is read from its beginning.
    fn grow(&mut self, count: i32) {
        let topic = self.topic;
        let new = partitions(topic, self.count..count).map(|partition| (partition, StartAt::Beginning));
        match self.read(new.collect()) {
            Ok(()) => {
                tracing::info!(%topic, partitions = count, "the reply topic has more partitions");
                self.count = count;
            }
            Err(error) => tracing::warn!(%topic, %error, "reading answers in new partitions"),
        }
    }

    fn read(&mut self, from: Vec<(TopicPartition, StartAt)>) -> Result<()> {
        let config = ConsumerConfig {
            auto_offset_reset: OffsetReset::Earliest,
            allow_auto_create_topics: false,
            ..ConsumerConfig::new(Subscription::Partitions(from))
        };
        let consumer = self.client.consumer(config)?;
        self.consumers.spawn(consume(consumer, self.topic, Arc::clone(&self.questions)));
        Ok(())
    }
}

/// The runtime drops the task when it goes, and nothing else tells those that wait.
impl Drop for Reading {
    fn drop(&mut self) {
        let why = "the tokio runtime that read them has gone, the next request starts on its own";
        self.questions.end(Error::Config(why.to_owned()));
    }
}

/// How many partitions there are, when there are more than `known`: looked for only while questions lack their answers.
async fn grown(client: &Client, topic: TopicName, known: i32, questions: &Questions) -> i32 {
    loop {
        questions.asked().await;
        tokio::time::sleep(PATIENCE).await;
        while questions.are_missing_answers(PATIENCE) {
            match count(client, topic).await {
                Ok(count) if count > known => return count,
                Ok(_) => {}
                Err(error) => tracing::warn!(%topic, %error, "looking for new partitions"),
            }
            tokio::time::sleep(PATIENCE).await;
        }
    }
}

async fn count(client: &Client, topic: TopicName) -> Result<i32> {
    let described = client.admin().describe_topics(&[topic.as_str()]).await?;
    let found = described.get(&topic);
    let count = found.filter(|found| found.error.is_none()).map_or(0, |found| found.partitions.len());
    if count == 0 {
        let code = found.and_then(|found| found.error);
        let why = code.map_or_else(|| "it has no partitions".to_owned(), |code| code.to_string());
        return Err(Error::Config(format!(
            "it cannot be read ({why}): declare it under kafka-runtime.topics"
        )));
    }
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

fn partitions(topic: TopicName, numbers: std::ops::Range<i32>) -> impl Iterator<Item = TopicPartition> {
    numbers.map(move |number| TopicPartition::new(topic, number))
}

/// Reads until the consumer ends, and says why.
async fn consume(mut consumer: Consumer, topic: TopicName, questions: Arc<Questions>) -> Error {
    let mut why = Error::Closed;
    let mut streams = JoinSet::new();
    while let Some(event) = consumer.next().await {
        match event {
            ConsumerEvent::Assigned(assigned) => {
                for stream in assigned {
                    streams.spawn(answers(stream, Arc::clone(&questions)));
                }
            }
            ConsumerEvent::Problem(error) => tracing::warn!(%topic, %error, "reading answers"),
            ConsumerEvent::Fatal(error) => why = error,
            _ => {}
        }
    }
    why
}

/// Hands the answers of one partition to those that wait.
async fn answers(mut stream: PartitionStream, questions: Arc<Questions>) {
    let partition = stream.partition();
    while let Some(item) = stream.next().await {
        match item {
            StreamItem::Chunk(chunk) => {
                if let Err(error) = hand_out(chunk, partition, &questions) {
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
    questions: &Questions,
) -> std::result::Result<(), String> {
    while let Some(batch) = chunk.next_batch().map_err(|error| error.to_string())? {
        for record in batch.records() {
            let record = record.map_err(|error| error.to_string())?;
            if let Some(id) = record.headers.last(CORRELATION_ID).and_then(|header| header.value) {
                questions.answer(id, || Received::of(partition, &batch, &record));
            }
        }
    }
    Ok(())
}

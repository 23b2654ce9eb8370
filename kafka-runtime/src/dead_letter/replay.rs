//! Dead letters go back to where they failed.
//!
//! ```text
//!   dead-letter topic ──▶ selected? sent back before? ──▶ one transaction per page:
//!                                                          the records, to their origins
//!                                                          what is done, as the replay group's offset and metadata
//! ```

use std::collections::HashMap;

use kafka_client::config::StartAt;
use kafka_client::consumer::GroupMetadata;
use kafka_client::group::CommittedOffset;
use kafka_client::producer::{Outgoing, SendError, TransactionError, TransactionalProducer};
use kafka_client::{Client, Error, TopicName, TopicPartition};
use tracing::info;

use super::done::Done;
use super::headers::{self, Written};
use super::letter::{Facts, Origin};
use crate::config::{Config, ConfigErrors, TemplateSettings};
use crate::template::{Page, Received, Template, TemplateError};

/// Offsets of one transaction.
const PAGE: i64 = 500;

/// Which dead letters go back; all of a topic's by default. [`RunningApp::replay`](crate::RunningApp::replay) sends them.
///
/// Each goes to the topic it failed in first (to the same partition, where there is one), with its key, value and own
/// headers, without what the failure added, and with the header `kafka_runtime-replayed-from`.
///
/// ```no_run
/// # use kafka_runtime::prelude::*;
/// # use kafka_runtime::dead_letter::Replay;
/// # async fn example(app: RunningApp) -> Result<(), Box<dyn std::error::Error>> {
/// let done = app.replay(Replay::of("payments-dlt").error("BankError").header("tenant", "acme")).await?;
/// println!("{} sent back, {} had been before", done.sent, done.before);
/// # Ok(()) }
/// ```
///
/// What was sent back is not sent again, also by a later replay with another selection: the records and the note that
/// they are sent are one transaction. A crash in the middle leaves a transaction open, which is aborted when the replay
/// is run again, or after `transaction.timeout.ms`: readers of committed records see each record once. (Readers with
/// `isolation-level: read_uncommitted`, which is the default, may see up to 500 records of the aborted one too.)
/// Two replays of a topic at once fence each other: the older one fails.
///
/// The note is a committed offset of the group `<topic>-replay`, which has no members, so the brokers drop it
/// `offsets.retention.minutes` (7 days by default) after the last replay that sent something from its partition. A later replay
/// takes all that is still there for new. Where dead letters are kept for longer (`dead-letter.retention: 14d`), raise
/// `offsets.retention.minutes` above that, or say which ([`Replay::offsets`]).
#[derive(Debug, Clone)]
#[must_use = "nothing is sent back until it is given to `RunningApp::replay`"]
pub struct Replay {
    topic: String,
    group: Option<String>,
    partition: Option<i32>,
    from: i64,
    to: i64,
    headers: Vec<(String, Option<Vec<u8>>)>,
    errors: Vec<String>,
    destination: Option<String>,
    dry_run: bool,
}

/// What became of the dead letters that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Replayed {
    /// Sent back (in a dry run: would have been).
    pub sent: u64,
    /// Had been sent back before.
    pub before: u64,
    /// Not selected.
    pub left: u64,
    /// Selected, but nothing says where they come from: see [`Replay::to_topic`].
    pub homeless: u64,
}

/// Why a replay ended early. What it had sent back until then is noted: run it again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The cluster could not be asked, or refused.
    #[error("replay of {topic}: {source}")]
    Client {
        /// The dead-letter topic.
        topic: String,
        /// Why.
        source: Error,
    },
    /// A topic does not exist.
    #[error("replay: topic {0} does not exist")]
    NoTopic(String),
    /// The dead letters cannot be read.
    #[error("replay: {0}")]
    Read(#[from] TemplateError),
    /// A record was not written; its page was aborted.
    #[error("replay of {partition} at offset {offset}: {source}")]
    Send {
        /// The dead letter's partition.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// Why.
        source: SendError,
    },
    /// The transaction could not be committed; its page was aborted.
    #[error("replay: {0}")]
    Transaction(#[from] TransactionError),
    /// The selections leave so many gaps that it cannot be noted any more what was sent back.
    #[error(
        "replay of {partition} stopped at offset {offset}: what was sent back lies too scattered to be noted; replay what lies between, by a range of offsets"
    )]
    Scattered {
        /// The dead letters' partition.
        partition: TopicPartition,
        /// Where it stopped.
        offset: i64,
    },
}

impl Replay {
    /// All dead letters of `topic`.
    pub fn of(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            group: None,
            partition: None,
            from: 0,
            to: i64::MAX,
            headers: Vec::new(),
            errors: Vec::new(),
            destination: None,
            dry_run: false,
        }
    }

    /// Only those of this partition.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Only those at these offsets of the dead-letter topic.
    pub fn offsets(mut self, offsets: std::ops::Range<i64>) -> Self {
        (self.from, self.to) = (offsets.start, offsets.end);
        self
    }

    /// Only those with a header of this name and value; of several selections all must hold.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), Some(value.as_ref().to_vec())));
        self
    }

    /// Only those with a header of this name.
    pub fn with_header(mut self, name: impl Into<String>) -> Self {
        self.headers.push((name.into(), None));
        self
    }

    /// Only those whose error has this type (the last part of its path is enough), or these words in its message.
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.errors.push(error.into());
        self
    }

    /// Sends them to this topic instead of where they failed.
    pub fn to_topic(mut self, topic: impl Into<String>) -> Self {
        self.destination = Some(topic.into());
        self
    }

    /// Where it is noted what was sent back: a consumer group, and the transactional id. **(`<topic>-replay`)** The brokers keep
    /// the note for as long as a group's offsets (`offsets.retention.minutes`); see [`Replay`].
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Counts only, beside a replay that runs too.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Sends them with a client of its own, as `config` says (`spring.kafka.producer`): for programs that run no
    /// application, whose listeners need not be linked.
    ///
    /// # Errors
    /// See [`ReplayError`]; what was sent back until then is noted.
    pub async fn run(self, config: &Config) -> Result<Replayed, ReplayError> {
        let settings = config.template()?;
        let failed = |source| ReplayError::Client { topic: self.topic.clone(), source };
        let client = Client::new(settings.client.clone()).map_err(failed)?;
        let template = Template::new(client.clone(), &settings, Vec::new()).map_err(failed)?;
        run(&self, &client, &template, &settings).await
    }

    fn selects(&self, letter: &Received) -> bool {
        let facts = Facts::read(&|name| last(letter, name));
        let has_headers = self.headers.iter().all(|(name, value)| match value {
            Some(value) => last(letter, name) == Some(value.as_slice()),
            None => letter.headers().any(|(known, _)| known == name),
        });
        has_headers && self.errors.iter().all(|wanted| facts.is_about(wanted))
    }
}

fn last<'a>(letter: &'a Received, name: &str) -> Option<&'a [u8]> {
    letter.headers().filter(|(known, _)| *known == name).last()?.1
}

/// A replay at work.
struct Running<'a> {
    replay: &'a Replay,
    client: &'a Client,
    template: &'a Template,
    group: String,
    producer: TransactionalProducer,
    /// How many partitions the destinations have.
    destinations: HashMap<TopicName, i32>,
    done: Replayed,
}

/// Sends back what `replay` selects.
pub(crate) async fn run(
    replay: &Replay,
    client: &Client,
    template: &Template,
    settings: &TemplateSettings,
) -> Result<Replayed, ReplayError> {
    let failed = |source| ReplayError::Client { topic: replay.topic.clone(), source };
    let group = replay.group.clone().unwrap_or_else(|| format!("{}-replay", replay.topic));
    let config = super::careful(&settings.producer);
    let producer = client.transactional_producer(config, &group).map_err(failed)?;
    if !replay.dry_run {
        // Before anything is read: what an earlier run left open is aborted by that, and one that still runs is fenced.
        producer.prepare().await?;
    }
    let mut running = Running {
        replay,
        client,
        template,
        group,
        producer,
        destinations: HashMap::new(),
        done: Replayed::default(),
    };
    let partitions = running.partitions(TopicName::new(&replay.topic)).await?;
    for partition in (0..partitions).filter(|number| replay.partition.is_none_or(|only| only == *number)) {
        running.partition(TopicPartition::new(replay.topic.as_str(), partition)).await?;
    }
    // Nothing is under way.
    let _ = running.producer.close(settings.close_timeout).await;
    info!(topic = replay.topic, done = ?running.done, dry_run = replay.dry_run, "replayed");
    Ok(running.done)
}

impl Running<'_> {
    fn failed(&self, source: Error) -> ReplayError {
        ReplayError::Client { topic: self.replay.topic.clone(), source }
    }

    async fn partitions(&mut self, topic: TopicName) -> Result<i32, ReplayError> {
        if let Some(known) = self.destinations.get(&topic) {
            return Ok(*known);
        }
        let described = self.client.admin().describe_topics(&[topic.as_str()]).await;
        let described = described.map_err(|error| self.failed(error))?;
        let found = described.get(&topic).filter(|topic| topic.error.is_none());
        let count = found.and_then(|topic| i32::try_from(topic.partitions.len()).ok());
        let count = count.ok_or_else(|| ReplayError::NoTopic(topic.as_str().to_owned()))?;
        self.destinations.insert(topic, count);
        Ok(count)
    }

    async fn offset(&self, partition: TopicPartition, at: StartAt) -> Result<i64, ReplayError> {
        let found = self.client.admin().list_offsets(&[(partition, at)]).await;
        let found = found.map_err(|error| self.failed(error))?.pop();
        found.map_or(Err(Error::Closed), |(_, offset)| offset).map_err(|error| self.failed(error))
    }

    async fn partition(&mut self, partition: TopicPartition) -> Result<(), ReplayError> {
        let first = self.offset(partition, StartAt::Beginning).await?;
        // What fails again while this runs is left for the next time.
        let end = self.offset(partition, StartAt::End).await?.min(self.replay.to);
        let committed = self.client.admin().committed(&self.group, &[partition]).await;
        let committed = committed.map_err(|error| self.failed(error))?.pop().and_then(|(_, found)| found);
        let committed = committed.as_ref().map(|found| (found.offset, found.metadata.as_str()));
        let mut done = Done::new(first, committed);
        let mut next = first.max(self.replay.from);
        self.done.before += u64::try_from(done.below().min(end) - next).unwrap_or(0);
        next = next.max(done.below());
        while next < end {
            let to = next.saturating_add(PAGE).min(end);
            let page = self.template.receive(partition.topic.as_str(), partition.partition, next..to).await?;
            done = self.page(partition, &page, next..to, done).await?;
            next = to;
        }
        Ok(())
    }

    async fn page(
        &mut self,
        partition: TopicPartition,
        page: &Page,
        offsets: std::ops::Range<i64>,
        mut done: Done,
    ) -> Result<Done, ReplayError> {
        let mut chosen = Vec::new();
        let mut next = offsets.start;
        for letter in page.iter() {
            // Where there is no record (compaction, transactions), there is nothing to send back.
            done.add(next..letter.offset());
            next = letter.offset() + 1;
            if done.contains(letter.offset()) {
                self.done.before += 1;
            } else if !self.replay.selects(letter) {
                self.done.left += 1;
            } else if let Some(home) = self.home(letter).await? {
                chosen.push((letter, home));
            } else {
                self.done.homeless += 1;
            }
        }
        done.add(next..offsets.end);
        chosen.iter().for_each(|(letter, _)| done.add(letter.offset()..letter.offset() + 1));
        if !chosen.is_empty() && !self.replay.dry_run {
            let offset = offsets.start;
            let noted = done.committed().ok_or(ReplayError::Scattered { partition, offset })?;
            self.send(partition, &chosen, noted).await?;
        }
        self.done.sent += u64::try_from(chosen.len()).unwrap_or(0);
        Ok(done)
    }

    /// Where a letter goes.
    async fn home(&mut self, letter: &Received) -> Result<Option<(TopicName, Option<i32>)>, ReplayError> {
        let origin = Origin::read(&|name| last(letter, name));
        let Some(topic) = self.replay.destination.as_deref().or(origin.topic()) else { return Ok(None) };
        let topic = TopicName::new(topic);
        let partitions = self.partitions(topic).await?;
        Ok(Some((topic, origin.partition().filter(|number| (0..partitions).contains(number)))))
    }

    async fn send(
        &self,
        partition: TopicPartition,
        chosen: &[(&Received, (TopicName, Option<i32>))],
        (offset, metadata): (i64, String),
    ) -> Result<(), ReplayError> {
        let transaction = self.producer.begin().await?;
        for (letter, (topic, number)) in chosen {
            let written = own_headers(letter);
            let headers: Vec<_> =
                written.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            let record = Outgoing {
                topic: *topic,
                partition: *number,
                timestamp: None,
                key: letter.key(),
                value: letter.value(),
                headers: &headers,
            };
            // Its outcome is the transaction's.
            let enqueued = transaction.enqueue(record).await;
            drop(enqueued.map_err(|source| ReplayError::Send {
                partition,
                offset: letter.offset(),
                source,
            })?);
        }
        let committed = CommittedOffset { offset, leader_epoch: -1, metadata };
        transaction
            .send_offsets(vec![(partition, committed)], GroupMetadata::nobody(self.group.clone()))
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// The record's own headers, and where it was read.
fn own_headers(letter: &Received) -> Written {
    let own = letter.headers().filter(|(name, _)| !headers::is_of_failure(name));
    let own = own.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
    let from = format!("{}@{}", letter.partition(), letter.offset());
    own.chain(std::iter::once((headers::REPLAYED.to_owned(), Some(from.into_bytes())))).collect()
}

//! The task that keeps the picture fresh.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName as WireTopic};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::known::{Agenda, Known, Round};
use super::{ClusterMetadata, merge};
use crate::error::{At, Error, Result};
use crate::ids::TopicName;
use crate::net::{Answer, Connection, Connections, NEXT_AFTER, Purpose};

/// The same trouble is not told again before this.
const SILENCE: Duration = Duration::from_secs(10);

/// Runs until it is aborted.
pub(super) async fn run(known: Arc<Known>) {
    let client_id = StrBytes::from_string(known.config().client_id.clone());
    let connections = Connections::new(Arc::clone(&known), client_id);
    let mut trouble = Trouble::default();
    let (mut last, mut haste) = (Last::Complete, Haste::Left);
    known.demanded(0).await;
    loop {
        let agenda = known.agenda();
        let outcome = take(&known, &connections, &agenda).await;
        last = last.then(&outcome);
        let failure = outcome.err();
        trouble.tell(failure.as_ref(), known.seams().clock.now());
        known.finish(Round { served: agenda.demand, failure });
        let finished = known.seams().clock.now();
        pause(&known, agenda.demand, last, haste).await;
        haste = Haste::after(known.seams().clock.now() - finished, known.config().retry_backoff.max);
    }
}

/// Whether the next round may follow at once.
#[derive(Debug, Clone, Copy)]
enum Haste {
    Left,
    Spent,
}

impl Haste {
    /// What a pause leaves of it: quiet restores it.
    fn after(pause: Duration, quiet: Duration) -> Self {
        if pause >= quiet { Self::Left } else { Self::Spent }
    }
}

/// Waits until the next round is due: by age, by demand, or because the last one failed or left something open.
/// Rounds keep a back-off's distance, but for the second one after a quiet time: what the first is taken for often names
/// what is asked for next (at the start the topics, and the broker that is the group's coordinator).
async fn pause(known: &Known, served: u64, last: Last, haste: Haste) {
    let config = known.config();
    let unit = known.seams().rng.unit();
    let distance = match haste {
        Haste::Left => Duration::ZERO,
        Haste::Spent => config.retry_backoff.wait(0, unit),
    };
    match last {
        Last::Failed(before) => tokio::time::sleep(config.retry_backoff.wait(before, unit)).await,
        Last::Complete | Last::Incomplete(_) => {
            let age = match last {
                _ if known.misses_a_broker() => config.retry_backoff.wait(0, unit),
                Last::Incomplete(before) => config.retry_backoff.wait(before, unit),
                _ => config.metadata_max_age,
            };
            tokio::time::sleep(distance).await;
            tokio::select! {
                biased;
                () = known.demanded(served) => {}
                () = tokio::time::sleep(age.saturating_sub(distance)) => {}
            }
        }
    }
}

/// How the last round went, and how many before it went the same way.
#[derive(Debug, Clone, Copy)]
enum Last {
    Complete,
    /// Something is missing that comes by itself.
    Incomplete(u32),
    Failed(u32),
}

impl Last {
    fn then(self, outcome: &Result<bool>) -> Self {
        match (outcome, self) {
            (Ok(true), _) => Self::Complete,
            (Ok(false), Self::Incomplete(before)) => Self::Incomplete(before.saturating_add(1)),
            (Ok(false), _) => Self::Incomplete(0),
            (Err(_), Self::Failed(before)) => Self::Failed(before.saturating_add(1)),
            (Err(_), _) => Self::Failed(0),
        }
    }
}

/// Takes a new picture; whether nothing is missing in it.
async fn take(known: &Known, connections: &Connections, agenda: &Agenda) -> Result<bool> {
    let last = known.snapshot();
    let topics = (!agenda.all).then(|| agenda.topics.clone());
    let deadline = known.config().request_timeout;
    let request = move |version| request(topics.as_deref(), false, version);
    let (connection, answer) = connections.ask(Purpose::Control, deadline, NEXT_AFTER, request).await?;
    let mut picture = judged(known, &last, checked(answer, &connection))?;
    let missing: Vec<_> =
        agenda.to_create.iter().copied().filter(|topic| !picture.topics.contains_key(topic)).collect();
    if !missing.is_empty() {
        let created = metadata(&connection, deadline, Some(&missing), true).await;
        let created = judged(known, &last, created)?;
        merge::add_topics(&mut picture, created);
    }
    for topic in merge::recreated(&last, &picture) {
        tracing::warn!(%topic, "topic was deleted and created again");
    }
    let complete = !merge::is_incomplete(&picture, agenda.topics.iter().chain(&agenda.to_create).copied());
    known.publish(picture);
    Ok(complete)
}

/// An answer as a picture.
fn judged(
    known: &Known,
    last: &ClusterMetadata,
    answer: Result<MetadataResponse>,
) -> Result<ClusterMetadata> {
    match answer {
        Ok(response) => Ok(merge::picture(&response, last)),
        Err(error) => {
            if error.code().is_some() {
                // KIP-1102: the brokers that we know are no use any more; the bootstrap list is.
                known.publish(ClusterMetadata { brokers: HashMap::default(), ..last.clone() });
            }
            Err(error)
        }
    }
}

/// Asks for these topics, or for all; with `create`, those that are missing are created if the broker does that.
pub(crate) async fn metadata(
    connection: &Connection,
    deadline: Duration,
    topics: Option<&[TopicName]>,
    create: bool,
) -> Result<MetadataResponse> {
    let answer =
        connection.call::<MetadataRequest>(deadline, |version| request(topics, create, version)).await?;
    checked(answer, connection)
}

fn request(topics: Option<&[TopicName]>, create: bool, version: i16) -> MetadataRequest {
    let wanted = topics.map(|topics| {
        let wanted = |topic: &TopicName| {
            MetadataRequestTopic::default()
                .with_name(Some(WireTopic(StrBytes::from_static_str(topic.as_str()))))
        };
        topics.iter().map(wanted).collect()
    });
    // Before version 4 brokers create what they are asked for, if they create topics at all.
    let create = version < 4 || create;
    MetadataRequest::default().with_topics(wanted).with_allow_auto_topic_creation(create)
}

fn checked(answer: Answer<MetadataResponse>, connection: &Connection) -> Result<MetadataResponse> {
    let response = answer.body;
    let code = match ResponseError::try_from_code(response.error_code) {
        // A broker that is just starting may know of none.
        None if response.brokers.is_empty() => ResponseError::LeaderNotAvailable,
        None => return Ok(response),
        Some(code) => code,
    };
    Err(Error::Broker { api: "Metadata", code, at: At::Broker(connection.peer().to_owned()) })
}

/// What was told of a failure that goes on.
#[derive(Debug, Default)]
struct Trouble {
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Trouble {
    fn tell(&mut self, failure: Option<&Error>, now: Instant) {
        match (failure, self.since) {
            (None, None) => {}
            (None, Some(since)) => {
                tracing::info!(after = ?now.duration_since(since), "brokers answer again");
                *self = Self::default();
            }
            (Some(error), since) => {
                let since = *self.since.insert(since.unwrap_or(now));
                if self.told.is_none_or(|told| now.duration_since(told) >= SILENCE) {
                    tracing::warn!(%error, "for" = ?now.duration_since(since), "no cluster metadata; trying again");
                    self.told = Some(now);
                }
            }
        }
    }
}

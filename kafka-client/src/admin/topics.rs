//! Topics.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, TopicName as WireTopic,
};
use kafka_protocol::protocol::{Request, StrBytes};

use super::NewTopic;
use crate::cluster::{self, ClusterMetadata};
use crate::error::{At, Error, Result};
use crate::ids::TopicName;
use crate::net::{Pool, Purpose, Retry};

/// What the controller said of one topic: its name, and its code and words.
type Said = (String, i16, Option<StrBytes>);

/// How much longer than the broker's own timeout an answer may take.
const MARGIN: Duration = Duration::from_secs(5);

pub(super) async fn create(
    pool: &Pool,
    topics: &[NewTopic],
    timeout: Duration,
) -> Result<Vec<(String, Result<()>)>> {
    let wanted: Vec<_> = topics.iter().map(creatable).collect();
    let build = |timeout| CreateTopicsRequest::default().with_topics(wanted.clone()).with_timeout_ms(timeout);
    let said = on_controller(pool, "CreateTopics", timeout, build, |response| {
        let said = |topic: &kafka_protocol::messages::create_topics_response::CreatableTopicResult| {
            (topic.name.to_string(), topic.error_code, topic.error_message.clone())
        };
        response.topics.iter().map(said).collect()
    });
    Ok(in_order("CreateTopics", topics.iter().map(|topic| topic.name.as_str()), &said.await?))
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let config = |(name, value): (&String, &String)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string(name.clone()))
            .with_value(Some(StrBytes::from_string(value.clone())))
    };
    // -1 is the broker's default (KIP-464, Kafka 2.4).
    CreatableTopic::default()
        .with_name(wire_name(&topic.name))
        .with_num_partitions(topic.partitions.unwrap_or(-1))
        .with_replication_factor(topic.replication.unwrap_or(-1))
        .with_configs(topic.config.iter().map(config).collect())
}

pub(super) async fn delete(
    pool: &Pool,
    topics: &[String],
    timeout: Duration,
) -> Result<Vec<(String, Result<()>)>> {
    let wanted: Vec<_> = topics.iter().map(|topic| wire_name(topic)).collect();
    let build =
        |timeout| DeleteTopicsRequest::default().with_topic_names(wanted.clone()).with_timeout_ms(timeout);
    let said = on_controller(pool, "DeleteTopics", timeout, build, |response| {
        let said = |topic: &kafka_protocol::messages::delete_topics_response::DeletableTopicResult| {
            let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
            (name, topic.error_code, topic.error_message.clone())
        };
        response.responses.iter().map(said).collect()
    });
    Ok(in_order("DeleteTopics", topics.iter().map(String::as_str), &said.await?))
}

pub(super) async fn extend(pool: &Pool, topic: &str, total: i32, timeout: Duration) -> Result<()> {
    let wanted =
        CreatePartitionsTopic::default().with_name(wire_name(topic)).with_count(total).with_assignments(None);
    let build = |timeout| {
        CreatePartitionsRequest::default().with_topics(vec![wanted.clone()]).with_timeout_ms(timeout)
    };
    let said = on_controller(pool, "CreatePartitions", timeout, build, |response| {
        let said =
            |topic: &kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult| {
                (topic.name.to_string(), topic.error_code, topic.error_message.clone())
            };
        response.results.iter().map(said).collect()
    });
    let mut results = in_order("CreatePartitions", std::iter::once(topic), &said.await?);
    results.pop().map_or(Ok(()), |(_, result)| result)
}

/// Asks whoever is controller until it is.
pub(super) async fn on_controller<R: Request>(
    pool: &Pool,
    api: &'static str,
    timeout: Duration,
    build: impl Fn(i32) -> R,
    said: impl Fn(&R::Response) -> Vec<Said>,
) -> Result<Vec<Said>> {
    let mut retry = Retry::within(pool.cluster(), timeout);
    loop {
        let attempt = async {
            let millis = i32::try_from(retry.left().as_millis()).unwrap_or(i32::MAX);
            let controller = controller(pool).await?;
            let answer = controller.call::<R>(retry.left() + MARGIN, |_| build(millis)).await?;
            let said = said(&answer.body);
            // It says so of all of them or of none.
            let moved = |(_, code, _): &Said| *code == ResponseError::NotController.code();
            match said.iter().any(moved) {
                false => Ok(said),
                true => Err(Error::Broker {
                    api,
                    code: ResponseError::NotController,
                    at: At::Broker(controller.peer().to_owned()),
                }),
            }
        };
        let outcome = attempt.await;
        pool.cluster().refresh();
        match outcome {
            Ok(said) => return Ok(said),
            Err(error) => retry.after(error).await?,
        }
    }
}

async fn controller(pool: &Pool) -> Result<std::sync::Arc<crate::net::Connection>> {
    let known = pool.cluster().snapshot();
    let picture = if known.controller.is_some() { known } else { pool.cluster().refreshed().await? };
    match picture.controller {
        Some(id) => pool.broker(id, Purpose::Control).await,
        // With KRaft any broker forwards.
        None => pool.any(Purpose::Control).await,
    }
}

pub(super) fn in_order<'a>(
    api: &'static str,
    names: impl Iterator<Item = &'a str>,
    said: &[Said],
) -> Vec<(String, Result<()>)> {
    let result = |name: &str| {
        let found = said.iter().find(|(topic, ..)| topic == name);
        let (code, words) = match found {
            Some((_, code, words)) => (*code, words.as_deref()),
            None => (ResponseError::UnknownServerError.code(), Some("nothing was said of this topic")),
        };
        match ResponseError::try_from_code(code) {
            None => Ok(()),
            Some(code) => Err(Error::answered(api, code, At::Topic(TopicName::new(name)), words)),
        }
    };
    names.map(|name| (name.to_owned(), result(name))).collect()
}

/// What the cluster says of these topics, or of all.
pub(super) async fn describe(pool: &Pool, topics: Option<&[TopicName]>) -> Result<ClusterMetadata> {
    let timeout = pool.cluster().config().request_timeout;
    let mut retry = Retry::within(pool.cluster(), timeout);
    loop {
        let attempt = async {
            let connection = pool.any(Purpose::Control).await?;
            cluster::metadata(&connection, timeout, topics, false).await
        };
        match attempt.await {
            Ok(response) => return Ok(cluster::picture(&response, &ClusterMetadata::default())),
            Err(error) => retry.after(error).await?,
        }
    }
}

fn wire_name(name: &str) -> WireTopic {
    WireTopic(StrBytes::from_string(name.to_owned()))
}

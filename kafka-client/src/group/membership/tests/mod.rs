//! Tests of the state machine: scenes with one member, one member against anything, and whole groups.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::*;
use crate::cluster::{ClusterMetadata, PartitionMetadata, TopicMetadata};
use crate::config::Subscription;
use crate::error::Result;
use crate::group::protocol::{MemberAssignment, MemberSubscription, VERSION};

mod asking;
mod chaos;
mod coordinator;
mod groups;
mod scene;
mod scenes;

const SECOND: Duration = Duration::from_secs(1);

fn settings(assignors: &[Assignor], subscription: &Subscription) -> Settings {
    let mut group = GroupConfig::new("g");
    group.session_timeout = 10 * SECOND;
    group.rebalance_timeout = 60 * SECOND;
    group.assignors = assignors.to_vec();
    let retry = Backoff { initial: SECOND / 10, max: SECOND };
    Settings { group, interest: Interest::of(subscription.clone()).unwrap(), rack: None, retry }
}

fn topics(names: &[&str]) -> Subscription {
    Subscription::Topics(names.iter().map(ToString::to_string).collect())
}

/// A picture of topics with so many partitions each.
fn picture(topics: &[(&str, usize)]) -> Arc<ClusterMetadata> {
    let partition = PartitionMetadata { leader: Some(1), leader_epoch: 0, replicas: vec![1], isr: vec![1] };
    let topics = topics.iter().map(|(name, count)| {
        let partitions = vec![partition.clone(); *count];
        (
            TopicName::new(name),
            TopicMetadata { id: 0, internal: name.starts_with("__"), partitions, error: None },
        )
    });
    Arc::new(ClusterMetadata { topics: topics.collect(), ..ClusterMetadata::default() })
}

fn partitions(topic: &str, numbers: impl IntoIterator<Item = i32>) -> Vec<TopicPartition> {
    numbers.into_iter().map(|number| TopicPartition::new(topic, number)).collect()
}

fn refused(code: ResponseError) -> Error {
    Error::Broker { api: "Test", code, at: At::Group("g".into()) }
}

fn disconnected() -> Error {
    Error::Disconnected { broker: "b:1".into(), reason: "test".into() }
}

fn assignment(partitions: &[TopicPartition]) -> Bytes {
    MemberAssignment { partitions: partitions.to_vec(), user_data: None }.encode(VERSION).unwrap()
}

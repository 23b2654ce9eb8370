//! Which topics a member wants, and what the cluster knows of topics.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use regex_lite::Regex;

use crate::cluster::ClusterMetadata;
use crate::config::Subscription;
use crate::error::{Error, Result};
use crate::ids::TopicName;

/// What a member subscribes to.
#[derive(Debug, Clone)]
pub(in crate::group) enum Interest {
    /// These, ascending.
    Topics(Vec<TopicName>),
    /// Those whose whole name matches. The picture has to show all topics then.
    Pattern(Regex),
}

/// Numbers of partitions.
pub(super) type Counts = BTreeMap<TopicName, usize>;

impl Interest {
    /// # Errors
    /// What is no regular expression; fixed partitions, which need no membership.
    pub(in crate::group) fn of(subscription: Subscription) -> Result<Self> {
        match subscription {
            Subscription::Topics(names) => {
                let mut topics: Vec<_> = names.iter().map(|name| TopicName::new(name)).collect();
                topics.sort_unstable();
                topics.dedup();
                Ok(Self::Topics(topics))
            }
            Subscription::Pattern(pattern) => {
                let words = |error| format!("topic pattern '{pattern}' is no regular expression: {error}");
                let whole = Regex::new(&format!("^(?:{pattern})$"));
                Ok(Self::Pattern(whole.map_err(|error| Error::Config(words(error)))?))
            }
            Subscription::Partitions(_) => {
                Err(Error::Config("fixed partitions are read without a membership".into()))
            }
        }
    }

    /// The topics wanted at the moment, ascending; none before a pattern has a picture to look at.
    pub(in crate::group) fn wanted(&self, picture: Option<&ClusterMetadata>) -> Vec<TopicName> {
        match self {
            Self::Topics(topics) => topics.clone(),
            Self::Pattern(pattern) => {
                let topics = picture.into_iter().flat_map(|picture| &picture.topics);
                let mut wanted: Vec<_> = topics
                    .filter(|(name, topic)| {
                        !topic.internal && !is_gone(topic.error) && pattern.is_match(name.as_str())
                    })
                    .map(|(name, _)| *name)
                    .collect();
                wanted.sort_unstable();
                wanted
            }
        }
    }

    /// Whether a leader may give this member partitions of a topic.
    pub(in crate::group) fn admits(&self, topic: TopicName) -> bool {
        match self {
            Self::Topics(topics) => topics.binary_search(&topic).is_ok(),
            Self::Pattern(pattern) => pattern.is_match(topic.as_str()),
        }
    }

    /// How many partitions a topic has, if that is known: while it has no leader, or we no permission, nothing is.
    pub(super) fn partitions(&self, picture: Option<&ClusterMetadata>, topic: TopicName) -> Option<usize> {
        match (picture?.topics.get(&topic), self) {
            (Some(known), _) if is_gone(known.error) => Some(0),
            (Some(known), _) => known.error.is_none().then_some(known.partitions.len()),
            // The picture shows all there are.
            (None, Self::Pattern(_)) => Some(0),
            (None, Self::Topics(_)) => None,
        }
    }
}

fn is_gone(error: Option<ResponseError>) -> bool {
    matches!(error, Some(ResponseError::UnknownTopicOrPartition))
}

//! What trouble is worth telling: not the same one again and again, and not what passes in a moment.

use std::collections::HashMap;
use std::mem::Discriminant;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use crate::cluster::ClusterMetadata;
use crate::error::{At, Error};
use crate::ids::TopicName;

/// The same trouble is not told again before this.
const SILENCE: Duration = Duration::from_secs(10);
/// A topic may be missing for so long: it is being created.
const GRACE: Duration = Duration::from_secs(2);

/// What makes trouble the same.
type Kind = (Discriminant<Error>, Option<ResponseError>, Option<TopicName>);

#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: Vec<(Kind, Instant)>,
    /// Topics that cannot be read, and since when.
    topics: HashMap<TopicName, (ResponseError, Instant)>,
}

impl Complaints {
    /// Whether to tell of it now.
    pub(super) fn admit(&mut self, error: &Error, now: Instant) -> bool {
        let topic = match error {
            Error::Broker { at: At::Topic(topic), .. } => Some(*topic),
            _ => None,
        };
        let kind = (std::mem::discriminant(error), error.code(), topic);
        self.told.retain(|(_, at)| now.duration_since(*at) < SILENCE);
        let new = !self.told.iter().any(|(told, _)| *told == kind);
        if new {
            self.told.push((kind, now));
        }
        new
    }

    /// A new picture: which of these topics cannot be read?
    pub(super) fn look_at(&mut self, picture: &ClusterMetadata, topics: &[TopicName], now: Instant) {
        for topic in topics {
            match picture.topics.get(topic).and_then(|known| known.error) {
                Some(code) => {
                    let since = self.topics.get(topic).map_or(now, |(_, since)| *since);
                    self.topics.insert(*topic, (code, since));
                }
                None => {
                    self.topics.remove(topic);
                }
            }
        }
    }

    /// Topics that could not be read for a while, as far as they are to be told of now.
    pub(super) fn topics(&mut self, now: Instant) -> Vec<Error> {
        let mut topics: Vec<_> =
            self.topics.iter().filter(|(_, (_, since))| now.duration_since(*since) >= GRACE).collect();
        topics.sort_unstable_by_key(|(topic, _)| **topic);
        let errors = topics.into_iter().map(|(topic, (code, _))| Error::Broker {
            api: "Metadata",
            code: *code,
            at: At::Topic(*topic),
        });
        let errors: Vec<_> = errors.collect();
        errors.into_iter().filter(|error| self.admit(error, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::TopicMetadata;

    const SECOND: Duration = Duration::from_secs(1);

    fn refused(code: ResponseError) -> Error {
        Error::Broker { api: "JoinGroup", code, at: At::Group("g".into()) }
    }

    #[test]
    fn the_same_trouble_is_told_once_in_a_while() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        let (one, other) =
            (refused(ResponseError::NotCoordinator), refused(ResponseError::UnknownServerError));
        assert!(complaints.admit(&one, now));
        assert!(!complaints.admit(&one, now + 9 * SECOND));
        assert!(complaints.admit(&other, now + 9 * SECOND));
        assert!(complaints.admit(&one, now + 10 * SECOND));
    }

    #[test]
    fn a_missing_topic_is_told_of_when_it_stays_away() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        let topic = TopicName::new("missing");
        let mut picture = ClusterMetadata::default();
        let error = Some(ResponseError::UnknownTopicOrPartition);
        picture.topics.insert(topic, TopicMetadata { id: 0, internal: false, partitions: vec![], error });
        complaints.look_at(&picture, &[topic], now);
        assert_eq!(complaints.topics(now + SECOND).len(), 0);
        complaints.look_at(&picture, &[topic], now + SECOND);
        assert_eq!(complaints.topics(now + 2 * SECOND).len(), 1);
        assert_eq!(complaints.topics(now + 3 * SECOND).len(), 0);
        picture.topics.clear();
        complaints.look_at(&picture, &[topic], now + 13 * SECOND);
        assert_eq!(complaints.topics(now + 30 * SECOND).len(), 0);
    }
}

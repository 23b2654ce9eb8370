//! Fetch requests, written for the version that the connection speaks.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{FetchRequest, TopicName as WireName};
use kafka_protocol::protocol::StrBytes;

use super::Map;
use super::session::Delta;
use crate::config::IsolationLevel;
use crate::ids::TopicName;

/// From this version on topics are named by id.
pub(crate) const BY_ID: i16 = 13;
/// From this version on the reader's rack is told (KIP-392).
const WITH_RACK: i16 = 11;

/// What a request asks for beside partitions.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) max_wait_ms: i32,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    pub(crate) isolation: IsolationLevel,
    pub(crate) rack: StrBytes,
    /// Some topic has no id (an old cluster): topics have to be named.
    pub(crate) by_name: bool,
}

/// The request.
pub(crate) fn fetch_request(delta: &Delta, terms: &Terms, version: i16) -> FetchRequest {
    let mut request = FetchRequest::default();
    request.max_wait_ms = terms.max_wait_ms;
    request.min_bytes = terms.min_bytes;
    request.max_bytes = terms.max_bytes;
    request.isolation_level = isolation_code(terms.isolation);
    request.session_id = delta.session_id;
    request.session_epoch = delta.session_epoch;
    if version >= WITH_RACK {
        request.rack_id = terms.rack.clone();
    }
    request.topics = topics(delta, version);
    request.forgotten_topics_data = forgotten(delta, version);
    request
}

pub(crate) fn isolation_code(isolation: IsolationLevel) -> i8 {
    match isolation {
        IsolationLevel::ReadUncommitted => 0,
        IsolationLevel::ReadCommitted => 1,
    }
}

fn topics(delta: &Delta, version: i16) -> Vec<FetchTopic> {
    let partitions = delta.ask.iter().map(|(partition, asked)| {
        let mut entry = FetchPartition::default();
        entry.partition = partition.partition;
        entry.current_leader_epoch = asked.leader_epoch;
        entry.fetch_offset = asked.offset;
        entry.partition_max_bytes = asked.max_bytes;
        ((partition.topic, asked.topic_id), entry)
    });
    let topic = |(name, id): (TopicName, u128), partitions| {
        let mut topic = FetchTopic::default();
        if version >= BY_ID {
            topic.topic_id = wire_id(id);
        } else {
            topic.topic = wire_name(name);
        }
        topic.partitions = partitions;
        topic
    };
    grouped(partitions).into_iter().map(|(key, partitions)| topic(key, partitions)).collect()
}

fn forgotten(delta: &Delta, version: i16) -> Vec<ForgottenTopic> {
    // By name a topic created again is the same partition of the session: it was just asked for with new values,
    // and brokers forget after they ask.
    let asked_again: Map<_, ()> = if version >= BY_ID {
        Map::default()
    } else {
        delta.ask.iter().map(|(partition, _)| (*partition, ())).collect()
    };
    let partitions = delta
        .forget
        .iter()
        .filter(|(partition, _)| !asked_again.contains_key(partition))
        .map(|(partition, id)| ((partition.topic, *id), partition.partition));
    let topic = |(name, id): (TopicName, u128), partitions| {
        let mut topic = ForgottenTopic::default();
        if version >= BY_ID {
            topic.topic_id = wire_id(id);
        } else {
            topic.topic = wire_name(name);
        }
        topic.partitions = partitions;
        topic
    };
    grouped(partitions).into_iter().map(|(key, partitions)| topic(key, partitions)).collect()
}

/// Entries by key, keys in the order of their first appearance.
pub(crate) fn grouped<K: std::hash::Hash + Eq + Copy, E>(
    entries: impl Iterator<Item = (K, E)>,
) -> Vec<(K, Vec<E>)> {
    let mut places: Map<K, usize> = Map::default();
    let mut groups: Vec<(K, Vec<E>)> = Vec::new();
    for (key, entry) in entries {
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(entry),
            None => groups.push((key, vec![entry])),
        }
    }
    groups
}

pub(crate) fn wire_name(name: TopicName) -> WireName {
    WireName(StrBytes::from_static_str(name.as_str()))
}

/// A topic's id as the messages have it.
fn wire_id(id: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::session::Asked;
    use crate::ids::TopicPartition;

    fn terms() -> Terms {
        Terms {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1000,
            isolation: IsolationLevel::ReadCommitted,
            rack: StrBytes::from_static_str("here"),
            by_name: false,
        }
    }

    fn delta() -> Delta {
        let asked = |topic_id| Asked { topic_id, offset: 5, leader_epoch: 3, max_bytes: 10, turn: 1 };
        let orders = |number| TopicPartition::new("orders", number);
        Delta {
            session_id: 7,
            session_epoch: 2,
            ask: vec![
                (orders(0), asked(1)),
                (TopicPartition::new("clicks", 0), asked(2)),
                (orders(1), asked(1)),
            ],
            forget: vec![(orders(0), 9), (orders(2), 1)],
        }
    }

    #[test]
    fn topics_are_named_by_id_from_version_13_on() {
        let request = fetch_request(&delta(), &terms(), 13);
        let ids: Vec<_> = request.topics.iter().map(|topic| topic.topic_id.as_u128()).collect();
        assert_eq!(ids, [1, 2]);
        assert!(request.topics.iter().all(|topic| topic.topic.is_empty()));
        let numbers: Vec<_> = request.topics.iter().map(|t| t.partitions.len()).collect();
        assert_eq!(numbers, [2, 1]);
        let forgotten: Vec<_> = request
            .forgotten_topics_data
            .iter()
            .map(|t| (t.topic_id.as_u128(), t.partitions.clone()))
            .collect();
        assert_eq!(forgotten, [(9, vec![0]), (1, vec![2])]);
        assert_eq!((request.isolation_level, request.rack_id.as_str()), (1, "here"));
    }

    #[test]
    fn a_session_by_names_does_not_forget_what_it_asks_for() {
        let request = fetch_request(&delta(), &terms(), 10);
        assert_eq!(
            request.topics.iter().map(|topic| topic.topic.as_str()).collect::<Vec<_>>(),
            ["orders", "clicks"]
        );
        let forgotten: Vec<_> = request.forgotten_topics_data.iter().map(|t| t.partitions.clone()).collect();
        assert_eq!(forgotten, [vec![2]]);
        assert_eq!(request.rack_id.as_str(), "");
    }

    #[test]
    fn every_version_can_be_encoded() {
        use kafka_protocol::protocol::Encodable;
        for version in 4..=18 {
            let mut delta = delta();
            if version < 7 {
                delta.forget.clear();
            }
            let mut bytes = bytes::BytesMut::new();
            fetch_request(&delta, &terms(), version).encode(&mut bytes, version).unwrap();
        }
    }
}

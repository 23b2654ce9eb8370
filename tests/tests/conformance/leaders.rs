//! Who holds and leads partitions: elections, reassignments, topics in pages, reads from followers.

use std::time::Duration;

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponsePartition;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, DescribeTopicPartitionsRequest, ElectLeadersRequest,
    ListConfigResourcesRequest, ListPartitionReassignmentsRequest, OffsetForLeaderEpochRequest,
};

use crate::asked::{fetch, part, plain, produce, text, topic_name};
use crate::kafka::{Kafka, Topic, until};
use crate::{row, said};

fn elect(kind: i8, partitions: &[(&str, i32)]) -> ElectLeadersRequest {
    let topic = |(name, index): &(&str, i32)| {
        TopicPartitions::default().with_topic(topic_name(name)).with_partitions(vec![*index])
    };
    ElectLeadersRequest::default()
        .with_election_type(kind)
        .with_timeout_ms(30_000)
        .with_topic_partitions(Some(partitions.iter().map(topic).collect()))
}

/// The errors of an election, in the order asked.
pub(crate) async fn elected(kafka: Kafka, version: i16, kind: i8, partitions: &[(&str, i32)]) -> String {
    let answer = kafka.any().await.ask(version, &elect(kind, partitions)).await;
    let found = |(name, index): &(&str, i32)| {
        let topics = answer.replica_election_results.iter().filter(|found| found.topic.as_str() == *name);
        let mut parts = topics.flat_map(|topic| &topic.partition_result);
        let part = parts.find(|part| part.partition_id == *index);
        part.map_or("nothing".into(), |part| said::error(part.error_code))
    };
    said::list(partitions.iter().map(found))
}

row!(
    preferred_leaders_lead_already,
    "ElectLeaders",
    0..=2,
    "the preferred leader, where it leads; of no partition; of no topic",
    "ELECTION_NOT_NEEDED, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let (topic, none) = (kafka.topic(1).await, Topic::unknown(kafka));
        elected(kafka, kafka.version, 0, &[(&topic.name, 0), (&topic.name, 7), (&none.name, 0)]).await
    }
);

row!(
    an_unclean_election_needs_none_to_lead,
    "ElectLeaders",
    1..=2,
    "an unclean election where somebody leads",
    "ELECTION_NOT_NEEDED",
    async |kafka| {
        let topic = kafka.topic(1).await;
        elected(kafka, kafka.version, 1, &[(&topic.name, 0)]).await
    }
);

fn reassign(topic: &str, partition: i32, to: Option<Vec<i32>>) -> AlterPartitionReassignmentsRequest {
    let nodes = to.map(|to| to.into_iter().map(BrokerId).collect());
    let partition = ReassignablePartition::default().with_partition_index(partition).with_replicas(nodes);
    let topic = ReassignableTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    AlterPartitionReassignmentsRequest::default().with_timeout_ms(30_000).with_topics(vec![topic])
}

async fn reassigned(kafka: Kafka, request: &AlterPartitionReassignmentsRequest) -> String {
    let answer = kafka.any().await.ask(kafka.version, request).await;
    assert_eq!(said::error(answer.error_code), "NONE");
    said::error(answer.responses[0].partitions[0].error_code)
}

row!(
    reassignments_that_cannot_be,
    "AlterPartitionReassignments",
    0..=1,
    "to a broker that is none, to none, to one twice; of no partition; of no topic; cancelled where there is none",
    "INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICA_ASSIGNMENT, \
     UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_OR_PARTITION, NO_REASSIGNMENT_IN_PROGRESS",
    async |kafka| {
        let (topic, none) = (kafka.topic(1).await, Topic::unknown(kafka));
        let leader = topic.leaders[0];
        let mut answers = Vec::new();
        for request in [
            reassign(&topic.name, 0, Some(vec![99])),
            reassign(&topic.name, 0, Some(Vec::new())),
            reassign(&topic.name, 0, Some(vec![leader, leader])),
            reassign(&topic.name, 7, Some(vec![leader])),
            reassign(&none.name, 0, Some(vec![leader])),
            reassign(&topic.name, 0, None),
        ] {
            answers.push(reassigned(kafka, &request).await);
        }
        said::list(answers)
    }
);

/// The first partition of a topic, as DescribeTopicPartitions shows it.
async fn shown(kafka: Kafka, name: &str) -> DescribeTopicPartitionsResponsePartition {
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![TopicRequest::default().with_name(topic_name(name))])
        .with_response_partition_limit(2000)
        .with_cursor(None);
    kafka.any().await.ask(0, &request).await.topics.remove(0).partitions.remove(0)
}

/// Moves partition 0 of a topic to another broker, its only replica, and waits until it is there.
async fn moved(kafka: Kafka, topic: &Topic) -> (Topic, DescribeTopicPartitionsResponsePartition) {
    let to = kafka.brokers().into_iter().find(|id| *id != topic.leaders[0]).expect("three brokers");
    let answer = kafka.any().await.ask(0, &reassign(&topic.name, 0, Some(vec![to]))).await;
    assert_eq!(said::error(answer.responses[0].partitions[0].error_code), "NONE");
    let found = until("the move", async || {
        let found = shown(kafka, &topic.name).await;
        (found.leader_id.0 == to && found.replica_nodes == [BrokerId(to)]).then_some(found)
    })
    .await;
    let topic = Topic { leaders: vec![to], ..topic.clone() };
    // In a version that followers do not answer: it must know that it leads.
    let request = fetch(10, &topic, vec![part(0, 0)]);
    let mut wire = kafka.leader(&topic, 0).await;
    until("the new leader", async || {
        let answer = wire.ask(10, &request).await;
        (answer.responses[0].partitions[0].error_code == 0).then_some(())
    })
    .await;
    (topic, found)
}

row!(
    a_partition_moves_to_another_broker,
    "AlterPartitionReassignments",
    0..=1,
    "a partition with records, to another broker",
    "led there, in sync: that one, in a new epoch; 0=a",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let written = produce(9, &topic, 0, plain(&["a"]));
        kafka.leader(&topic, 0).await.ask(9, &written).await;
        let (topic, found) = moved(kafka, &topic).await;
        let alone = found.isr_nodes == [found.leader_id];
        let epoch = if found.leader_epoch > 0 { "a new" } else { "the old" };
        let request = fetch(12, &topic, vec![part(0, 0)]);
        let data =
            kafka.leader(&topic, 0).await.ask(12, &request).await.responses.remove(0).partitions.remove(0);
        let in_sync = if alone { "that one" } else { "others" };
        format!("led there, in sync: {in_sync}, in {epoch} epoch; {}", said::records(&data))
    }
);

row!(
    an_epoch_that_is_over_ends_where_the_next_began,
    "OffsetForLeaderEpoch",
    2..=4,
    "the first epoch, after the leader has moved and written; asked with it as the current one",
    "NONE, epoch 0 ends at 2; FENCED_LEADER_EPOCH",
    async |kafka| {
        let topic = kafka.topic(1).await;
        kafka.leader(&topic, 0).await.ask(9, &produce(9, &topic, 0, plain(&["a", "b"]))).await;
        let (topic, _) = moved(kafka, &topic).await;
        let mut wire = kafka.leader(&topic, 0).await;
        wire.ask(9, &produce(9, &topic, 0, plain(&["c"]))).await;
        let ask = |current| {
            let partition = OffsetForLeaderPartition::default().with_leader_epoch(0);
            let partition = partition.with_current_leader_epoch(current);
            let asked = OffsetForLeaderTopic::default().with_topic(topic_name(&topic.name));
            let asked = asked.with_partitions(vec![partition]);
            OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked])
        };
        let end = wire.ask(kafka.version, &ask(-1)).await.topics.remove(0).partitions.remove(0);
        let stale = wire.ask(kafka.version, &ask(0)).await.topics.remove(0).partitions.remove(0);
        format!(
            "{}, epoch {} ends at {}; {}",
            said::error(end.error_code),
            end.leader_epoch,
            end.end_offset,
            said::error(stale.error_code)
        )
    }
);

row!(
    no_reassignment_is_under_way,
    "ListPartitionReassignments",
    0..=0,
    "of a topic that is not moved",
    "NONE, 0 topics",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let asked = kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics::default();
        let asked = asked.with_name(topic_name(&topic.name)).with_partition_indexes(vec![0]);
        let request = ListPartitionReassignmentsRequest::default()
            .with_timeout_ms(30_000)
            .with_topics(Some(vec![asked]));
        let answer = kafka.any().await.ask(kafka.version, &request).await;
        format!("{}, {} topics", said::error(answer.error_code), answer.topics.len())
    }
);

row!(
    topics_come_in_pages,
    "DescribeTopicPartitions",
    0..=0,
    "two topics of two partitions, three partitions in a page",
    "a0 a1 b0, more from b1; b1, no more",
    async |kafka| {
        let (first, second) = (kafka.name("a"), kafka.name("b"));
        for name in [&first, &second] {
            kafka.create(name, 2, 1).await;
        }
        let topics = [&second, &first].map(|name| TopicRequest::default().with_name(topic_name(name)));
        let mut request = DescribeTopicPartitionsRequest::default()
            .with_topics(topics.to_vec())
            .with_response_partition_limit(3)
            .with_cursor(None);
        let mut pages = Vec::new();
        let letter = |name: &str| if name == first { "a" } else { "b" };
        loop {
            let answer = kafka.any().await.ask(0, &request).await;
            let parts = answer.topics.iter().flat_map(|topic| {
                let name = letter(topic.name.as_ref().map_or("", |name| name.as_str()));
                topic.partitions.iter().map(move |part| format!("{name}{}", part.partition_index))
            });
            let parts = parts.collect::<Vec<_>>().join(" ");
            let Some(next) = answer.next_cursor else {
                pages.push(format!("{parts}, no more"));
                break pages.join("; ");
            };
            pages.push(format!("{parts}, more from {}{}", letter(&next.topic_name), next.partition_index));
            let cursor = Cursor::default().with_topic_name(next.topic_name);
            request.cursor = Some(cursor.with_partition_index(next.partition_index));
        }
    }
);

row!(
    topics_that_cannot_be_described,
    "DescribeTopicPartitions",
    0..=0,
    "a topic that does not exist, one that cannot; a cursor at a topic that was not asked for",
    "INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION; INVALID_REQUEST",
    async |kafka| {
        let none = Topic::unknown(kafka);
        let named = |name: &str| TopicRequest::default().with_name(topic_name(name));
        let request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(10);
        let unknown = request.clone().with_cursor(None).with_topics(vec![named(&none.name), named("a b")]);
        let unknown = kafka.any().await.ask(0, &unknown).await;
        let unknown = said::list(unknown.topics.iter().map(|topic| said::error(topic.error_code)));
        let cursor = Cursor::default().with_topic_name(topic_name("elsewhere"));
        let outside = request.with_topics(vec![named(&none.name)]).with_cursor(Some(cursor));
        let outside = kafka.any().await.ask(0, &outside).await;
        format!("{unknown}; {}", said::error(outside.topics[0].error_code))
    }
);

row!(
    followers_may_be_read,
    "Fetch",
    11..=18,
    "from a replica that does not lead",
    "NONE, 0=a",
    async |kafka| {
        let topic = kafka.create(&kafka.name("replicated"), 1, 3).await;
        kafka.leader(&topic, 0).await.ask(9, &produce(9, &topic, 0, plain(&["a"]))).await;
        let request = fetch(kafka.version, &topic, vec![part(0, 0)]);
        let mut wire = kafka.follower(&topic).await;
        // A follower learns of the high watermark with its next fetch.
        until("the record", async || {
            let data = wire.ask(kafka.version, &request).await.responses.remove(0).partitions.remove(0);
            let found = said::records(&data);
            if found.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                return None;
            }
            Some(format!("{}, {found}", said::error(data.error_code)))
        })
        .await
    }
);

row!(
    old_clients_read_from_leaders_alone,
    "Fetch",
    4..=10,
    "from a replica that does not lead",
    "NOT_LEADER_OR_FOLLOWER",
    async |kafka| {
        let topic = kafka.create(&kafka.name("replicated"), 1, 3).await;
        let request = fetch(kafka.version, &topic, vec![part(0, 0)]);
        let answer = kafka.follower(&topic).await.ask(kafka.version, &request).await;
        said::error(answer.responses[0].partitions[0].error_code)
    }
);

row!(
    what_has_configs_is_listed,
    "ListConfigResources",
    1..=1,
    "topics; brokers; something else",
    "NONE, the topic; NONE, 3 brokers; UNSUPPORTED_VERSION",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut wire = kafka.any().await;
        let ask = |kind: i8| ListConfigResourcesRequest::default().with_resource_types(vec![kind]);
        let topics = wire.ask(1, &ask(2)).await;
        let listed = topics.config_resources.iter().any(|found| found.resource_name == text(&topic.name));
        let brokers = wire.ask(1, &ask(4)).await;
        let other = wire.ask(1, &ask(77)).await;
        format!(
            "{}, {}; {}, {} brokers; {}",
            said::error(topics.error_code),
            if listed { "the topic" } else { "not the topic" },
            said::error(brokers.error_code),
            brokers.config_resources.len(),
            said::error(other.error_code)
        )
    }
);

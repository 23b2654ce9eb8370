//! Metadata and DescribeCluster.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{DescribeClusterRequest, MetadataRequest};

use crate::asked::topic_name;
use crate::kafka::{Kafka, until};
use crate::row;
use crate::said;

fn by_name(name: &str) -> MetadataRequest {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default().with_topics(Some(vec![wanted]))
}

async fn one(kafka: Kafka, request: &MetadataRequest) -> MetadataResponseTopic {
    kafka.any().await.ask(kafka.version, request).await.topics.remove(0)
}

row!(
    a_topic,
    "Metadata",
    0..=13,
    "a topic of three partitions",
    "NONE, 3 partitions with a leader, one replica and it in sync",
    async |kafka| {
        let topic = kafka.topic(3).await;
        let found = one(kafka, &by_name(&topic.name)).await;
        let good = found.partitions.iter().filter(|part| {
            let leader = part.leader_id;
            part.error_code == 0 && part.replica_nodes == [leader] && part.isr_nodes == [leader]
        });
        let count = good.count();
        format!(
            "{}, {count} partitions with a leader, one replica and it in sync",
            said::error(found.error_code)
        )
    }
);

row!(
    leader_epochs_and_offline_replicas,
    "Metadata",
    7..=13,
    "a new topic's leader epoch and offline replicas",
    "epoch 0, 0 offline",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let found = one(kafka, &by_name(&topic.name)).await.partitions.remove(0);
        format!("epoch {}, {} offline", found.leader_epoch, found.offline_replicas.len())
    }
);

row!(
    three_replicas,
    "Metadata",
    4..=13,
    "a topic with three replicas of each partition",
    "each on three brokers, all in sync, the first leads",
    async |kafka| {
        let name = kafka.name("replicated");
        kafka.create(&name, 3, 3).await;
        let found = until("replicas in sync", async || {
            let found = one(kafka, &by_name(&name)).await;
            let in_sync = found.partitions.iter().filter(|part| part.isr_nodes.len() == 3).count();
            (in_sync == 3).then_some(found)
        });
        let good = found.await.partitions.iter().all(|part| {
            let mut nodes = part.replica_nodes.clone();
            nodes.sort();
            nodes.dedup();
            nodes.len() == 3 && part.replica_nodes[0] == part.leader_id
        });
        if good { "each on three brokers, all in sync, the first leads".into() } else { "otherwise".into() }
    }
);

row!(
    leaders_are_spread,
    "Metadata",
    4..=13,
    "the leaders of a topic of three partitions",
    "three brokers",
    async |kafka| {
        let topic = kafka.topic(3).await;
        let mut leaders = topic.leaders.clone();
        leaders.sort_unstable();
        leaders.dedup();
        if leaders.len() == 3 { "three brokers".into() } else { format!("{leaders:?}") }
    }
);

row!(
    unknown_topic_is_not_created,
    "Metadata",
    4..=13,
    "a topic that does not exist, creation not allowed",
    "UNKNOWN_TOPIC_OR_PARTITION, 0 partitions",
    async |kafka| {
        let request = by_name(&kafka.name("none")).with_allow_auto_topic_creation(false);
        let topic = one(kafka, &request).await;
        format!("{}, {} partitions", said::error(topic.error_code), topic.partitions.len())
    }
);

row!(
    unknown_topic_is_created,
    "Metadata",
    0..=13,
    "a topic that does not exist, again and again",
    "it is there at last, with one partition",
    async |kafka| {
        let request = by_name(&kafka.name("auto"));
        let found = until("an automatic topic", async || {
            let found = one(kafka, &request).await;
            (found.error_code == 0).then_some(found)
        });
        match found.await.partitions.len() {
            1 => "it is there at last, with one partition".into(),
            other => format!("{other} partitions"),
        }
    }
);

row!(invalid_name, "Metadata", 1..=13, "a topic named a/b", "INVALID_TOPIC_EXCEPTION", async |kafka| {
    said::error(one(kafka, &by_name("a/b")).await.error_code)
});

row!(
    no_topics,
    "Metadata",
    1..=13,
    "an empty list of topics",
    "no topics, three brokers, a controller among them",
    async |kafka| {
        let found =
            kafka.any().await.ask(kafka.version, &MetadataRequest::default().with_topics(Some(vec![]))).await;
        let known = found.brokers.iter().any(|node| node.node_id == found.controller_id);
        let controller = if known { "a controller among them" } else { "no controller" };
        match (found.topics.len(), found.brokers.len()) {
            (0, 3) => format!("no topics, three brokers, {controller}"),
            other => format!("{other:?}"),
        }
    }
);

row!(all_topics, "Metadata", 1..=13, "no list of topics", "all, a new one among them", async |kafka| {
    let topic = kafka.topic(1).await;
    let found = kafka.any().await.ask(kafka.version, &MetadataRequest::default().with_topics(None)).await;
    let wanted = topic_name(&topic.name);
    let known = found.topics.iter().any(|topic| topic.name.as_ref() == Some(&wanted));
    if known { "all, a new one among them".into() } else { "not all".into() }
});

row!(by_id, "Metadata", 12..=13, "a topic by its id", "NONE, its name", async |kafka| {
    let topic = kafka.topic(1).await;
    let wanted = MetadataRequestTopic::default().with_name(None).with_topic_id(topic.id);
    let found = one(kafka, &MetadataRequest::default().with_topics(Some(vec![wanted]))).await;
    let name = if found.name == Some(topic_name(&topic.name)) { "its name" } else { "another name" };
    format!("{}, {name}", said::error(found.error_code))
});

row!(by_unknown_id, "Metadata", 12..=13, "an unknown topic id", "UNKNOWN_TOPIC_ID, no name", async |kafka| {
    let wanted = MetadataRequestTopic::default().with_name(None).with_topic_id(uuid::Uuid::from_u128(0xbad));
    let found = one(kafka, &MetadataRequest::default().with_topics(Some(vec![wanted]))).await;
    let name = if found.name.is_none() { "no name" } else { "a name" };
    format!("{}, {name}", said::error(found.error_code))
});

row!(
    operations_not_asked_for,
    "Metadata",
    8..=13,
    "a topic without asking what is allowed",
    "operations -2147483648",
    async |kafka| {
        let topic = kafka.topic(1).await;
        format!("operations {}", one(kafka, &by_name(&topic.name)).await.topic_authorized_operations)
    }
);

row!(
    operations,
    "Metadata",
    8..=13,
    "what is allowed on a topic",
    "operations 3576 (read, write, create, delete, alter, describe, describe and alter configs)",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let request = by_name(&topic.name).with_include_topic_authorized_operations(true);
        let found = one(kafka, &request).await.topic_authorized_operations;
        format!(
            "operations {found} (read, write, create, delete, alter, describe, describe and alter configs)"
        )
    }
);

row!(
    cluster,
    "DescribeCluster",
    0..=2,
    "the cluster",
    "NONE, three brokers, the controller one of them, Metadata's id",
    async |kafka| {
        let mut wire = kafka.any().await;
        let found = wire.ask(kafka.version, &DescribeClusterRequest::default()).await;
        let metadata = wire.ask(4, &MetadataRequest::default().with_topics(Some(vec![]))).await;
        let known = found.brokers.iter().any(|node| node.broker_id == found.controller_id);
        let controller = if known { "one of them" } else { "unknown" };
        let id = if metadata.cluster_id.as_ref() == Some(&found.cluster_id) {
            "Metadata's id"
        } else {
            "another id"
        };
        let brokers = if found.brokers.len() == 3 { "three brokers" } else { "other brokers" };
        format!("{}, {brokers}, the controller {controller}, {id}", said::error(found.error_code))
    }
);

row!(
    controllers,
    "DescribeCluster",
    1..=2,
    "the controllers, of a broker",
    "MISMATCHED_ENDPOINT_TYPE",
    async |kafka| {
        let request = DescribeClusterRequest::default().with_endpoint_type(2);
        said::error(kafka.any().await.ask(kafka.version, &request).await.error_code)
    }
);

row!(
    endpoints_of_no_kind,
    "DescribeCluster",
    1..=2,
    "an endpoint type that does not exist",
    "UNSUPPORTED_ENDPOINT_TYPE",
    async |kafka| {
        let request = DescribeClusterRequest::default().with_endpoint_type(7);
        said::error(kafka.any().await.ask(kafka.version, &request).await.error_code)
    }
);

//! What one request names twice, and replicas that cannot be.

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    IncrementalAlterConfigsRequest, ListOffsetsRequest, MetadataRequest,
};

use crate::asked::{text, topic_name};
use crate::{row, said};

fn codes(codes: impl IntoIterator<Item = i16>) -> String {
    said::list(codes.into_iter().map(said::error))
}

row!(
    topics_named_twice,
    "Metadata",
    4..=12,
    "a topic that is named twice; one that is not there, too",
    "NONE; UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let (topic, none) = (kafka.topic(1).await, kafka.name("unknown"));
        let named = |name: &str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let ask = |name: &str| {
            MetadataRequest::default()
                .with_allow_auto_topic_creation(false)
                .with_topics(Some(vec![named(name), named(name)]))
        };
        let mut said = Vec::new();
        for name in [&topic.name, &none] {
            let answer = kafka.any().await.ask(kafka.version, &ask(name)).await;
            said.push(codes(answer.topics.iter().map(|topic| topic.error_code)));
        }
        said.join("; ")
    }
);

row!(
    deleted_twice,
    "DeleteTopics",
    1..=5,
    "a topic that is named twice; is it there",
    "INVALID_REQUEST; NONE",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let name = topic_name(&topic.name);
        let request = DeleteTopicsRequest::default()
            .with_timeout_ms(30_000)
            .with_topic_names(vec![name.clone(), name.clone()]);
        let answer = kafka.any().await.ask(kafka.version, &request).await;
        let deleted = codes(answer.responses.iter().map(|topic| topic.error_code));
        let named = MetadataRequestTopic::default().with_name(Some(name));
        let request = MetadataRequest::default().with_allow_auto_topic_creation(false);
        let found = kafka.any().await.ask(12, &request.with_topics(Some(vec![named]))).await;
        format!("{deleted}; {}", said::error(found.topics[0].error_code))
    }
);

row!(
    grown_twice,
    "CreatePartitions",
    0..=3,
    "a topic that is named twice",
    "INVALID_REQUEST",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let wanted = |count| {
            CreatePartitionsTopic::default()
                .with_name(topic_name(&topic.name))
                .with_count(count)
                .with_assignments(None)
        };
        let request = CreatePartitionsRequest::default()
            .with_timeout_ms(30_000)
            .with_topics(vec![wanted(2), wanted(3)]);
        let answer = kafka.any().await.ask(kafka.version, &request).await;
        codes(answer.results.iter().map(|topic| topic.error_code))
    }
);

row!(
    configs_of_a_topic_twice,
    "IncrementalAlterConfigs",
    0..=1,
    "a topic that is named twice",
    "INVALID_REQUEST, INVALID_REQUEST",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let resource =
            AlterConfigsResource::default().with_resource_type(2).with_resource_name(text(&topic.name));
        let request =
            IncrementalAlterConfigsRequest::default().with_resources(vec![resource.clone(), resource]);
        let answer = kafka.any().await.ask(kafka.version, &request).await;
        codes(answer.responses.iter().map(|one| one.error_code))
    }
);

row!(
    offsets_of_a_partition_twice,
    "ListOffsets",
    4..=10,
    "a partition that is named twice, and another",
    "INVALID_REQUEST, NONE",
    async |kafka| {
        let topic = kafka.topic(4).await;
        let (one, other) = topic.on_one_broker();
        let part = |index: usize| {
            ListOffsetsPartition::default()
                .with_partition_index(i32::try_from(index).unwrap())
                .with_timestamp(-1)
                .with_current_leader_epoch(-1)
        };
        let asked = ListOffsetsTopic::default().with_name(topic_name(&topic.name)).with_partitions(vec![
            part(one),
            part(one),
            part(other),
        ]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
        let answer = kafka.leader(&topic, one).await.ask(kafka.version, &request).await;
        let parts = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let mut parts: Vec<_> = parts.map(|part| said::error(part.error_code)).collect();
        parts.sort();
        said::list(parts)
    }
);

fn assigned(assignments: &[&[i32]]) -> Vec<CreatableReplicaAssignment> {
    let one = |(index, brokers): (i32, &&[i32])| {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
    };
    (0..).zip(assignments).map(one).collect()
}

row!(
    replicas_that_cannot_be,
    "CreateTopics",
    5..=7,
    "a broker twice; partitions with one replica and with two; with none",
    "INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICA_ASSIGNMENT",
    async |kafka| {
        let mut said = Vec::new();
        for assignments in [&[&[1, 1][..]][..], &[&[1], &[1, 2]], &[&[]]] {
            let topic = CreatableTopic::default()
                .with_name(topic_name(&kafka.name("placed")))
                .with_num_partitions(-1)
                .with_replication_factor(-1)
                .with_assignments(assigned(assignments));
            let request = CreateTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![topic]);
            said.push(kafka.any().await.ask(kafka.version, &request).await.topics[0].error_code);
        }
        codes(said)
    }
);

row!(
    more_replicas_that_cannot_be,
    "CreatePartitions",
    0..=3,
    "one more partition of a topic with one replica: on a broker twice; on two brokers; on none",
    "INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICA_ASSIGNMENT",
    async |kafka| {
        let mut said = Vec::new();
        for brokers in [&[1, 1][..], &[1, 2], &[]] {
            let topic = kafka.topic(1).await;
            let brokers = brokers.iter().copied().map(BrokerId).collect();
            let wanted = CreatePartitionsTopic::default()
                .with_name(topic_name(&topic.name))
                .with_count(2)
                .with_assignments(Some(vec![CreatePartitionsAssignment::default().with_broker_ids(brokers)]));
            let request =
                CreatePartitionsRequest::default().with_timeout_ms(30_000).with_topics(vec![wanted]);
            said.push(kafka.any().await.ask(kafka.version, &request).await.results[0].error_code);
        }
        codes(said)
    }
);

//! CreateTopics, DeleteTopics, CreatePartitions.

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};

use crate::asked::{text, topic_name};
use crate::kafka::{Kafka, until};
use crate::row;
use crate::said;

fn new(name: &str) -> CreatableTopic {
    CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(2).with_replication_factor(1)
}

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_timeout_ms(30_000).with_topics(topics)
}

async fn created(kafka: Kafka, topic: CreatableTopic) -> CreatableTopicResult {
    kafka.any().await.ask(kafka.version, &create(vec![topic])).await.topics.remove(0)
}

async fn error(kafka: Kafka, topic: CreatableTopic) -> String {
    said::error(created(kafka, topic).await.error_code)
}

row!(
    create_topic,
    "CreateTopics",
    5..=7,
    "two partitions, one replica",
    "NONE, 2 partitions, factor 1, configs told",
    async |kafka| {
        let result = created(kafka, new(&kafka.name("topic"))).await;
        let configs = if result.configs.is_some_and(|all| all.len() > 20) { "told" } else { "not told" };
        let (partitions, factor) = (result.num_partitions, result.replication_factor);
        format!(
            "{}, {partitions} partitions, factor {factor}, configs {configs}",
            said::error(result.error_code)
        )
    }
);

row!(create_with_id, "CreateTopics", 7..=7, "the new topic's id", "that of Metadata", async |kafka| {
    let name = kafka.name("topic");
    let result = created(kafka, new(&name)).await;
    let known = kafka.ready(&name, 2).await;
    if result.topic_id == known.id { "that of Metadata".into() } else { "another".into() }
});

row!(create_again, "CreateTopics", 2..=7, "a topic that exists", "TOPIC_ALREADY_EXISTS", async |kafka| {
    let topic = kafka.topic(1).await;
    error(kafka, new(&topic.name)).await
});

row!(create_badly_named, "CreateTopics", 2..=7, "the name a/b", "INVALID_TOPIC_EXCEPTION", async |kafka| {
    error(kafka, new("a/b")).await
});

row!(create_dots, "CreateTopics", 2..=7, "the name ..", "INVALID_TOPIC_EXCEPTION", async |kafka| {
    error(kafka, new("..")).await
});

row!(
    create_too_long,
    "CreateTopics",
    2..=7,
    "a name of 250 letters",
    "INVALID_TOPIC_EXCEPTION",
    async |kafka| { error(kafka, new(&"a".repeat(250))).await }
);

row!(
    create_colliding,
    "CreateTopics",
    2..=7,
    "a.b_c where a_b.c exists",
    "INVALID_TOPIC_EXCEPTION",
    async |kafka| {
        let name = kafka.name("collide");
        kafka.create(&format!("{name}.b_c"), 1, 1).await;
        error(kafka, new(&format!("{name}_b.c"))).await
    }
);

row!(create_no_partitions, "CreateTopics", 2..=7, "0 partitions", "INVALID_PARTITIONS", async |kafka| {
    error(kafka, new(&kafka.name("topic")).with_num_partitions(0)).await
});

row!(
    create_no_replicas,
    "CreateTopics",
    2..=7,
    "replication factor 0",
    "INVALID_REPLICATION_FACTOR",
    async |kafka| error(kafka, new(&kafka.name("topic")).with_replication_factor(0)).await
);

row!(
    create_too_many_replicas,
    "CreateTopics",
    2..=7,
    "replication factor 9 on three brokers",
    "INVALID_REPLICATION_FACTOR",
    async |kafka| error(kafka, new(&kafka.name("topic")).with_replication_factor(9)).await
);

row!(
    create_by_default,
    "CreateTopics",
    5..=7,
    "-1 partitions, -1 replicas",
    "NONE, 1 partition, factor 3",
    async |kafka| {
        let topic = new(&kafka.name("topic")).with_num_partitions(-1).with_replication_factor(-1);
        let result = created(kafka, topic).await;
        let (partitions, factor) = (result.num_partitions, result.replication_factor);
        format!("{}, {partitions} partition, factor {factor}", said::error(result.error_code))
    }
);

fn configured(kafka: Kafka, name: &str, value: &str) -> CreatableTopic {
    let config = CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)));
    new(&kafka.name("topic")).with_configs(vec![config])
}

row!(create_unknown_config, "CreateTopics", 2..=7, "a config no.such", "INVALID_CONFIG", async |kafka| {
    error(kafka, configured(kafka, "no.such", "1")).await
});

row!(create_wrong_config, "CreateTopics", 2..=7, "retention.ms=soon", "INVALID_CONFIG", async |kafka| {
    error(kafka, configured(kafka, "retention.ms", "soon")).await
});

row!(create_wrong_policy, "CreateTopics", 2..=7, "cleanup.policy=shred", "INVALID_CONFIG", async |kafka| {
    error(kafka, configured(kafka, "cleanup.policy", "shred")).await
});

row!(create_negative_size, "CreateTopics", 2..=7, "max.message.bytes=-1", "INVALID_CONFIG", async |kafka| {
    error(kafka, configured(kafka, "max.message.bytes", "-1")).await
});

row!(create_twice, "CreateTopics", 2..=7, "a topic twice in one request", "INVALID_REQUEST", async |kafka| {
    let name = kafka.name("topic");
    let topics = kafka.any().await.ask(kafka.version, &create(vec![new(&name), new(&name)])).await.topics;
    said::list(topics.iter().map(|topic| said::error(topic.error_code)))
});

row!(
    create_to_validate,
    "CreateTopics",
    2..=7,
    "validate only; then for real",
    "NONE; NONE",
    async |kafka| {
        let topic = new(&kafka.name("topic"));
        let request = create(vec![topic.clone()]).with_validate_only(true);
        let tried = kafka.any().await.ask(kafka.version, &request).await.topics.remove(0);
        format!("{}; {}", said::error(tried.error_code), error(kafka, topic).await)
    }
);

fn assigned(kafka: Kafka, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(partition, nodes): &(i32, &[i32])| {
        let nodes = nodes.iter().copied().map(BrokerId).collect();
        CreatableReplicaAssignment::default().with_partition_index(*partition).with_broker_ids(nodes)
    };
    new(&kafka.name("topic"))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(assignments.iter().map(assignment).collect())
}

row!(
    create_assigned,
    "CreateTopics",
    2..=7,
    "partitions on brokers 3 and 2, 1 and 3",
    "NONE, led by 3 and 1",
    async |kafka| {
        let topic = assigned(kafka, &[(0, &[3, 2]), (1, &[1, 3])]);
        let name = topic.name.to_string();
        let result = error(kafka, topic).await;
        let leaders = kafka.ready(&name, 2).await.leaders;
        format!("{result}, led by {} and {}", leaders[0], leaders[1])
    }
);

row!(
    create_assigned_to_nobody,
    "CreateTopics",
    2..=7,
    "a partition on broker 99",
    "INVALID_REPLICA_ASSIGNMENT",
    async |kafka| error(kafka, assigned(kafka, &[(0, &[99])])).await
);

row!(
    create_assigned_with_gap,
    "CreateTopics",
    2..=7,
    "partitions 0 and 2 assigned",
    "INVALID_REPLICA_ASSIGNMENT",
    async |kafka| error(kafka, assigned(kafka, &[(0, &[1]), (2, &[1])])).await
);

row!(
    create_assigned_twice_over,
    "CreateTopics",
    2..=7,
    "assignments and a number of partitions",
    "INVALID_REQUEST",
    async |kafka| error(kafka, assigned(kafka, &[(0, &[1])]).with_num_partitions(1)).await
);

fn delete(version: i16, name: &str) -> DeleteTopicsRequest {
    let request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
    match version {
        6.. => request.with_topics(vec![DeleteTopicState::default().with_name(Some(topic_name(name)))]),
        _ => request.with_topic_names(vec![topic_name(name)]),
    }
}

row!(
    delete_topic,
    "DeleteTopics",
    1..=6,
    "a topic, by name; then Metadata",
    "NONE; UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut wire = kafka.any().await;
        let done = wire.ask(kafka.version, &delete(kafka.version, &topic.name)).await.responses.remove(0);
        let wanted = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
            .with_name(Some(topic_name(&topic.name)));
        let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
        let request = request.with_allow_auto_topic_creation(false);
        let gone = until("the topic's end", async || {
            let found = wire.ask(9, &request).await.topics.remove(0);
            (found.error_code != 0).then_some(found.error_code)
        });
        format!("{}; {}", said::error(done.error_code), said::error(gone.await))
    }
);

row!(
    delete_unknown,
    "DeleteTopics",
    1..=6,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let request = delete(kafka.version, &kafka.name("none"));
        said::error(kafka.any().await.ask(kafka.version, &request).await.responses[0].error_code)
    }
);

row!(delete_by_id, "DeleteTopics", 6..=6, "a topic, by id", "NONE, its name", async |kafka| {
    let topic = kafka.topic(1).await;
    let state = DeleteTopicState::default().with_name(None).with_topic_id(topic.id);
    let request = DeleteTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![state]);
    let done = kafka.any().await.ask(kafka.version, &request).await.responses.remove(0);
    let name = if done.name == Some(topic_name(&topic.name)) { "its name" } else { "no name" };
    format!("{}, {name}", said::error(done.error_code))
});

row!(delete_by_unknown_id, "DeleteTopics", 6..=6, "an unknown topic id", "UNKNOWN_TOPIC_ID", async |kafka| {
    let state = DeleteTopicState::default().with_name(None).with_topic_id(uuid::Uuid::from_u128(0xbad));
    let request = DeleteTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![state]);
    said::error(kafka.any().await.ask(kafka.version, &request).await.responses[0].error_code)
});

/// What growing a topic of two partitions leads to.
async fn grown(kafka: Kafka, ask: impl Fn(CreatePartitionsTopic) -> CreatePartitionsTopic) -> String {
    let topic = kafka.topic(2).await;
    let wanted =
        ask(CreatePartitionsTopic::default().with_name(topic_name(&topic.name)).with_assignments(None));
    let request = CreatePartitionsRequest::default().with_timeout_ms(30_000).with_topics(vec![wanted]);
    let done = kafka.any().await.ask(kafka.version, &request).await.results.remove(0);
    if done.error_code == 0 {
        kafka.ready(&topic.name, 4).await;
    }
    said::error(done.error_code)
}

row!(more_partitions, "CreatePartitions", 0..=3, "4 instead of 2", "NONE", async |kafka| {
    grown(kafka, |topic| topic.with_count(4)).await
});

row!(fewer_partitions, "CreatePartitions", 0..=3, "1 instead of 2", "INVALID_PARTITIONS", async |kafka| {
    grown(kafka, |topic| topic.with_count(1)).await
});

row!(as_many_partitions, "CreatePartitions", 0..=3, "2 instead of 2", "INVALID_PARTITIONS", async |kafka| {
    grown(kafka, |topic| topic.with_count(2)).await
});

row!(
    partitions_of_unknown,
    "CreatePartitions",
    0..=3,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| grown(kafka, |topic| topic.with_count(4).with_name(topic_name(&kafka.name("none")))).await
);

row!(
    partitions_assigned,
    "CreatePartitions",
    0..=3,
    "two more, one on broker 1, one on broker 2",
    "NONE",
    async |kafka| {
        let on = |id| CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(id)]);
        grown(kafka, |topic| topic.with_count(4).with_assignments(Some(vec![on(1), on(2)]))).await
    }
);

row!(
    partitions_assigned_badly,
    "CreatePartitions",
    0..=3,
    "two more, one of them assigned",
    "INVALID_REPLICA_ASSIGNMENT",
    async |kafka| {
        let on = |id| CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(id)]);
        grown(kafka, |topic| topic.with_count(4).with_assignments(Some(vec![on(1)]))).await
    }
);

//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::{
    AlterConfigsRequest, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::asked::{group_id, text, topic_name};
use crate::kafka::{Kafka, Topic};
use crate::row;
use crate::said;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;
/// A version in which configs are looked at here.
const DESCRIBE: i16 = 4;

async fn describe(
    kafka: Kafka,
    version: i16,
    (kind, name): (i8, &str),
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let keys = keys.map(|keys| keys.iter().map(|key| text(key)).collect());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    // A broker is asked for its own.
    let id = if kind == BROKER { name.parse().unwrap_or(1) } else { kafka.brokers()[0] };
    kafka.broker(id).await.ask(version, &request).await.results.remove(0)
}

/// `retention.ms=5 from 1`: value, source (1 topic, 4 broker's file, 5 default).
fn said(result: &DescribeConfigsResult) -> String {
    if result.error_code != 0 {
        return said::error(result.error_code);
    }
    let value = |value: &Option<StrBytes>| value.as_ref().map_or("null".to_owned(), ToString::to_string);
    said::list(result.configs.iter().map(|config| {
        let (name, value) = (config.name.as_str(), value(&config.value));
        format!(
            "{name}={value} from {}{}",
            config.config_source,
            if config.read_only { " (read only)" } else { "" }
        )
    }))
}

row!(
    describe_one,
    "DescribeConfigs",
    1..=4,
    "a config that is set and one that is not",
    "retention.ms=5000 from 1, segment.ms=604800000 from 5",
    async |kafka| {
        let topic = kafka.topic_with(1, &[("retention.ms", "5000")]).await;
        let keys: &[&str] = &["retention.ms", "segment.ms"];
        let mut found = describe(kafka, kafka.version, (TOPIC, &topic.name), Some(keys)).await;
        found.configs.sort_by_key(|config| config.name.to_string());
        said(&found)
    }
);

row!(
    describe_all,
    "DescribeConfigs",
    1..=4,
    "the names of all configs of a topic",
    "cleanup.policy, compression.gzip.level, compression.lz4.level, compression.type, compression.zstd.level, delete.retention.ms, file.delete.delay.ms, flush.messages, flush.ms, follower.replication.throttled.replicas, index.interval.bytes, leader.replication.throttled.replicas, local.retention.bytes, local.retention.ms, max.compaction.lag.ms, max.message.bytes, message.timestamp.after.max.ms, message.timestamp.before.max.ms, message.timestamp.type, min.cleanable.dirty.ratio, min.compaction.lag.ms, min.insync.replicas, preallocate, remote.log.copy.disable, remote.log.delete.on.disable, remote.storage.enable, retention.bytes, retention.ms, segment.bytes, segment.index.bytes, segment.jitter.ms, segment.ms, unclean.leader.election.enable",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let found = describe(kafka, kafka.version, (TOPIC, &topic.name), None).await;
        let mut names: Vec<String> = found.configs.iter().map(|config| config.name.to_string()).collect();
        names.sort();
        said::list(names)
    }
);

row!(describe_unknown_key, "DescribeConfigs", 1..=4, "a config no.such", "", async |kafka| {
    let topic = kafka.topic(1).await;
    said(&describe(kafka, kafka.version, (TOPIC, &topic.name), Some(&["no.such"])).await)
});

row!(
    describe_unknown_topic,
    "DescribeConfigs",
    1..=4,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| said(&describe(kafka, kafka.version, (TOPIC, &kafka.name("none")), None).await)
);

row!(
    describe_synonyms,
    "DescribeConfigs",
    1..=4,
    "where a config that is set comes from",
    "retention.ms=5000 from 1",
    async |kafka| {
        let topic = kafka.topic_with(1, &[("retention.ms", "5000")]).await;
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(&topic.name))
            .with_configuration_keys(Some(vec![text("retention.ms")]));
        let request =
            DescribeConfigsRequest::default().with_include_synonyms(true).with_resources(vec![resource]);
        let found = kafka.any().await.ask(kafka.version, &request).await.results.remove(0);
        let synonyms = found.configs[0].synonyms.iter().map(|synonym| {
            let value = if synonym.source == 1 { "=5000" } else { "" };
            format!("{}{value} from {}", synonym.name.as_str(), synonym.source)
        });
        synonyms.collect::<Vec<_>>().join("; ")
    }
);

row!(
    describe_default_synonyms,
    "DescribeConfigs",
    1..=4,
    "where a config that is not set comes from",
    "",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(&topic.name))
            .with_configuration_keys(Some(vec![text("flush.ms")]));
        let request =
            DescribeConfigsRequest::default().with_include_synonyms(true).with_resources(vec![resource]);
        let found = kafka.any().await.ask(kafka.version, &request).await.results.remove(0);
        said::list(
            found.configs[0].synonyms.iter().map(|one| format!("{} from {}", one.name.as_str(), one.source)),
        )
    }
);

row!(
    describe_broker,
    "DescribeConfigs",
    1..=4,
    "a broker's node.id",
    "node.id=2 from 4 (read only)",
    async |kafka| said(&describe(kafka, kafka.version, (BROKER, "2"), Some(&["node.id"])).await)
);

/// Sets configs as a whole.
async fn alter(kafka: Kafka, topic: &str, configs: &[(&str, &str)], only_try: bool) -> String {
    let config = |(name, value): &(&str, &str)| {
        AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configs(configs.iter().map(config).collect());
    let request = AlterConfigsRequest::default().with_validate_only(only_try).with_resources(vec![resource]);
    said::error(kafka.any().await.ask(kafka.version, &request).await.responses[0].error_code)
}

/// Waits until every broker shows these configs of a topic, set or not.
async fn shown(kafka: Kafka, topic: &Topic, keys: &[&str], expected: &str) -> String {
    let mut last = String::new();
    for _ in 0..500 {
        let mut found = describe(kafka, DESCRIBE, (TOPIC, &topic.name), Some(keys)).await;
        found.configs.sort_by_key(|config| config.name.to_string());
        last = said(&found);
        if last == expected {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    last
}

row!(
    altered_as_a_whole,
    "AlterConfigs",
    0..=2,
    "segment.ms=7000 where retention.ms=5000 was",
    "NONE; retention.ms=604800000 from 5, segment.ms=7000 from 1",
    async |kafka| {
        let topic = kafka.topic_with(1, &[("retention.ms", "5000")]).await;
        let done = alter(kafka, &topic.name, &[("segment.ms", "7000")], false).await;
        let expected = "retention.ms=604800000 from 5, segment.ms=7000 from 1";
        format!("{done}; {}", shown(kafka, &topic, &["retention.ms", "segment.ms"], expected).await)
    }
);

row!(
    altered_to_validate,
    "AlterConfigs",
    0..=2,
    "validate only",
    "NONE; retention.ms=5000 from 1",
    async |kafka| {
        let topic = kafka.topic_with(1, &[("retention.ms", "5000")]).await;
        let done = alter(kafka, &topic.name, &[("retention.ms", "7000")], true).await;
        format!("{done}; {}", shown(kafka, &topic, &["retention.ms"], "retention.ms=5000 from 1").await)
    }
);

row!(altered_wrongly, "AlterConfigs", 0..=2, "retention.ms=soon", "INVALID_CONFIG", async |kafka| {
    let topic = kafka.topic(1).await;
    alter(kafka, &topic.name, &[("retention.ms", "soon")], false).await
});

row!(
    altered_unknown_topic,
    "AlterConfigs",
    0..=2,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| alter(kafka, &kafka.name("none"), &[("retention.ms", "1")], false).await
);

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Changes configs one by one.
async fn change(kafka: Kafka, topic: &str, changes: &[(&str, i8, Option<&str>)]) -> String {
    let change = |(name, operation, value): &(&str, i8, Option<&str>)| {
        incremental::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configs(changes.iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    said::error(kafka.any().await.ask(kafka.version, &request).await.responses[0].error_code)
}

row!(
    changed,
    "IncrementalAlterConfigs",
    0..=1,
    "one set, one deleted, one left",
    "NONE; flush.ms=9 from 1, retention.ms=604800000 from 5, segment.ms=7000 from 1",
    async |kafka| {
        let topic = kafka.topic_with(1, &[("retention.ms", "5000"), ("flush.ms", "9")]).await;
        let changes = [("segment.ms", SET, Some("7000")), ("retention.ms", DELETE, None)];
        let done = change(kafka, &topic.name, &changes).await;
        let expected = "flush.ms=9 from 1, retention.ms=604800000 from 5, segment.ms=7000 from 1";
        format!(
            "{done}; {}",
            shown(kafka, &topic, &["flush.ms", "retention.ms", "segment.ms"], expected).await
        )
    }
);

row!(
    appended,
    "IncrementalAlterConfigs",
    0..=1,
    "compact appended to cleanup.policy; then delete taken away",
    "NONE, cleanup.policy=delete,compact from 1; NONE, cleanup.policy=compact from 1",
    async |kafka| {
        let topic = kafka.topic_with(1, &[("cleanup.policy", "delete")]).await;
        let done = change(kafka, &topic.name, &[("cleanup.policy", APPEND, Some("compact"))]).await;
        let both = shown(kafka, &topic, &["cleanup.policy"], "cleanup.policy=delete,compact from 1").await;
        let taken = change(kafka, &topic.name, &[("cleanup.policy", SUBTRACT, Some("delete"))]).await;
        let left = shown(kafka, &topic, &["cleanup.policy"], "cleanup.policy=compact from 1").await;
        format!("{done}, {both}; {taken}, {left}")
    }
);

row!(
    appended_to_no_list,
    "IncrementalAlterConfigs",
    0..=1,
    "appending to a config that is no list",
    "INVALID_CONFIG",
    async |kafka| {
        let topic = kafka.topic(1).await;
        change(kafka, &topic.name, &[("retention.ms", APPEND, Some("1"))]).await
    }
);

row!(
    changed_twice,
    "IncrementalAlterConfigs",
    0..=1,
    "a config twice in one request",
    "INVALID_REQUEST",
    async |kafka| {
        let topic = kafka.topic(1).await;
        change(kafka, &topic.name, &[("flush.ms", SET, Some("1")), ("flush.ms", SET, Some("2"))]).await
    }
);

row!(
    changed_wrongly,
    "IncrementalAlterConfigs",
    0..=1,
    "retention.ms=soon",
    "INVALID_CONFIG",
    async |kafka| {
        let topic = kafka.topic(1).await;
        change(kafka, &topic.name, &[("retention.ms", SET, Some("soon"))]).await
    }
);

row!(
    changed_unknown_topic,
    "IncrementalAlterConfigs",
    0..=1,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| change(kafka, &kafka.name("none"), &[("flush.ms", SET, Some("1"))]).await
);

/// Sets configs of a group one by one; the error.
async fn change_group(kafka: Kafka, group: &str, changes: &[(&str, &str)]) -> String {
    let change = |(name, value): &(&str, &str)| {
        incremental::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(SET)
            .with_value(Some(text(value)))
    };
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(GROUP)
        .with_resource_name(text(group))
        .with_configs(changes.iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    said::error(kafka.any().await.ask(1, &request).await.responses[0].error_code)
}

const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
const SESSION: &str = "consumer.session.timeout.ms";

/// Waits until a group shows these configs.
async fn shown_of_group(kafka: Kafka, group: &str, expected: &str) -> String {
    let mut last = String::new();
    for _ in 0..500 {
        let mut found = describe(kafka, DESCRIBE, (GROUP, group), Some(&[HEARTBEAT, SESSION])).await;
        found.configs.sort_by_key(|config| config.name.to_string());
        last = said(&found);
        if last == expected {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    last
}

row!(
    a_groups_configs,
    "IncrementalAlterConfigs",
    1..=1,
    "session timeout and heartbeat interval of a group that there is not yet",
    "NONE; consumer.heartbeat.interval.ms=700 from 8, consumer.session.timeout.ms=7000 from 8",
    async |kafka| {
        let group = kafka.name("group");
        let done = change_group(kafka, &group, &[(SESSION, "7000"), (HEARTBEAT, "700")]).await;
        let expected = "consumer.heartbeat.interval.ms=700 from 8, consumer.session.timeout.ms=7000 from 8";
        format!("{done}; {}", shown_of_group(kafka, &group, expected).await)
    }
);

row!(
    a_groups_configs_refused,
    "IncrementalAlterConfigs",
    1..=1,
    "of a group: a session timeout of soon, of 0, below the heartbeat interval; a config that there is not; of no group",
    "INVALID_CONFIG; INVALID_CONFIG; INVALID_CONFIG; INVALID_CONFIG; INVALID_REQUEST",
    async |kafka| {
        let group = kafka.name("group");
        let mut said = Vec::new();
        let changes: [&[(&str, &str)]; 4] = [
            &[(SESSION, "soon")],
            &[(SESSION, "0")],
            &[(SESSION, "2000"), (HEARTBEAT, "3000")],
            &[("no.such", "1")],
        ];
        for changes in changes {
            said.push(change_group(kafka, &group, changes).await);
        }
        said.push(change_group(kafka, "", &[(SESSION, "7000")]).await);
        said.join("; ")
    }
);

row!(
    a_group_keeps_to_its_configs,
    "ConsumerGroupHeartbeat",
    1..=1,
    "a group whose session timeout and heartbeat interval were set: the interval that a member is told; its session, when it goes silent",
    "700 ms; over within 4 s",
    async |kafka| {
        let (group, topic) = (kafka.name("group"), kafka.topic(1).await);
        change_group(kafka, &group, &[(SESSION, "1500"), (HEARTBEAT, "700")]).await;
        // Every broker must know: which of them coordinates is not asked here.
        let expected = "consumer.heartbeat.interval.ms=700 from 8, consumer.session.timeout.ms=1500 from 8";
        shown_of_group(kafka, &group, expected).await;
        let mut wire = kafka.coordinator(&group).await;
        let join = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(&group))
            .with_member_id(text("one"))
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_names(Some(vec![topic_name(&topic.name)]))
            .with_topic_partitions(Some(Vec::new()));
        let told = wire.ask(1, &join).await.heartbeat_interval_ms;
        let silent = std::time::Instant::now();
        let describe = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(&group)]);
        let over = loop {
            let found = wire.ask(1, &describe).await.groups.remove(0);
            if found.members.is_empty() {
                break silent.elapsed() < std::time::Duration::from_secs(4);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        format!("{told} ms; {}", if over { "over within 4 s" } else { "longer" })
    }
);

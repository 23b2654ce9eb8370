//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::{AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use crate::asked::text;
use crate::kafka::{Kafka, Topic};
use crate::row;
use crate::said;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
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

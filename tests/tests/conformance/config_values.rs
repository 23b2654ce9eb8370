//! Values of topic configs: which are taken and which refused, one by one and together.

use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};

use crate::asked::{text, topic_name};
use crate::kafka::Kafka;
use crate::{row, said};

/// Asks whether a topic could be created with each of these lists of configs, `a=1 b=2`; those that could not.
async fn refused(kafka: Kafka, all: &[&[(&str, &str)]]) -> String {
    let mut wire = kafka.any().await;
    let mut refused = Vec::new();
    for configs in all {
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(topic_name(&kafka.name("values")))
            .with_num_partitions(1)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default()
            .with_timeout_ms(30_000)
            .with_validate_only(true)
            .with_topics(vec![topic]);
        let code = wire.ask(kafka.version, &request).await.topics[0].error_code;
        if code != 0 {
            assert_eq!(said::error(code), "INVALID_CONFIG", "{configs:?}");
            let shown = configs.iter().map(|(name, value)| format!("{name}={value}"));
            refused.push(shown.collect::<Vec<_>>().join(" "));
        }
    }
    said::list(refused)
}

fn each<'a>(name: &'a str, values: &[&'a str]) -> Vec<Vec<(&'a str, &'a str)>> {
    values.iter().map(|value| vec![(name, *value)]).collect()
}

row!(
    numbers_and_their_bounds,
    "CreateTopics",
    7..=7,
    "numbers of configs at and beyond their bounds: those that are refused",
    "retention.ms=-2, retention.ms=5s, retention.ms=9223372036854775808, segment.bytes=1048575, segment.ms=0, \
     segment.index.bytes=3, segment.jitter.ms=-1, max.message.bytes=2147483648, min.insync.replicas=0, \
     min.cleanable.dirty.ratio=1.5, min.cleanable.dirty.ratio=-0.1, min.compaction.lag.ms=-1, \
     max.compaction.lag.ms=0, delete.retention.ms=-1, file.delete.delay.ms=-1, flush.messages=0, flush.ms=-1, \
     index.interval.bytes=-1, message.timestamp.before.max.ms=-1, message.timestamp.after.max.ms=-1, \
     local.retention.ms=-3, local.retention.bytes=-3, compression.gzip.level=0, compression.gzip.level=10, \
     compression.lz4.level=0, compression.lz4.level=18, compression.zstd.level=-131073, compression.zstd.level=23",
    async |kafka| {
        let all = [
            each("retention.ms", &["-1", " 5 ", "-2", "5s", "9223372036854775808"]),
            each("retention.bytes", &["-1", "-2"]),
            each("segment.bytes", &["1048576", "1048575"]),
            each("segment.ms", &["1", "0"]),
            each("segment.index.bytes", &["4", "3"]),
            each("segment.jitter.ms", &["0", "-1"]),
            each("max.message.bytes", &["0", "2147483648"]),
            each("min.insync.replicas", &["1", "0"]),
            each("min.cleanable.dirty.ratio", &["0", "1", "1.5", "-0.1", "NaN"]),
            each("min.compaction.lag.ms", &["0", "-1"]),
            each("max.compaction.lag.ms", &["1", "0"]),
            each("delete.retention.ms", &["0", "-1"]),
            each("file.delete.delay.ms", &["0", "-1"]),
            each("flush.messages", &["1", "0"]),
            each("flush.ms", &["0", "-1"]),
            each("index.interval.bytes", &["0", "-1"]),
            each("message.timestamp.before.max.ms", &["0", "-1"]),
            each("message.timestamp.after.max.ms", &["0", "-1"]),
            each("local.retention.ms", &["-2", "-3"]),
            each("local.retention.bytes", &["-2", "-3"]),
            each("compression.gzip.level", &["-1", "1", "9", "0", "10"]),
            each("compression.lz4.level", &["1", "17", "0", "18"]),
            each("compression.zstd.level", &["-131072", "22", "-131073", "23"]),
        ]
        .concat();
        refused(kafka, &all.iter().map(Vec::as_slice).collect::<Vec<_>>()).await
    }
);

row!(
    words_and_lists,
    "CreateTopics",
    7..=7,
    "words and lists of configs: those that are refused",
    "preallocate=yes, preallocate=, unclean.leader.election.enable=1, cleanup.policy=Delete, compression.type=GZIP, \
     compression.type=none, compression.type=, message.timestamp.type=logappendtime, \
     leader.replication.throttled.replicas=0-1, leader.replication.throttled.replicas=a:b, \
     follower.replication.throttled.replicas=none, remote.storage.enable=true",
    async |kafka| {
        let all = [
            each("preallocate", &["true", "TRUE", " false ", "yes", ""]),
            each("unclean.leader.election.enable", &["True", "1"]),
            each("cleanup.policy", &["compact,delete", " compact , delete ", "delete,delete", "Delete", ""]),
            each("compression.type", &["producer", "GZIP", "none", ""]),
            each("message.timestamp.type", &["LogAppendTime", "logappendtime"]),
            each("leader.replication.throttled.replicas", &["*", "0:1,1:2", "", "0-1", "a:b"]),
            each("follower.replication.throttled.replicas", &["*", "none"]),
            each("remote.storage.enable", &["false", "true"]),
            each("remote.log.copy.disable", &["true"]),
            each("remote.log.delete.on.disable", &["true"]),
        ]
        .concat();
        refused(kafka, &all.iter().map(Vec::as_slice).collect::<Vec<_>>()).await
    }
);

row!(
    values_that_do_not_go_together,
    "CreateTopics",
    7..=7,
    "configs that contradict each other: those that are refused",
    "min.compaction.lag.ms=10 max.compaction.lag.ms=5",
    async |kafka| {
        let all: [&[(&str, &str)]; 5] = [
            &[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")],
            &[("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "5")],
            &[("local.retention.ms", "10"), ("retention.ms", "5")],
            &[("local.retention.bytes", "10"), ("retention.bytes", "5")],
            &[("min.insync.replicas", "3")],
        ];
        refused(kafka, &all).await
    }
);

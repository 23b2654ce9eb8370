//! Produce.

use bytes::Bytes;
use kafka_client::config::Compression;
use kafka_client::records::encode::ProducerStamp;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{MetadataRequest, ProduceRequest};

use crate::asked::{batch, batch_at, fetch, part, plain, produce};
use crate::kafka::{Kafka, Topic};
use crate::row;
use crate::said;
use crate::wire::Wire;

/// Produces, and what came back for the first partition.
pub(crate) async fn answer(
    wire: &mut Wire,
    version: i16,
    request: &ProduceRequest,
) -> PartitionProduceResponse {
    wire.ask(version, request).await.responses.remove(0).partition_responses.remove(0)
}

pub(crate) fn said(answer: &PartitionProduceResponse) -> String {
    format!("{} at {}", said::error(answer.error_code), answer.base_offset)
}

/// What these records lead to on a new topic.
async fn records(kafka: Kafka, configs: &[(&str, &str)], records: Bytes) -> PartitionProduceResponse {
    let topic = kafka.topic_with(1, configs).await;
    let request = produce(kafka.version, &topic, 0, records);
    answer(&mut kafka.leader(&topic, 0).await, kafka.version, &request).await
}

row!(appends, "Produce", 3..=13, "two batches of two records", "NONE at 0, NONE at 2", async |kafka| {
    let topic = kafka.topic(1).await;
    let mut leader = kafka.leader(&topic, 0).await;
    let request = produce(kafka.version, &topic, 0, plain(&["a", "b"]));
    let first = answer(&mut leader, kafka.version, &request).await;
    let second = answer(&mut leader, kafka.version, &request).await;
    said::list([said(&first), said(&second)])
});

row!(
    unknown_topic,
    "Produce",
    3..=12,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION at -1",
    async |kafka| {
        let request = produce(kafka.version, &Topic::unknown(kafka), 0, plain(&["a"]));
        said(&answer(&mut kafka.any().await, kafka.version, &request).await)
    }
);

row!(
    unknown_topic_id,
    "Produce",
    13..=13,
    "a topic id that does not exist",
    "UNKNOWN_TOPIC_ID at -1",
    async |kafka| {
        let request = produce(kafka.version, &Topic::unknown(kafka), 0, plain(&["a"]));
        said(&answer(&mut kafka.any().await, kafka.version, &request).await)
    }
);

row!(
    unknown_partition,
    "Produce",
    3..=13,
    "a partition that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION at -1",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let request = produce(kafka.version, &topic, 5, plain(&["a"]));
        said(&answer(&mut kafka.any().await, kafka.version, &request).await)
    }
);

row!(
    not_the_leader,
    "Produce",
    3..=9,
    "a broker that does not lead the partition",
    "NOT_LEADER_OR_FOLLOWER at -1",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let request = produce(kafka.version, &topic, 0, plain(&["a"]));
        said(&answer(&mut kafka.follower(&topic).await, kafka.version, &request).await)
    }
);

row!(
    who_is_the_leader,
    "Produce",
    10..=13,
    "a broker that does not lead the partition",
    "NOT_LEADER_OR_FOLLOWER at -1, the leader's id, epoch 0, its address",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let request = produce(kafka.version, &topic, 0, plain(&["a"]));
        let answer = kafka.follower(&topic).await.ask(kafka.version, &request).await;
        let part = &answer.responses[0].partition_responses[0];
        let leader = part.current_leader.leader_id;
        let id = if leader.0 == topic.leaders[0] { "the leader's id" } else { "another id" };
        let addressed = answer.node_endpoints.iter().any(|node| node.node_id == leader && node.port > 0);
        let address = if addressed { "its address" } else { "no address" };
        format!("{}, {id}, epoch {}, {address}", said(part), part.current_leader.leader_epoch)
    }
);

row!(invalid_acks, "Produce", 3..=13, "acks 2", "INVALID_REQUIRED_ACKS at -1", async |kafka| {
    let topic = kafka.topic(1).await;
    let request = produce(kafka.version, &topic, 0, plain(&["a"])).with_acks(2);
    said(&answer(&mut kafka.leader(&topic, 0).await, kafka.version, &request).await)
});

row!(
    no_acks,
    "Produce",
    3..=13,
    "acks 0, and Metadata behind it",
    "the first answer is Metadata's, and the record is there",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut leader = kafka.leader(&topic, 0).await;
        leader.send(kafka.version, &produce(kafka.version, &topic, 0, plain(&["a"])).with_acks(0)).await;
        let metadata = leader.ask(4, &MetadataRequest::default().with_topics(Some(vec![]))).await;
        assert!(!metadata.brokers.is_empty());
        let request = fetch(12, &topic, vec![part(0, 0)]).with_max_wait_ms(10_000).with_min_bytes(1);
        let found = leader.ask(12, &request).await;
        let there = said::records(&found.responses[0].partitions[0]);
        let there = if there == "0=a" { "there" } else { "not there" };
        format!("the first answer is Metadata's, and the record is {there}")
    }
);

row!(leader_only, "Produce", 3..=13, "acks 1", "NONE at 0", async |kafka| {
    let topic = kafka.topic(1).await;
    let request = produce(kafka.version, &topic, 0, plain(&["a"])).with_acks(1);
    said(&answer(&mut kafka.leader(&topic, 0).await, kafka.version, &request).await)
});

row!(checksum, "Produce", 3..=13, "a batch with a wrong checksum", "CORRUPT_MESSAGE at -1", async |kafka| {
    let mut broken = plain(&["abcdef"]).to_vec();
    let last = broken.len() - 2;
    broken[last] ^= 1;
    said(&records(kafka, &[], broken.into()).await)
});

row!(
    too_large,
    "Produce",
    3..=13,
    "a batch above max.message.bytes",
    "MESSAGE_TOO_LARGE at -1",
    async |kafka| {
        let big = plain(&[&"x".repeat(2000)]);
        said(&records(kafka, &[("max.message.bytes", "1000")], big).await)
    }
);

row!(
    two_batches,
    "Produce",
    3..=13,
    "two batches for one partition",
    "INVALID_RECORD at -1",
    async |kafka| {
        let two = [plain(&["a"]), plain(&["b"])].concat();
        said(&records(kafka, &[], two.into()).await)
    }
);

row!(no_batch, "Produce", 3..=13, "no batch at all", "INVALID_RECORD at -1", async |kafka| {
    said(&records(kafka, &[], Bytes::new()).await)
});

row!(
    from_the_future,
    "Produce",
    3..=13,
    "a timestamp two hours ahead of message.timestamp.after.max.ms",
    "INVALID_TIMESTAMP at -1",
    async |kafka| {
        let time =
            i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap() + 3 * 3_600_000;
        said(&records(kafka, &[], batch_at(time, &["a"], ProducerStamp::NONE, Compression::None)).await)
    }
);

row!(
    create_time,
    "Produce",
    3..=13,
    "the append time of a topic with CreateTime",
    "NONE, -1",
    async |kafka| {
        let answer = records(kafka, &[], plain(&["a"])).await;
        format!("{}, {}", said::error(answer.error_code), answer.log_append_time_ms)
    }
);

row!(
    append_time,
    "Produce",
    3..=13,
    "the append time of a topic with LogAppendTime",
    "NONE, the broker's time",
    async |kafka| {
        let answer = records(kafka, &[("message.timestamp.type", "LogAppendTime")], plain(&["a"])).await;
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let near = (answer.log_append_time_ms - now).abs() < 60_000;
        format!(
            "{}, {}",
            said::error(answer.error_code),
            if near { "the broker's time" } else { "another time" }
        )
    }
);

row!(
    zstd_too_early,
    "Produce",
    3..=6,
    "zstd before version 7",
    "UNSUPPORTED_COMPRESSION_TYPE at -1",
    async |kafka| said(&records(kafka, &[], batch(&["a"], ProducerStamp::NONE, Compression::Zstd)).await)
);

row!(
    compressed,
    "Produce",
    7..=13,
    "a compressed batch of each codec, fetched again",
    "each as it was sent but for offset and epoch",
    async |kafka| {
        let codecs = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        let topic = kafka.topic(1).await;
        let mut leader = kafka.leader(&topic, 0).await;
        for (offset, codec) in (0..).step_by(2).zip(codecs) {
            let sent = batch(&["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "b"], ProducerStamp::NONE, codec);
            let answer =
                answer(&mut leader, kafka.version, &produce(kafka.version, &topic, 0, sent.clone())).await;
            assert_eq!(said(&answer), format!("NONE at {offset}"), "{codec:?}");
            let found = leader.ask(12, &fetch(12, &topic, vec![part(0, offset)])).await;
            let found = found.responses[0].partitions[0].records.clone().unwrap();
            // Base offset and length, then the leader's epoch, then all that the checksum covers.
            if found[16..] != sent[16..] || found[8..12] != sent[8..12] {
                return format!("{codec:?} was changed");
            }
        }
        "each as it was sent but for offset and epoch".into()
    }
);

row!(
    without_a_key,
    "Produce",
    3..=13,
    "a record without a key on a topic with cleanup.policy compact",
    "INVALID_RECORD at -1",
    async |kafka| {
        let topic = kafka.topic_with(1, &[("cleanup.policy", "compact")]).await;
        let mut leader = kafka.leader(&topic, 0).await;
        let request = produce(kafka.version, &topic, 0, plain(&["a"]));
        said(&answer(&mut leader, kafka.version, &request).await)
    }
);

row!(
    recompressed,
    "Produce",
    7..=13,
    "a plain batch on a topic with compression.type gzip, fetched again",
    "gzip",
    async |kafka| {
        let topic = kafka.topic_with(1, &[("compression.type", "gzip")]).await;
        let mut leader = kafka.leader(&topic, 0).await;
        let sent =
            answer(&mut leader, kafka.version, &produce(kafka.version, &topic, 0, plain(&["a"]))).await;
        assert_eq!(said(&sent), "NONE at 0");
        let found = leader.ask(12, &fetch(12, &topic, vec![part(0, 0)])).await;
        let found = found.responses[0].partitions[0].records.clone().unwrap();
        let header = kafka_client::records::BatchHeader::parse(&found).unwrap().unwrap();
        header.codec.name().to_owned()
    }
);

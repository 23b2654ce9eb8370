//! Fetch without a session: what comes, how much of it, how long it waits.

use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_response::PartitionData;
use tokio::time::Instant;

use crate::asked::{fetch, part, plain, produce};
use crate::kafka::{Kafka, Topic};
use crate::row;
use crate::said;
use crate::wire::Wire;

/// A version in which records are produced here.
const PRODUCE: i16 = 9;

/// A topic of one partition with a batch for each of `batches`, and a connection to its leader.
pub(crate) async fn filled(kafka: Kafka, batches: &[&[&str]]) -> (Topic, Wire) {
    let topic = kafka.topic(1).await;
    let mut leader = kafka.leader(&topic, 0).await;
    for values in batches {
        append(&mut leader, &topic, 0, values).await;
    }
    (topic, leader)
}

pub(crate) async fn append(leader: &mut Wire, topic: &Topic, partition: i32, values: &[&str]) {
    let answer = leader.ask(PRODUCE, &produce(PRODUCE, topic, partition, plain(values))).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

async fn first(leader: &mut Wire, version: i16, request: &FetchRequest) -> PartitionData {
    leader.ask(version, request).await.responses.remove(0).partitions.remove(0)
}

/// `NONE, 0=a 1=b of 0..2`: records, log start and high watermark.
fn said(data: &PartitionData) -> String {
    let (start, end) = (data.log_start_offset, data.high_watermark);
    let start = if start < 0 { "?".to_owned() } else { start.to_string() };
    format!("{}, [{}] of {start}..{end}", said::error(data.error_code), said::records(data))
}

row!(
    whole_batches,
    "Fetch",
    5..=16,
    "from inside a batch",
    "NONE, [0=a 1=b 2=c 3=d] of 0..4",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[&["a", "b", "c"], &["d"]]).await;
        said(&first(&mut leader, kafka.version, &fetch(kafka.version, &topic, vec![part(0, 1)])).await)
    }
);

row!(
    out_of_range,
    "Fetch",
    5..=16,
    "from beyond the end, waiting long",
    "OFFSET_OUT_OF_RANGE, [] of -1..-1, at once",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[&["a"]]).await;
        let begin = Instant::now();
        let request =
            fetch(kafka.version, &topic, vec![part(0, 2)]).with_max_wait_ms(30_000).with_min_bytes(1);
        let answer = first(&mut leader, kafka.version, &request).await;
        let at_once = if begin.elapsed() < Duration::from_secs(10) { "at once" } else { "late" };
        format!("{}, {at_once}", said(&answer).replace('?', "-1"))
    }
);

row!(
    unknown_topic,
    "Fetch",
    4..=12,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let request = fetch(kafka.version, &Topic::unknown(kafka), vec![part(0, 0)]);
        said::error(first(&mut kafka.any().await, kafka.version, &request).await.error_code)
    }
);

row!(
    unknown_topic_id,
    "Fetch",
    13..=16,
    "a topic id that does not exist",
    "UNKNOWN_TOPIC_ID",
    async |kafka| {
        let request = fetch(kafka.version, &Topic::unknown(kafka), vec![part(0, 0)]);
        said::error(first(&mut kafka.any().await, kafka.version, &request).await.error_code)
    }
);

row!(
    unknown_partition,
    "Fetch",
    4..=16,
    "a partition that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let request = fetch(kafka.version, &topic, vec![part(7, 0)]);
        said::error(first(&mut kafka.leader(&topic, 0).await, kafka.version, &request).await.error_code)
    }
);

row!(
    not_the_leader,
    "Fetch",
    4..=15,
    "a broker that does not lead the partition",
    "NOT_LEADER_OR_FOLLOWER",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let request = fetch(kafka.version, &topic, vec![part(0, 0)]);
        said::error(first(&mut kafka.follower(&topic).await, kafka.version, &request).await.error_code)
    }
);

row!(
    who_is_the_leader,
    "Fetch",
    16..=16,
    "a broker that does not lead the partition",
    "NOT_LEADER_OR_FOLLOWER with the leader's id, epoch 0 and address",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let request = fetch(kafka.version, &topic, vec![part(0, 0)]);
        let answer = kafka.follower(&topic).await.ask(kafka.version, &request).await;
        let data = &answer.responses[0].partitions[0];
        let leader = data.current_leader.leader_id;
        let id = if leader.0 == topic.leaders[0] { "the leader's id" } else { "another id" };
        let addressed = answer.node_endpoints.iter().any(|node| node.node_id == leader && node.port > 0);
        let address = if addressed { "address" } else { "no address" };
        let epoch = data.current_leader.leader_epoch;
        format!("{} with {id}, epoch {epoch} and {address}", said::error(data.error_code))
    }
);

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
    5..=18,
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
    5..=18,
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
    13..=18,
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
    4..=18,
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
    16..=18,
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

row!(
    partition_limit,
    "Fetch",
    4..=18,
    "three batches with a partition limit of one byte",
    "the first whole batch",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[&["a", "b"], &["c"], &["d"]]).await;
        let part = part(0, 0).with_partition_max_bytes(1);
        match &*said::records(
            &first(&mut leader, kafka.version, &fetch(kafka.version, &topic, vec![part])).await,
        ) {
            "0=a 1=b" => "the first whole batch".into(),
            other => other.into(),
        }
    }
);

row!(
    answer_limit,
    "Fetch",
    4..=18,
    "two partitions with data and a limit of one byte for all",
    "one whole batch of the first, nothing of the second",
    async |kafka| {
        let topic = kafka.topic(4).await;
        let (one, other) = topic.on_one_broker();
        let mut leader = kafka.leader(&topic, one).await;
        for (partition, value) in [(one, "a"), (other, "b"), (other, "c")] {
            append(&mut leader, &topic, index(partition), &[value]).await;
        }
        let parts = vec![part(index(one), 0), part(index(other), 0)];
        let request = fetch(kafka.version, &topic, parts).with_max_bytes(1);
        let found = leader.ask(kafka.version, &request).await;
        let parts = found.responses[0].partitions.iter().map(said::records);
        match said::list(parts).as_str() {
            "0=a, " => "one whole batch of the first, nothing of the second".into(),
            other => other.into(),
        }
    }
);

pub(crate) fn index(partition: usize) -> i32 {
    i32::try_from(partition).unwrap()
}

row!(
    waits_for_nothing,
    "Fetch",
    4..=18,
    "an empty partition, at most 300 ms",
    "NONE, no records, after 300 ms",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[]).await;
        let begin = Instant::now();
        let request = fetch(kafka.version, &topic, vec![part(0, 0)]).with_max_wait_ms(300).with_min_bytes(1);
        let data = first(&mut leader, kafka.version, &request).await;
        let when = if begin.elapsed() >= Duration::from_millis(295) { "after 300 ms" } else { "too early" };
        let records = if said::records(&data).is_empty() { "no records" } else { "records" };
        format!("{}, {records}, {when}", said::error(data.error_code))
    }
);

row!(
    waits_for_bytes,
    "Fetch",
    4..=18,
    "as many bytes as two batches have, while one after the other comes",
    "both, before the time is up",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[]).await;
        let bytes = 2 * i32::try_from(plain(&["a"]).len()).unwrap();
        let begin = Instant::now();
        let request =
            fetch(kafka.version, &topic, vec![part(0, 0)]).with_max_wait_ms(40_000).with_min_bytes(bytes);
        leader.send(kafka.version, &request).await;
        let mut producer = kafka.leader(&topic, 0).await;
        append(&mut producer, &topic, 0, &["a"]).await;
        append(&mut producer, &topic, 0, &["b"]).await;
        let found = leader.receive::<FetchRequest>(kafka.version).await;
        let in_time =
            if begin.elapsed() < Duration::from_secs(30) { "before the time is up" } else { "late" };
        match &*said::records(&found.responses[0].partitions[0]) {
            "0=a 1=b" => format!("both, {in_time}"),
            other => format!("{other}, {in_time}"),
        }
    }
);

row!(
    unknown_beside_known,
    "Fetch",
    4..=12,
    "an empty partition and an unknown topic, at most 300 ms",
    "NONE and UNKNOWN_TOPIC_OR_PARTITION after 300 ms",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[]).await;
        let mut request =
            fetch(kafka.version, &topic, vec![part(0, 0)]).with_max_wait_ms(300).with_min_bytes(1);
        request.topics.extend(fetch(kafka.version, &Topic::unknown(kafka), vec![part(0, 0)]).topics);
        let begin = Instant::now();
        let found = leader.ask(kafka.version, &request).await;
        let mut errors: Vec<i16> =
            found.responses.iter().flat_map(|topic| &topic.partitions).map(|part| part.error_code).collect();
        errors.sort_unstable();
        let when = if begin.elapsed() >= Duration::from_millis(295) { "after 300 ms" } else { "too early" };
        format!("{} {when}", errors.into_iter().map(said::error).collect::<Vec<_>>().join(" and "))
    }
);

row!(
    nothing_known,
    "Fetch",
    4..=12,
    "an unknown topic alone, waiting long",
    "UNKNOWN_TOPIC_OR_PARTITION at once",
    async |kafka| {
        let begin = Instant::now();
        let request = fetch(kafka.version, &Topic::unknown(kafka), vec![part(0, 0)]);
        let request = request.with_max_wait_ms(40_000).with_min_bytes(1);
        let error = said::error(first(&mut kafka.any().await, kafka.version, &request).await.error_code);
        format!("{error} {}", if begin.elapsed() < Duration::from_secs(20) { "at once" } else { "late" })
    }
);

row!(
    unknown_epoch,
    "Fetch",
    9..=18,
    "a leader epoch that is not there yet",
    "UNKNOWN_LEADER_EPOCH",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[&["a"]]).await;
        let request = fetch(kafka.version, &topic, vec![part(0, 0).with_current_leader_epoch(9)]);
        said::error(first(&mut leader, kafka.version, &request).await.error_code)
    }
);

/// What a fetch with a last fetched epoch leads to, of a log that ends at 1 in epoch 0.
async fn diverging(kafka: Kafka, offset: i64, epoch: i32) -> String {
    let (topic, mut leader) = filled(kafka, &[&["a"]]).await;
    let request = fetch(kafka.version, &topic, vec![part(0, offset).with_last_fetched_epoch(epoch)]);
    let data = first(&mut leader, kafka.version, &request).await;
    let from = data.diverging_epoch;
    format!(
        "{}, diverging from epoch {}, offset {} on",
        said::error(data.error_code),
        from.epoch,
        from.end_offset
    )
}

row!(
    diverged,
    "Fetch",
    12..=18,
    "offset 3 with the last fetched epoch 0, of a log that ends at 1 in epoch 0",
    "NONE, diverging from epoch 0, offset 1 on",
    async |kafka| diverging(kafka, 3, 0).await
);

row!(
    not_diverged,
    "Fetch",
    12..=18,
    "offset 1 with the last fetched epoch 0, of a log that ends at 1 in epoch 0",
    "NONE, diverging from epoch -1, offset -1 on",
    async |kafka| diverging(kafka, 1, 0).await
);

row!(
    fetched_in_the_future,
    "Fetch",
    12..=18,
    "offset 1 with the last fetched epoch 7, of a log that ends at 1 in epoch 0",
    "OFFSET_OUT_OF_RANGE, diverging from epoch -1, offset -1 on",
    async |kafka| diverging(kafka, 1, 7).await
);

row!(
    aborted_transactions,
    "Fetch",
    4..=18,
    "the list of aborted transactions, read uncommitted and read committed, where there are none",
    "null, 0",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[&["a"]]).await;
        let mut said = Vec::new();
        for isolation in [0, 1] {
            let request = fetch(kafka.version, &topic, vec![part(0, 0)]).with_isolation_level(isolation);
            let data = first(&mut leader, kafka.version, &request).await;
            said.push(data.aborted_transactions.map_or("null".to_owned(), |list| list.len().to_string()));
        }
        said::list(said)
    }
);

row!(
    stable_offset,
    "Fetch",
    4..=18,
    "the last stable offset without transactions",
    "2 of 2",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[&["a", "b"]]).await;
        let data = first(&mut leader, kafka.version, &fetch(kafka.version, &topic, vec![part(0, 0)])).await;
        format!("{} of {}", data.last_stable_offset, data.high_watermark)
    }
);

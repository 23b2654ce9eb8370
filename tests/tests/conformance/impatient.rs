//! What a broker does after a while: retention, compaction, transactional ids that nobody uses. These rows need an Apache
//! Kafka that looks after them more often than each five minutes, which it cannot be told to at run time; `scripts/test`
//! starts one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_client::config::Compression;
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_protocol::messages::DescribeTransactionsRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest};

use crate::asked::{batch_at, fetch, part, produce, topic_name};
use crate::kafka::{Kafka, Topic, until};
use crate::transactional::Tx;
use crate::{row, said};

/// Long ago.
const ONCE: i64 = 1000;
/// Two of these do not fit into the smallest segment that Kafka takes.
const LARGE: usize = 600 * 1024;
const SMALLEST_SEGMENT: (&str, &str) = ("segment.bytes", "1048576");

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn plain_at(time: i64, value: &str) -> Bytes {
    batch_at(time, &[value], ProducerStamp::NONE, Compression::None)
}

async fn write(kafka: Kafka, topic: &Topic, records: impl IntoIterator<Item = Bytes>) {
    let mut leader = kafka.leader(topic, 0).await;
    for records in records {
        let answer = leader.ask(9, &produce(9, topic, 0, records)).await;
        assert_eq!(said::error(answer.responses[0].partition_responses[0].error_code), "NONE");
    }
}

async fn first_offset(kafka: Kafka, topic: &Topic) -> i64 {
    let part = ListOffsetsPartition::default().with_timestamp(-2).with_current_leader_epoch(-1);
    let asked = ListOffsetsTopic::default().with_name(topic_name(&topic.name)).with_partitions(vec![part]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
    kafka.leader(topic, 0).await.ask(kafka.version.max(4), &request).await.topics[0].partitions[0].offset
}

/// The first offset once it has moved, and for long enough to see that it stays there.
async fn moved_to(kafka: Kafka, topic: &Topic) -> String {
    let moved = until("records that are dropped", async || {
        let first = first_offset(kafka, topic).await;
        (first > 0).then_some(first)
    });
    moved.await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    first_offset(kafka, topic).await.to_string()
}

row!(
    old_records_go,
    "ListOffsets",
    4..=4,
    "the earliest with retention.ms=60000: two segments, one record of 1970 and one of now; two records of 1970",
    "1; 2",
    impatient,
    async |kafka| {
        let configs = [("retention.ms", "60000"), SMALLEST_SEGMENT];
        let large = "x".repeat(LARGE);
        let mixed = kafka.topic_with(1, &configs).await;
        write(kafka, &mixed, [plain_at(ONCE, &large), plain_at(now(), &large)]).await;
        let old = kafka.topic_with(1, &configs).await;
        write(kafka, &old, [plain_at(ONCE, "a"), plain_at(ONCE, "b")]).await;
        format!("{}; {}", moved_to(kafka, &mixed).await, moved_to(kafka, &old).await)
    }
);

row!(
    old_records_of_the_segment_that_is_written_to,
    "ListOffsets",
    4..=4,
    "the earliest with retention.ms=60000: one segment, one record two minutes old and one of now",
    "0",
    impatient differs("1", "each batch is a segment: a test that wants gaps need not write megabytes or wait for segment.ms"),
    async |kafka| {
        let topic = kafka.topic_with(1, &[("retention.ms", "60000")]).await;
        write(kafka, &topic, [plain_at(now() - 120_000, "a"), plain_at(now(), "b")]).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        first_offset(kafka, &topic).await.to_string()
    }
);

row!(
    records_that_are_too_many_go,
    "ListOffsets",
    4..=4,
    "the earliest with retention.bytes=1000000 and three segments of 600 KB",
    "1",
    impatient,
    async |kafka| {
        let topic = kafka.topic_with(1, &[("retention.bytes", "1000000"), SMALLEST_SEGMENT]).await;
        let large = "x".repeat(LARGE);
        write(kafka, &topic, (0..3).map(|_| plain_at(now(), &large))).await;
        moved_to(kafka, &topic).await
    }
);

fn keyed(time: i64, pairs: &[(&str, &str)]) -> Bytes {
    let mut builder = BatchBuilder::new(256);
    for (key, value) in pairs {
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        builder.append(RecordToWrite { timestamp: time, key, value, headers: &[] });
    }
    builder.build(Compression::None, ProducerStamp::NONE).unwrap()
}

/// Every record before `end`: a fetch reads one segment.
async fn all_until(kafka: Kafka, topic: &Topic, end: i64) -> String {
    let mut leader = kafka.leader(topic, 0).await;
    let (mut found, mut next) = (Vec::new(), 0);
    while next < end {
        let request = fetch(12, topic, vec![part(0, next)]);
        let data = leader.ask(12, &request).await.responses.remove(0).partitions.remove(0);
        let records = said::records(&data);
        let last =
            records.rsplit(' ').next().and_then(|record| record.split_once('=')?.0.parse::<i64>().ok());
        next = last.unwrap_or_else(|| panic!("nothing from {next} on: {}", said::error(data.error_code))) + 1;
        found.push(records);
    }
    found.join(" ")
}

row!(
    of_each_key_the_last_stays,
    "Fetch",
    12..=12,
    "a compacted topic: k=a; k=b l=c; k=d in the segment that is written to",
    "1=b 2=c 3=d",
    impatient,
    async |kafka| {
        let configs =
            [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")];
        let topic = kafka.topic_with(1, &configs).await;
        let all =
            [keyed(ONCE, &[("k", "a")]), keyed(5000, &[("k", "b"), ("l", "c")]), keyed(9000, &[("k", "d")])];
        write(kafka, &topic, all).await;
        if let Some(embedded) = kafka.embedded() {
            embedded.compact(&topic.name).unwrap();
        }
        until("compaction", async || {
            let found = all_until(kafka, &topic, 4).await;
            (!found.contains("=a")).then_some(found)
        })
        .await
    }
);

row!(
    ids_that_nobody_uses,
    "InitProducerId",
    5..=5,
    "a transactional id after transactional.id.expiration.ms: described; adding to a transaction; ending one; initialised \
     again",
    "TRANSACTIONAL_ID_NOT_FOUND; INVALID_PRODUCER_ID_MAPPING; INVALID_PRODUCER_ID_MAPPING; another id, epoch 0",
    impatient,
    async |kafka| {
        let mut tx = Tx::new(kafka).await;
        let me = tx.init().await;
        let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![tx.id.clone()]);
        let described = until("an id that is forgotten", async || {
            let code = tx.coordinator.ask(0, &request).await.transaction_states.remove(0).error_code;
            (code != 0).then(|| said::error(code))
        })
        .await;
        let added = tx.add(me).await;
        let (ended, _) = tx.end(4, me, true).await;
        let next = tx.init().await;
        let id = if next.id == me.id { "the same id" } else { "another id" };
        format!("{described}; {added}; {ended}; {id}, epoch {}", next.epoch)
    }
);

//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};

use crate::asked::{fetch, part, topic_name};
use crate::fetch::filled;
use crate::kafka::{Kafka, Topic};
use crate::row;
use crate::said;
use crate::wire::Wire;

/// What stands for a timestamp.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

/// `NONE, offset 2, time 1010, epoch 0`: what a version does not tell is -1.
async fn list(wire: &mut Wire, version: i16, topic: &Topic, asked: ListOffsetsPartition) -> String {
    let asked = ListOffsetsTopic::default().with_name(topic_name(&topic.name)).with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
    let found = wire.ask(version, &request).await.topics.remove(0).partitions.remove(0);
    let epoch = if version < 4 { "?".into() } else { found.leader_epoch.to_string() };
    format!(
        "{}, offset {}, time {}, epoch {epoch}",
        said::error(found.error_code),
        found.offset,
        found.timestamp
    )
}

fn at(timestamp: i64) -> ListOffsetsPartition {
    ListOffsetsPartition::default().with_timestamp(timestamp)
}

/// Asks a partition with records at 1000, 1010, 1020 and again 1000.
async fn listed(kafka: Kafka, timestamp: i64) -> String {
    let (topic, mut leader) = filled(kafka, &[&["a", "b", "c"], &["d"]]).await;
    list(&mut leader, kafka.version, &topic, at(timestamp)).await
}

row!(
    latest,
    "ListOffsets",
    4..=10,
    "the latest of 4 records",
    "NONE, offset 4, time -1, epoch 0",
    async |kafka| { listed(kafka, LATEST).await }
);

row!(
    latest_old,
    "ListOffsets",
    1..=3,
    "the latest of 4 records",
    "NONE, offset 4, time -1, epoch ?",
    async |kafka| { listed(kafka, LATEST).await }
);

row!(earliest, "ListOffsets", 4..=10, "the earliest", "NONE, offset 0, time -1, epoch 0", async |kafka| {
    listed(kafka, EARLIEST).await
});

row!(
    by_time,
    "ListOffsets",
    4..=10,
    "time 1005 of records at 1000, 1010, 1020, 1000",
    "NONE, offset 1, time 1010, epoch 0",
    async |kafka| listed(kafka, 1005).await
);

row!(
    by_exact_time,
    "ListOffsets",
    4..=10,
    "time 1000 of records at 1000, 1010, 1020, 1000",
    "NONE, offset 0, time 1000, epoch 0",
    async |kafka| listed(kafka, 1000).await
);

row!(
    after_all,
    "ListOffsets",
    4..=10,
    "a time after all records",
    "NONE, offset -1, time -1, epoch -1",
    async |kafka| listed(kafka, 5000).await
);

row!(
    max_time,
    "ListOffsets",
    7..=10,
    "the record with the greatest time",
    "NONE, offset 2, time 1020, epoch 0",
    async |kafka| listed(kafka, MAX_TIMESTAMP).await
);

row!(
    max_time_of_none,
    "ListOffsets",
    7..=10,
    "the record with the greatest time of an empty partition",
    "NONE, offset -1, time -1, epoch -1",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[]).await;
        list(&mut leader, kafka.version, &topic, at(MAX_TIMESTAMP)).await
    }
);

row!(
    max_time_too_early,
    "ListOffsets",
    1..=6,
    "the greatest time before version 7",
    "UNSUPPORTED_VERSION",
    async |kafka| listed(kafka, MAX_TIMESTAMP).await.split(',').next().unwrap().to_owned()
);

row!(
    local_earliest,
    "ListOffsets",
    8..=10,
    "the earliest local offset",
    "NONE, offset 0, time -1, epoch 0",
    async |kafka| listed(kafka, -4).await
);

row!(
    latest_tiered,
    "ListOffsets",
    9..=10,
    "the latest tiered offset where nothing is tiered",
    "NONE, offset -1, time -1, epoch -1",
    async |kafka| listed(kafka, -5).await
);

row!(
    list_unknown_topic,
    "ListOffsets",
    4..=10,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION, offset -1, time -1, epoch -1",
    async |kafka| list(&mut kafka.any().await, kafka.version, &Topic::unknown(kafka), at(LATEST)).await
);

row!(
    list_elsewhere,
    "ListOffsets",
    4..=10,
    "a broker that does not lead the partition",
    "NOT_LEADER_OR_FOLLOWER, offset -1, time -1, epoch -1",
    async |kafka| {
        let topic = kafka.topic(1).await;
        list(&mut kafka.follower(&topic).await, kafka.version, &topic, at(LATEST)).await
    }
);

row!(
    list_unknown_epoch,
    "ListOffsets",
    4..=10,
    "a leader epoch that is not there yet",
    "UNKNOWN_LEADER_EPOCH, offset -1, time -1, epoch -1",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[]).await;
        list(&mut leader, kafka.version, &topic, at(LATEST).with_current_leader_epoch(3)).await
    }
);

/// `NONE, epoch 0 ends at 2`
async fn end_of(kafka: Kafka, asked: OffsetForLeaderPartition) -> String {
    let (topic, mut leader) = filled(kafka, &[&["a", "b"]]).await;
    end(&mut leader, kafka.version, &topic, asked).await
}

async fn end(wire: &mut Wire, version: i16, topic: &Topic, asked: OffsetForLeaderPartition) -> String {
    let asked =
        OffsetForLeaderTopic::default().with_topic(topic_name(&topic.name)).with_partitions(vec![asked]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![asked]);
    let request = if version >= 3 { request.with_replica_id(BrokerId(-1)) } else { request };
    let found = wire.ask(version, &request).await.topics.remove(0).partitions.remove(0);
    format!("{}, epoch {} ends at {}", said::error(found.error_code), found.leader_epoch, found.end_offset)
}

fn epoch(epoch: i32) -> OffsetForLeaderPartition {
    OffsetForLeaderPartition::default().with_leader_epoch(epoch)
}

row!(
    epoch_of_now,
    "OffsetForLeaderEpoch",
    2..=4,
    "the current epoch",
    "NONE, epoch 0 ends at 2",
    async |kafka| { end_of(kafka, epoch(0)).await }
);

row!(
    epoch_of_the_future,
    "OffsetForLeaderEpoch",
    2..=4,
    "an epoch that is not there yet",
    "NONE, epoch -1 ends at -1",
    async |kafka| end_of(kafka, epoch(5)).await
);

row!(
    epoch_unknown,
    "OffsetForLeaderEpoch",
    2..=4,
    "with a current epoch that is not there yet",
    "UNKNOWN_LEADER_EPOCH, epoch -1 ends at -1",
    async |kafka| end_of(kafka, epoch(0).with_current_leader_epoch(4)).await
);

row!(
    epoch_elsewhere,
    "OffsetForLeaderEpoch",
    2..=4,
    "a broker that does not lead the partition",
    "NOT_LEADER_OR_FOLLOWER, epoch -1 ends at -1",
    async |kafka| {
        let topic = kafka.topic(1).await;
        end(&mut kafka.follower(&topic).await, kafka.version, &topic, epoch(0)).await
    }
);

row!(
    epoch_of_unknown_topic,
    "OffsetForLeaderEpoch",
    2..=4,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION, epoch -1 ends at -1",
    async |kafka| end(&mut kafka.any().await, kafka.version, &Topic::unknown(kafka), epoch(0)).await
);

/// `NONE, low watermark 1`
async fn delete(wire: &mut Wire, version: i16, topic: &Topic, before: i64) -> String {
    let part = DeleteRecordsPartition::default().with_offset(before);
    let asked = DeleteRecordsTopic::default().with_name(topic_name(&topic.name)).with_partitions(vec![part]);
    let request = DeleteRecordsRequest::default().with_timeout_ms(30_000).with_topics(vec![asked]);
    let done = wire.ask(version, &request).await.topics.remove(0).partitions.remove(0);
    format!("{}, low watermark {}", said::error(done.error_code), done.low_watermark)
}

row!(
    deleted_records,
    "DeleteRecords",
    0..=2,
    "records before 1 of 0..3, then fetched from 0 and from 1",
    "NONE, low watermark 1; OFFSET_OUT_OF_RANGE; [0=a 1=b 2=c] from 1",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[&["a", "b", "c"]]).await;
        let done = delete(&mut leader, kafka.version, &topic, 1).await;
        let gone = leader.ask(12, &fetch(12, &topic, vec![part(0, 0)])).await;
        let left = leader.ask(12, &fetch(12, &topic, vec![part(0, 1)])).await;
        let left = &left.responses[0].partitions[0];
        let gone = said::error(gone.responses[0].partitions[0].error_code);
        format!("{done}; {gone}; [{}] from {}", said::records(left), left.log_start_offset)
    }
);

row!(deleted_all, "DeleteRecords", 0..=2, "all (-1) of 0..2", "NONE, low watermark 2", async |kafka| {
    let (topic, mut leader) = filled(kafka, &[&["a", "b"]]).await;
    delete(&mut leader, kafka.version, &topic, -1).await
});

row!(
    deleted_beyond,
    "DeleteRecords",
    0..=2,
    "beyond the end",
    "OFFSET_OUT_OF_RANGE, low watermark -1",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[&["a"]]).await;
        delete(&mut leader, kafka.version, &topic, 9).await
    }
);

row!(
    deleted_again,
    "DeleteRecords",
    0..=2,
    "before 2, then before 1",
    "NONE, low watermark 2",
    async |kafka| {
        let (topic, mut leader) = filled(kafka, &[&["a", "b", "c"]]).await;
        delete(&mut leader, kafka.version, &topic, 2).await;
        delete(&mut leader, kafka.version, &topic, 1).await
    }
);

row!(
    deleted_elsewhere,
    "DeleteRecords",
    0..=2,
    "a broker that does not lead the partition",
    "NOT_LEADER_OR_FOLLOWER, low watermark -1",
    async |kafka| {
        let topic = kafka.topic(1).await;
        delete(&mut kafka.follower(&topic).await, kafka.version, &topic, -1).await
    }
);

row!(
    deleted_of_compacted,
    "DeleteRecords",
    0..=2,
    "of a compacted topic",
    "POLICY_VIOLATION, low watermark -1",
    async |kafka| {
        let topic = kafka.topic_with(1, &[("cleanup.policy", "compact")]).await;
        delete(&mut kafka.leader(&topic, 0).await, kafka.version, &topic, -1).await
    }
);

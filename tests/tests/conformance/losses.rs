//! What becomes of partitions whose brokers go: too few replicas in sync, no leader, a leader that lacks records.

use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponsePartition;
use kafka_protocol::messages::{BrokerId, DescribeTopicPartitionsRequest};

use crate::asked::{fetch, part, plain, produce, topic_name};
use crate::kafka::{Kafka, Topic, leads, until_within};
use crate::leaders::elected;
use crate::nodes::PATIENCE;
use crate::produce::{answer, said};
use crate::{row, said};

/// Broker 1 tells how it goes; the others go.
const WITNESS: i32 = 1;
const FIRST: i32 = 2;
const SECOND: i32 = 3;

/// Partition 0 of the topic, as the witness sees it, once it is as `wanted`.
async fn seen(
    kafka: Kafka,
    topic: &Topic,
    wanted: impl Fn(&DescribeTopicPartitionsResponsePartition) -> bool,
) -> DescribeTopicPartitionsResponsePartition {
    seen_by(kafka, WITNESS, topic, wanted).await
}

/// The same, as another broker sees it: each learns it at its own time.
async fn seen_by(
    kafka: Kafka,
    broker: i32,
    topic: &Topic,
    wanted: impl Fn(&DescribeTopicPartitionsResponsePartition) -> bool,
) -> DescribeTopicPartitionsResponsePartition {
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![TopicRequest::default().with_name(topic_name(&topic.name))])
        .with_response_partition_limit(10)
        .with_cursor(None);
    until_within(PATIENCE, "the leader and its replicas", async || {
        let mut answer = kafka.broker(broker).await.ask(0, &request).await;
        let found = answer.topics.remove(0).partitions.remove(0);
        wanted(&found).then_some(found)
    })
    .await
}

fn in_sync(part: &DescribeTopicPartitionsResponsePartition, nodes: &[i32]) -> bool {
    part.isr_nodes.iter().map(|id| id.0).eq(nodes.iter().copied())
}

/// Writes one record through `leader`, and says how that went.
async fn written(kafka: Kafka, topic: &Topic, leader: i32, acks: i16, value: &str) -> String {
    let request = produce(kafka.version.max(9), topic, 0, plain(&[value])).with_acks(acks);
    said(&answer(&mut kafka.broker(leader).await, kafka.version.max(9), &request).await)
}

/// The records, once `leader` leads.
async fn read(kafka: Kafka, topic: &Topic, leader: i32) -> String {
    let request = fetch(12, topic, vec![part(0, 0)]);
    until_within(PATIENCE, "the new leader", async || {
        let mut wire = kafka.broker(leader).await;
        if !leads(&mut wire, topic, 0).await {
            return None;
        }
        let mut answer = wire.ask(12, &request).await;
        let data = answer.responses.remove(0).partitions.remove(0);
        let records = said::records(&data);
        (data.error_code == 0 && !records.is_empty()).then_some(records)
    })
    .await
}

row!(
    too_few_in_sync,
    "Produce",
    13..=13,
    "min.insync.replicas=2 of a partition that has one replica; of one with two, one of them gone: acks all, acks 1; it is \
     back: acks all",
    "NONE at 0; NOT_ENOUGH_REPLICAS at -1, NONE at 0; NONE at 1",
    alone,
    async |kafka| {
        let strict = [("min.insync.replicas", "2")];
        let single = kafka.placed(&[WITNESS], &strict).await;
        let alone = written(kafka, &single, WITNESS, -1, "a").await;
        let topic = kafka.placed(&[FIRST, SECOND], &strict).await;
        kafka.stop(SECOND).await;
        seen_by(kafka, FIRST, &topic, |part| in_sync(part, &[FIRST])).await;
        let refused = written(kafka, &topic, FIRST, -1, "a").await;
        let taken = written(kafka, &topic, FIRST, 1, "a").await;
        kafka.start(SECOND).await;
        seen_by(kafka, FIRST, &topic, |part| in_sync(part, &[FIRST, SECOND])).await;
        // What the leader tells of its followers may be a moment ahead of what it checks, and a client asks again.
        let again = until_within(PATIENCE, "enough replicas", async || {
            let said = written(kafka, &topic, FIRST, -1, "b").await;
            (!said.starts_with("NOT_ENOUGH_REPLICAS")).then_some(said)
        });
        let again = again.await;
        format!("{alone}; {refused}, {taken}; {again}")
    }
);

row!(
    an_unclean_leader_lacks_records,
    "ElectLeaders",
    2..=2,
    "a is written to two replicas, b to one alone, which goes; the other one is back: the leader, a preferred election, an \
     unclean one; then its log, and what is written next",
    "none; PREFERRED_LEADER_NOT_AVAILABLE; NONE; 3 in a new epoch, 0=a; NONE at 1",
    alone,
    async |kafka| {
        let topic = kafka.placed(&[FIRST, SECOND], &[("min.insync.replicas", "1")]).await;
        written(kafka, &topic, FIRST, -1, "a").await;
        kafka.stop(SECOND).await;
        let before = seen(kafka, &topic, |part| in_sync(part, &[FIRST])).await.leader_epoch;
        assert_eq!(written(kafka, &topic, FIRST, -1, "b").await, "NONE at 1");
        kafka.stop(FIRST).await;
        kafka.start(SECOND).await;
        let nobody = BrokerId(-1);
        let lost = seen(kafka, &topic, |part| {
            part.leader_id == nobody && part.offline_replicas == [BrokerId(FIRST)]
        });
        let leader = if lost.await.leader_id == nobody { "none" } else { "some" };
        let preferred = elected(kafka, 2, 0, &[(&topic.name, 0)]).await;
        let unclean = elected(kafka, 2, 1, &[(&topic.name, 0)]).await;
        let led = seen(kafka, &topic, |part| part.leader_id == BrokerId(SECOND)).await;
        let epoch = if led.leader_epoch > before { "a new" } else { "the old" };
        let records = read(kafka, &topic, SECOND).await;
        let next = written(kafka, &topic, SECOND, -1, "c").await;
        format!("{leader}; {preferred}; {unclean}; {} in {epoch} epoch, {records}; {next}", led.leader_id.0)
    }
);

row!(
    a_topic_that_may_lose_records_elects_by_itself,
    "Metadata",
    12..=12,
    "the same with unclean.leader.election.enable=true: who leads, and its log",
    "3, 0=a",
    alone,
    async |kafka| {
        let configs = [("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
        let topic = kafka.placed(&[FIRST, SECOND], &configs).await;
        written(kafka, &topic, FIRST, -1, "a").await;
        kafka.stop(SECOND).await;
        seen(kafka, &topic, |part| in_sync(part, &[FIRST])).await;
        assert_eq!(written(kafka, &topic, FIRST, -1, "b").await, "NONE at 1");
        kafka.stop(FIRST).await;
        kafka.start(SECOND).await;
        let led = seen(kafka, &topic, |part| part.leader_id == BrokerId(SECOND)).await;
        format!("{}, {}", led.leader_id.0, read(kafka, &topic, SECOND).await)
    }
);

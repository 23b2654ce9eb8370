//! Produce.

use kafka_client::config::Compression;
use kafka_client::records::encode::ProducerStamp;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;

use crate::asked::{batch, plain, produce};
use crate::kafka::Topic;
use crate::row;
use crate::said;
use crate::wire::Wire;

/// Produces and says what came back for the first partition.
async fn answer(wire: &mut Wire, version: i16, request: &ProduceRequest) -> PartitionProduceResponse {
    wire.ask(version, request).await.responses.remove(0).partition_responses.remove(0)
}

fn said(answer: &PartitionProduceResponse) -> String {
    format!("{} at {}", said::error(answer.error_code), answer.base_offset)
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

row!(invalid_acks, "Produce", 3..=13, "acks 2", "INVALID_REQUIRED_ACKS at -1", async |kafka| {
    let topic = kafka.topic(1).await;
    let request = produce(kafka.version, &topic, 0, plain(&["a"])).with_acks(2);
    said(&answer(&mut kafka.leader(&topic, 0).await, kafka.version, &request).await)
});

row!(
    zstd_too_early,
    "Produce",
    3..=6,
    "zstd before version 7",
    "UNSUPPORTED_COMPRESSION_TYPE at -1",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let records = batch(&["a"], ProducerStamp::NONE, Compression::Zstd);
        let request = produce(kafka.version, &topic, 0, records);
        said(&answer(&mut kafka.leader(&topic, 0).await, kafka.version, &request).await)
    }
);

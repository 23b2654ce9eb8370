//! InitProducerId without a transactional id, and the sequences of idempotent producers.

use kafka_client::config::Compression;
use kafka_client::records::encode::ProducerStamp;
use kafka_protocol::messages::InitProducerIdRequest;

use crate::asked::{batch, produce};
use crate::kafka::{Kafka, Topic, until};
use crate::produce::{answer, said};
use crate::row;
use crate::said;
use crate::wire::Wire;

/// A version in which ids are asked for here.
const INIT: i16 = 4;

fn init() -> InitProducerIdRequest {
    InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000)
}

row!(
    producer_id,
    "InitProducerId",
    0..=5,
    "an id, twice",
    "NONE, epoch 0, another id each time",
    async |kafka| {
        let mut wire = kafka.any().await;
        let mut next = async || {
            until("a producer id", async || {
                let answer = wire.ask(kafka.version, &init()).await;
                (answer.error_code == 0).then_some(answer)
            })
            .await
        };
        let (one, two) = (next().await, next().await);
        let ids = if one.producer_id.0 >= 0 && one.producer_id != two.producer_id {
            "another id"
        } else {
            "the same id"
        };
        format!("{}, epoch {}, {ids} each time", said::error(one.error_code), one.producer_epoch)
    }
);

/// A producer with an id of its own, on a topic of its own.
struct Producer {
    kafka: Kafka,
    topic: Topic,
    leader: Wire,
    id: i64,
}

impl Producer {
    async fn new(kafka: Kafka) -> Self {
        let topic = kafka.topic(1).await;
        let mut leader = kafka.leader(&topic, 0).await;
        // A new cluster has no ids to give at first.
        let id = until("a producer id", async || {
            let answer = leader.ask(INIT, &init()).await;
            (answer.error_code == 0).then_some(answer.producer_id.0)
        });
        let id = id.await;
        Self { kafka, topic, leader, id }
    }

    /// What a batch of one record with this epoch and sequence leads to.
    async fn one(&mut self, epoch: i16, sequence: i32) -> String {
        self.batch(epoch, sequence, &["x"]).await
    }

    async fn batch(&mut self, epoch: i16, sequence: i32, values: &[&str]) -> String {
        let stamp =
            ProducerStamp { producer_id: self.id, epoch, base_sequence: sequence, transactional: false };
        let records = batch(values, stamp, Compression::None);
        let version = self.kafka.version;
        said(&answer(&mut self.leader, version, &produce(version, &self.topic, 0, records)).await)
    }
}

row!(in_sequence, "Produce", 3..=13, "sequences 0 (two records), 2", "NONE at 0, NONE at 2", async |kafka| {
    let mut producer = Producer::new(kafka).await;
    said::list([producer.batch(0, 0, &["a", "b"]).await, producer.one(0, 2).await])
});

row!(
    duplicate,
    "Produce",
    3..=13,
    "sequences 0, 1, 0 again, 2",
    "NONE at 0, NONE at 1, NONE at 0, NONE at 2",
    async |kafka| {
        let mut producer = Producer::new(kafka).await;
        let (a, b) = (producer.one(0, 0).await, producer.one(0, 1).await);
        said::list([a, b, producer.one(0, 0).await, producer.one(0, 2).await])
    }
);

row!(
    gap,
    "Produce",
    3..=13,
    "sequences 0, 5, 1",
    "NONE at 0, OUT_OF_ORDER_SEQUENCE_NUMBER at -1, NONE at 1",
    async |kafka| {
        let mut producer = Producer::new(kafka).await;
        said::list([producer.one(0, 0).await, producer.one(0, 5).await, producer.one(0, 1).await])
    }
);

row!(
    old_duplicate,
    "Produce",
    3..=13,
    "sequences 0 to 6, then 0 again",
    "OUT_OF_ORDER_SEQUENCE_NUMBER at -1",
    async |kafka| {
        let mut producer = Producer::new(kafka).await;
        for sequence in 0..7 {
            producer.one(0, sequence).await;
        }
        producer.one(0, 0).await
    }
);

row!(
    starts_in_the_middle,
    "Produce",
    3..=13,
    "sequence 7 of a producer that is not known yet",
    "NONE at 0",
    async |kafka| Producer::new(kafka).await.one(0, 7).await
);

row!(
    epochs,
    "Produce",
    3..=13,
    "epoch 1 sequence 0, epoch 0 sequence 0, epoch 2 sequence 4, epoch 2 sequence 0",
    "NONE at 0, INVALID_PRODUCER_EPOCH at -1, OUT_OF_ORDER_SEQUENCE_NUMBER at -1, NONE at 1",
    async |kafka| {
        let mut producer = Producer::new(kafka).await;
        let (a, b) = (producer.one(1, 0).await, producer.one(0, 0).await);
        said::list([a, b, producer.one(2, 4).await, producer.one(2, 0).await])
    }
);

row!(
    sequences_wrap,
    "Produce",
    3..=13,
    "sequence 2147483646 with two records, then 0",
    "NONE at 0, NONE at 2",
    async |kafka| {
        let mut producer = Producer::new(kafka).await;
        said::list([producer.batch(0, i32::MAX - 1, &["a", "b"]).await, producer.one(0, 0).await])
    }
);

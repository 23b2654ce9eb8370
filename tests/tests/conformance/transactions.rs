//! Transactions: InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn, what readers see of them,
//! and what can be asked about them.

use kafka_client::config::Compression;
use kafka_client::records::encode::ProducerStamp;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, InitProducerIdResponse,
    ListTransactionsRequest, ProducerId, TransactionalId,
};

use crate::asked::{batch, fetch, group_id, part, produce, text, topic_name};
use crate::kafka::{Kafka, Topic, until};
use crate::row;
use crate::said;
use crate::wire::Wire;

/// Versions that a client without transaction.version 2 uses, where a row does not say otherwise.
const INIT: i16 = 4;
const ADD: i16 = 3;
const END: i16 = 4;
const PRODUCE: i16 = 11;
const FETCH: i16 = 12;

/// FindCoordinator's kind of key.
const TRANSACTION: i8 = 1;

/// A transactional producer, driven request by request.
struct Producer {
    kafka: Kafka,
    name: String,
    coordinator: Wire,
    id: i64,
    epoch: i16,
}

fn init(name: &str) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(name))))
        .with_transaction_timeout_ms(60_000)
}

impl Producer {
    /// One that has its id.
    async fn new(kafka: Kafka) -> Self {
        let name = kafka.name("transaction");
        let (coordinator, given) = begun(kafka, &name).await;
        Self { kafka, name, coordinator, id: given.producer_id.0, epoch: given.producer_epoch }
    }

    fn add(&self, topic: &str) -> AddPartitionsToTxnRequest {
        let topic = AddPartitionsToTxnTopic::default().with_name(topic_name(topic)).with_partitions(vec![0]);
        AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(&self.name)))
            .with_v3_and_below_producer_id(ProducerId(self.id))
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic])
    }

    async fn added(&mut self, version: i16, topic: &str) -> String {
        let request = self.add(topic);
        until("partitions added", async || {
            let answer = self.coordinator.ask(version, &request).await;
            let code = answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
            // The end of the transaction before may still be written.
            let error = said::error(code);
            (error != "CONCURRENT_TRANSACTIONS").then_some(error)
        })
        .await
    }

    async fn write(&mut self, topic: &Topic, sequence: i32, values: &[&str]) -> String {
        let stamp = ProducerStamp {
            producer_id: self.id,
            epoch: self.epoch,
            base_sequence: sequence,
            transactional: true,
        };
        let records = batch(values, stamp, Compression::None);
        let request = produce(PRODUCE, topic, 0, records)
            .with_transactional_id(Some(TransactionalId(text(&self.name))));
        let mut leader = self.kafka.leader(topic, 0).await;
        let answer = leader.ask(PRODUCE, &request).await;
        said::error(answer.responses[0].partition_responses[0].error_code)
    }

    async fn end(&mut self, version: i16, commit: bool) -> String {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(&self.name)))
            .with_producer_id(ProducerId(self.id))
            .with_producer_epoch(self.epoch)
            .with_committed(commit);
        let answer = self.coordinator.ask(version, &request).await;
        said::error(answer.error_code)
    }

    /// What a reader of committed records sees now: records, stable offset and end.
    async fn read(&self, topic: &Topic, isolation: i8) -> String {
        let request = fetch(FETCH, topic, vec![part(0, 0)]).with_isolation_level(isolation);
        let answer = self.kafka.leader(topic, 0).await.ask(FETCH, &request).await;
        let data = &answer.responses[0].partitions[0];
        let aborted = data.aborted_transactions.as_ref().map_or("null".into(), |all| {
            said::list(all.iter().map(|one| format!("from {}", one.first_offset)))
        });
        format!("stable {} of {}, aborted [{aborted}]", data.last_stable_offset, data.high_watermark)
    }

    /// The same, when everything before `end` is stable.
    async fn read_stable(&self, topic: &Topic, end: i64) -> String {
        let wanted = format!("stable {end} of {end}");
        until("the markers", async || {
            let seen = self.read(topic, 1).await;
            seen.starts_with(&wanted).then_some(seen)
        })
        .await
    }
}

/// The coordinator of a transactional id, and the producer id that it gave.
async fn begun(kafka: Kafka, name: &str) -> (Wire, InitProducerIdResponse) {
    let find =
        FindCoordinatorRequest::default().with_key_type(TRANSACTION).with_coordinator_keys(vec![text(name)]);
    until("a transaction's coordinator", async || {
        let found = kafka.any().await.ask(4, &find).await.coordinators.remove(0);
        if found.error_code != 0 {
            return None;
        }
        let mut wire = kafka.broker(found.node_id.0).await;
        let given = wire.ask(INIT, &init(name)).await;
        (given.error_code == 0).then_some((wire, given))
    })
    .await
}

row!(
    a_transactional_id_again,
    "InitProducerId",
    0..=5,
    "a transactional id that is known",
    "NONE, the same id, the next epoch",
    async |kafka| {
        let mut first = Producer::new(kafka).await;
        let request = init(&first.name);
        let again = first.coordinator.ask(kafka.version, &request).await;
        let id = if again.producer_id.0 == first.id { "the same id" } else { "another id" };
        let epoch = if again.producer_epoch == first.epoch + 1 { "the next epoch" } else { "another epoch" };
        format!("{}, {id}, {epoch}", said::error(again.error_code))
    }
);

row!(
    empty_transactional_id,
    "InitProducerId",
    0..=5,
    "an empty transactional id",
    "INVALID_REQUEST",
    async |kafka| said::error(kafka.any().await.ask(kafka.version, &init("")).await.error_code)
);

row!(
    transaction_too_long,
    "InitProducerId",
    0..=5,
    "a transaction timeout of an hour",
    "INVALID_TRANSACTION_TIMEOUT",
    async |kafka| {
        let mut producer = Producer::new(kafka).await;
        let request = init(&producer.name).with_transaction_timeout_ms(3_600_000);
        said::error(producer.coordinator.ask(kafka.version, &request).await.error_code)
    }
);

row!(
    committed,
    "EndTxn",
    0..=4,
    "two records committed: stable before and after, by a reader of committed records",
    "NONE, NONE; stable 0 of 2, aborted []; NONE; stable 3 of 3, aborted []",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut producer = Producer::new(kafka).await;
        let added = producer.added(ADD, &topic.name).await;
        let written = producer.write(&topic, 0, &["a", "b"]).await;
        let before = producer.read(&topic, 1).await;
        let ended = producer.end(kafka.version, true).await;
        format!("{added}, {written}; {before}; {ended}; {}", producer.read_stable(&topic, 3).await)
    }
);

row!(
    aborted,
    "EndTxn",
    0..=4,
    "two records aborted",
    "NONE; stable 3 of 3, aborted [from 0]",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut producer = Producer::new(kafka).await;
        producer.added(ADD, &topic.name).await;
        producer.write(&topic, 0, &["a", "b"]).await;
        let ended = producer.end(kafka.version, false).await;
        format!("{ended}; {}", producer.read_stable(&topic, 3).await)
    }
);

row!(
    uncommitted_is_seen,
    "Fetch",
    12..=12,
    "an open transaction, by a reader of uncommitted records",
    "stable 0 of 2, aborted [null]",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut producer = Producer::new(kafka).await;
        producer.added(ADD, &topic.name).await;
        producer.write(&topic, 0, &["a", "b"]).await;
        producer.read(&topic, 0).await
    }
);

row!(
    end_of_nothing,
    "EndTxn",
    0..=4,
    "a transaction that was not begun",
    "INVALID_TXN_STATE",
    async |kafka| { Producer::new(kafka).await.end(kafka.version, true).await }
);

row!(
    end_again,
    "EndTxn",
    0..=4,
    "a commit, again, and as an abort",
    "NONE; NONE; INVALID_TXN_STATE",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut producer = Producer::new(kafka).await;
        producer.added(ADD, &topic.name).await;
        producer.write(&topic, 0, &["a"]).await;
        let first = producer.end(kafka.version, true).await;
        producer.read_stable(&topic, 2).await;
        let again = until("the transaction's end", async || {
            let answer = producer.end(kafka.version, true).await;
            (answer != "CONCURRENT_TRANSACTIONS").then_some(answer)
        })
        .await;
        format!("{first}; {again}; {}", producer.end(kafka.version, false).await)
    }
);

row!(
    end_of_unknown,
    "EndTxn",
    0..=4,
    "another producer id than the transactional id has",
    "INVALID_PRODUCER_ID_MAPPING",
    async |kafka| {
        let mut producer = Producer::new(kafka).await;
        producer.id += 1_000_000;
        producer.end(kafka.version, true).await
    }
);

row!(fenced_end, "EndTxn", 2..=4, "an epoch that was", "PRODUCER_FENCED", async |kafka| {
    let mut old = Producer::new(kafka).await;
    let request = init(&old.name);
    old.coordinator.ask(INIT, &request).await;
    old.end(kafka.version, true).await
});

row!(fenced_end_of_old, "EndTxn", 0..=1, "an epoch that was", "INVALID_PRODUCER_EPOCH", async |kafka| {
    let mut old = Producer::new(kafka).await;
    let request = init(&old.name);
    old.coordinator.ask(INIT, &request).await;
    old.end(kafka.version, true).await
});

row!(
    unknown_topic_added,
    "AddPartitionsToTxn",
    0..=3,
    "a topic that does not exist",
    "UNKNOWN_TOPIC_OR_PARTITION",
    async |kafka| {
        let mut producer = Producer::new(kafka).await;
        producer.added(kafka.version, &kafka.name("none")).await
    }
);

row!(fenced_add, "AddPartitionsToTxn", 2..=3, "an epoch that was", "PRODUCER_FENCED", async |kafka| {
    let topic = kafka.topic(1).await;
    let mut old = Producer::new(kafka).await;
    let request = init(&old.name);
    old.coordinator.ask(INIT, &request).await;
    old.added(kafka.version, &topic.name).await
});

row!(
    written_without_adding,
    "Produce",
    11..=11,
    "to a partition that was not added",
    "TRANSACTION_ABORTABLE",
    async |kafka| {
        let topic = kafka.topic(1).await;
        Producer::new(kafka).await.write(&topic, 0, &["a"]).await
    }
);

row!(offsets_added, "AddOffsetsToTxn", 0..=3, "a group", "NONE", async |kafka| {
    let mut producer = Producer::new(kafka).await;
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(TransactionalId(text(&producer.name)))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_group_id(group_id(&kafka.name("group")));
    said::error(producer.coordinator.ask(kafka.version, &request).await.error_code)
});

/// `NONE, Ongoing, 1 topics`
async fn described(producer: &mut Producer, version: i16, name: &str) -> String {
    let request =
        DescribeTransactionsRequest::default().with_transactional_ids(vec![TransactionalId(text(name))]);
    let found = producer.coordinator.ask(version, &request).await.transaction_states.remove(0);
    let (state, topics) = (found.transaction_state.as_str(), found.topics.len());
    format!("{}, {state}, {topics} topics", said::error(found.error_code))
}

row!(
    describe_transaction,
    "DescribeTransactions",
    0..=0,
    "a producer before and in its transaction",
    "NONE, Empty, 0 topics; NONE, Ongoing, 1 topics",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut producer = Producer::new(kafka).await;
        let name = producer.name.clone();
        let before = described(&mut producer, kafka.version, &name).await;
        producer.added(ADD, &topic.name).await;
        format!("{before}; {}", described(&mut producer, kafka.version, &name).await)
    }
);

row!(
    list_transactions,
    "ListTransactions",
    0..=2,
    "transactions that are Ongoing: an open one, one that has not begun",
    "listed; not listed",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let (mut open, mut idle) = (Producer::new(kafka).await, Producer::new(kafka).await);
        open.added(ADD, &topic.name).await;
        let request = ListTransactionsRequest::default().with_state_filters(vec![text("Ongoing")]);
        let mut said = Vec::new();
        for producer in [&mut open, &mut idle] {
            let answer = producer.coordinator.ask(kafka.version, &request).await;
            let name = TransactionalId(text(&producer.name));
            let listed = answer.transaction_states.iter().any(|one| one.transactional_id == name);
            said.push(if listed { "listed" } else { "not listed" });
        }
        said.join("; ")
    }
);

row!(
    describe_producers,
    "DescribeProducers",
    0..=0,
    "a partition in a transaction",
    "NONE, its id, epoch 0, last sequence 1, transaction from 0",
    async |kafka| {
        let topic = kafka.topic(1).await;
        let mut producer = Producer::new(kafka).await;
        producer.added(ADD, &topic.name).await;
        producer.write(&topic, 0, &["a", "b"]).await;
        let asked =
            TopicRequest::default().with_name(topic_name(&topic.name)).with_partition_indexes(vec![0]);
        let request = DescribeProducersRequest::default().with_topics(vec![asked]);
        let answer = kafka.leader(&topic, 0).await.ask(kafka.version, &request).await;
        let part = &answer.topics[0].partitions[0];
        let one = &part.active_producers[0];
        let id = if one.producer_id.0 == producer.id { "its id" } else { "another id" };
        let (epoch, sequence, from) = (one.producer_epoch, one.last_sequence, one.current_txn_start_offset);
        let error = said::error(part.error_code);
        format!("{error}, {id}, epoch {epoch}, last sequence {sequence}, transaction from {from}")
    }
);

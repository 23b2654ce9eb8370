//! A transactional producer that does nothing by itself, for the rows about transactions.

use kafka_client::config::Compression;
use kafka_client::records::Batches;
use kafka_client::records::control::{control_type, coordinator_epoch};
use kafka_client::records::encode::ProducerStamp;
use kafka_client::seams::{Clock, SystemClock};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProducerId,
    TransactionalId,
};

use crate::asked::{batch_at, fetch, part, produce, text, topic_name};
use crate::kafka::{Kafka, Topic, until};
use crate::said;
use crate::wire::Wire;

/// Versions that are used where a row does not say otherwise.
const INIT: i16 = 4;
const ADD: i16 = 3;
const FETCH: i16 = 12;
/// Of the first protocol of transactions, and of the second.
pub(crate) const PRODUCE_ONE: i16 = 11;
pub(crate) const PRODUCE_TWO: i16 = 12;
pub(crate) const END_TWO: i16 = 5;
/// FindCoordinator's number for transactional ids.
const TRANSACTION: i8 = 1;

/// Who a producer was told that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Me {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl Me {
    /// One that was never told.
    pub(crate) const NOBODY: Self = Self { id: -1, epoch: -1 };

    pub(crate) fn in_epoch(self, epoch: i16) -> Self {
        Self { epoch, ..self }
    }
}

/// A transactional id, a topic of one partition, and connections to their brokers.
pub(crate) struct Tx {
    pub(crate) id: TransactionalId,
    pub(crate) coordinator: Wire,
    pub(crate) topic: Topic,
    pub(crate) leader: Wire,
}

impl Tx {
    pub(crate) async fn new(kafka: Kafka) -> Self {
        let topic = kafka.topic(1).await;
        let leader = kafka.leader(&topic, 0).await;
        let id = TransactionalId(text(&kafka.name("tx")));
        let coordinator = coordinator(kafka, &id).await;
        Self { id, coordinator, topic, leader }
    }

    pub(crate) fn init_request(&self, given: Me) -> InitProducerIdRequest {
        InitProducerIdRequest::default()
            .with_transactional_id(Some(self.id.clone()))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(given.id))
            .with_producer_epoch(given.epoch)
    }

    /// Initialises the id, waiting for what may still be going on.
    pub(crate) async fn init(&mut self) -> Me {
        self.try_init(INIT, Me::NOBODY).await.unwrap()
    }

    pub(crate) async fn try_init(&mut self, version: i16, given: Me) -> Result<Me, String> {
        let request = self.init_request(given);
        self.init_with(version, &request).await
    }

    pub(crate) async fn init_with(
        &mut self,
        version: i16,
        request: &InitProducerIdRequest,
    ) -> Result<Me, String> {
        let coordinator = &mut self.coordinator;
        let answer = until("a settled transaction", async || {
            let answer = coordinator.ask(version, request).await;
            (!is_passing(answer.error_code)).then_some(answer)
        });
        let answer = answer.await;
        match answer.error_code {
            0 => Ok(Me { id: answer.producer_id.0, epoch: answer.producer_epoch }),
            code => Err(said::error(code)),
        }
    }

    pub(crate) async fn add(&mut self, me: Me) -> String {
        self.add_in(ADD, me, &[0]).await
    }

    /// Adds partitions of the topic; what is said of each.
    pub(crate) async fn add_in(&mut self, version: i16, me: Me, partitions: &[i32]) -> String {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(topic_name(&self.topic.name))
            .with_partitions(partitions.to_vec());
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.id.clone())
            .with_v3_and_below_producer_id(ProducerId(me.id))
            .with_v3_and_below_producer_epoch(me.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let coordinator = &mut self.coordinator;
        let answer = until("a settled transaction", async || {
            let answer = coordinator.ask(version, &request).await;
            let results = &answer.results_by_topic_v3_and_below[0].results_by_partition;
            let mut results: Vec<_> =
                results.iter().map(|one| (one.partition_index, one.partition_error_code)).collect();
            results.sort_unstable();
            let passing = results.iter().any(|(_, code)| is_passing(*code));
            (!passing).then(|| said::list(results.iter().map(|(_, code)| said::error(*code))))
        });
        answer.await
    }

    /// Produces a batch in a transaction, in `version`.
    pub(crate) async fn write(&mut self, version: i16, me: Me, sequence: i32, values: &[&str]) -> String {
        let stamp = ProducerStamp {
            producer_id: me.id,
            epoch: me.epoch,
            base_sequence: sequence,
            transactional: true,
        };
        self.write_stamped(version, stamp, values).await
    }

    pub(crate) async fn write_stamped(
        &mut self,
        version: i16,
        stamp: ProducerStamp,
        values: &[&str],
    ) -> String {
        // Of the present, as the markers are: for a batch much older than the next Kafka begins a new segment, and a
        // fetch reads one.
        let records = batch_at(SystemClock.wall_millis(), values, stamp, Compression::None);
        let request = produce(version, &self.topic, 0, records).with_transactional_id(Some(self.id.clone()));
        let leader = &mut self.leader;
        let answer = until("a settled transaction", async || {
            let answer = leader.ask(version, &request).await;
            let code = answer.responses[0].partition_responses[0].error_code;
            (!is_passing(code)).then(|| said::error(code))
        });
        answer.await
    }

    /// Ends the transaction; from version 5 on with who the producer is then.
    pub(crate) async fn end(&mut self, version: i16, me: Me, commit: bool) -> (String, Me) {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.id.clone())
            .with_producer_id(ProducerId(me.id))
            .with_producer_epoch(me.epoch)
            .with_committed(commit);
        let coordinator = &mut self.coordinator;
        let answer = until("a settled transaction", async || {
            let answer = coordinator.ask(version, &request).await;
            (!is_passing(answer.error_code)).then_some(answer)
        });
        let answer = answer.await;
        let after = Me { id: answer.producer_id.0, epoch: answer.producer_epoch };
        (said::error(answer.error_code), if version >= 5 && answer.error_code == 0 { after } else { me })
    }

    /// The partition from `offset` on, as a reader of committed records sees it.
    pub(crate) async fn read(&mut self, offset: i64) -> PartitionData {
        self.read_in(FETCH, offset, 1).await
    }

    pub(crate) async fn read_in(&mut self, version: i16, offset: i64, isolation: i8) -> PartitionData {
        let request = fetch(version, &self.topic, vec![part(0, offset)]).with_isolation_level(isolation);
        self.leader.ask(version, &request).await.responses.remove(0).partitions.remove(0)
    }

    /// Waits until every transaction in the partition has ended.
    pub(crate) async fn settled(&mut self) -> PartitionData {
        let request = fetch(FETCH, &self.topic, vec![part(0, 0)]).with_isolation_level(1);
        let leader = &mut self.leader;
        let stable = until("every marker", async || {
            let found = leader.ask(FETCH, &request).await.responses.remove(0).partitions.remove(0);
            (found.last_stable_offset == found.high_watermark).then_some(found)
        });
        stable.await
    }
}

/// Whether a broker says to ask again.
fn is_passing(code: i16) -> bool {
    let again = [
        ResponseError::ConcurrentTransactions,
        ResponseError::CoordinatorLoadInProgress,
        ResponseError::CoordinatorNotAvailable,
        ResponseError::NotCoordinator,
    ];
    again.iter().any(|error| error.code() == code)
}

async fn coordinator(kafka: Kafka, id: &TransactionalId) -> Wire {
    let find = FindCoordinatorRequest::default()
        .with_key_type(TRANSACTION)
        .with_coordinator_keys(vec![id.0.clone()]);
    until("a transaction coordinator", async || {
        let found = kafka.any().await.ask(4, &find).await.coordinators.remove(0);
        if found.error_code != 0 {
            return None;
        }
        Some(kafka.broker(found.node_id.0).await)
    })
    .await
}

/// `aborted from 3, last stable 5 of 6`.
pub(crate) fn stability(data: &PartitionData) -> String {
    let aborted = data.aborted_transactions.as_ref().map_or("not told".to_owned(), |all| {
        let firsts = all.iter().map(|one| one.first_offset.to_string()).collect::<Vec<_>>();
        if firsts.is_empty() { "nothing".into() } else { format!("from {}", firsts.join(" and ")) }
    });
    format!("aborted {aborted}, last stable {} of {}", data.last_stable_offset, data.high_watermark)
}

/// A coordinator's epoch: it rises with each of its moves, and a cluster has had those that it had.
pub(crate) fn of_coordinator(epoch: i32) -> &'static str {
    if epoch < 0 { "no coordinator" } else { "a coordinator" }
}

/// Every control record of a fetch's answer: `2=Commit by epoch 1, sequence -1, a coordinator`.
pub(crate) fn markers(data: &PartitionData) -> String {
    let mut batches = Batches::new(data.records.clone().unwrap_or_default(), true);
    let mut all = Vec::new();
    while let Some(batch) = batches.next_batch().unwrap() {
        let header = *batch.header();
        for record in batch.records().map(Result::unwrap).filter(|_| header.is_control) {
            all.push(format!(
                "{}={:?} by epoch {}, sequence {}, {}",
                record.offset,
                control_type(record.key).unwrap(),
                header.producer_epoch,
                header.base_sequence,
                of_coordinator(coordinator_epoch(record.value).unwrap()),
            ));
        }
    }
    said::list(all)
}

/// Asks until the answer is this request's own. Kafka's brokers ask a coordinator about several requests at once, and
/// then answer an old version as the newest of them, with TRANSACTION_ABORTABLE.
pub(crate) async fn alone(is_old: bool, mut ask: impl AsyncFnMut() -> String) -> String {
    until("an answer of its own", async || {
        let answer = ask().await;
        (!is_old || answer != "TRANSACTION_ABORTABLE").then_some(answer)
    })
    .await
}

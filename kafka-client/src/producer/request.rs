//! Requests of the producer, and their answers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    InitProducerIdRequest, ProduceRequest, ProduceResponse, TopicName as WireTopic, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::sequences::Identity;
use super::verdict::Verdict;
use crate::config::Acks;
use crate::error::{At, Error, Result};
use crate::ids::{TopicName, TopicPartition};
use crate::net::{Pool, Purpose};

/// One request with one batch for each of these partitions (a broker takes no more than one of each).
pub(super) fn produce(
    batches: impl IntoIterator<Item = (TopicPartition, Bytes)>,
    acks: Acks,
    timeout: Duration,
    transaction: Option<TransactionalId>,
) -> ProduceRequest {
    let mut topics = BTreeMap::<TopicName, Vec<PartitionProduceData>>::new();
    for (partition, records) in batches {
        let data =
            PartitionProduceData::default().with_index(partition.partition).with_records(Some(records));
        topics.entry(partition.topic).or_default().push(data);
    }
    let topic = |(name, data): (TopicName, _)| {
        TopicProduceData::default()
            .with_name(WireTopic(StrBytes::from_static_str(name.as_str())))
            .with_partition_data(data)
    };
    ProduceRequest::default()
        .with_transactional_id(transaction)
        .with_acks(match acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        })
        .with_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
        .with_topic_data(topics.into_iter().map(topic).collect())
}

/// What an answer says of each partition.
pub(super) fn verdicts(response: &ProduceResponse) -> HashMap<TopicPartition, Verdict> {
    let partitions = response.responses.iter().flat_map(|topic| {
        let name = TopicName::new(topic.name.as_str());
        topic.partition_responses.iter().map(move |answer| (TopicPartition::new(name, answer.index), answer))
    });
    partitions.map(|(partition, answer)| (partition, Verdict::of_answer(partition, answer))).collect()
}

/// The leaders that an answer names for partitions that the broker does not lead (KIP-951).
pub(super) fn leaders(response: &ProduceResponse) -> HashMap<TopicPartition, i32> {
    let partitions = response.responses.iter().flat_map(|topic| {
        let name = TopicName::new(topic.name.as_str());
        let named = topic.partition_responses.iter().filter(|answer| answer.current_leader.leader_id.0 >= 0);
        named.map(move |answer| (TopicPartition::new(name, answer.index), answer.current_leader.leader_id.0))
    });
    partitions.collect()
}

/// Asks any broker for a producer id.
pub(super) async fn identity(pool: &Pool) -> Result<Identity> {
    let connection = pool.any(Purpose::Control).await?;
    let request = |_| {
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(i32::MAX)
    };
    let deadline = pool.cluster().config().request_timeout;
    let answer = connection.call::<InitProducerIdRequest>(deadline, request).await?.body;
    match ResponseError::try_from_code(answer.error_code) {
        None => Ok(Identity { id: answer.producer_id.0, epoch: answer.producer_epoch }),
        Some(code) => {
            let at = At::Broker(connection.peer().to_owned());
            Err(Error::Broker { api: "InitProducerId", code, at })
        }
    }
}

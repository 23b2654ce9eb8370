//! What an operator asks about producers (KIP-664): DescribeTransactions, ListTransactions, DescribeProducers; and
//! WriteTxnMarkers, by which he ends a transaction that hangs.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_client::records::control::{EndMarker, Ending};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId, TopicName,
    TransactionalId, WriteTxnMarkersRequest, WriteTxnMarkersResponse, list_transactions_response,
};
use kafka_protocol::protocol::StrBytes;
use regex_lite::Regex;
use uuid::Uuid;

use super::{
    NONE, check_coordinator, check_leader, check_replica, code, find_partition, find_topic, missing, text,
};
use crate::coordinators::slot;
use crate::server::connection::Context;
use crate::topics::Topic;
use crate::transaction::{Now, Participant, State, Transaction};

/// Where Kafka keeps committed offsets.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

pub(crate) async fn describe_transactions(
    context: &Context,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| {
        let described = match check_coordinator(context, &id) {
            _ if id.is_empty() => Err(ResponseError::InvalidRequest),
            Err(error) => Err(error),
            Ok(()) => context
                .cluster
                .transaction(&id, |transaction, _| describe(transaction))
                .ok_or(ResponseError::TransactionalIdNotFound),
        };
        let state = match described {
            Ok(state) => state.with_error_code(NONE),
            Err(error) => TransactionState::default().with_error_code(error.code()),
        };
        state.with_transactional_id(id)
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn describe(transaction: &Transaction) -> TransactionState {
    let mut topics: BTreeMap<TopicName, Vec<i32>> = BTreeMap::new();
    for participant in transaction.participants() {
        let (topic, partition) = place(participant);
        topics.entry(topic).or_default().push(partition);
    }
    let topics = topics
        .into_iter()
        .map(|(topic, partitions)| TopicData::default().with_topic(topic).with_partitions(partitions));
    let timeout = i32::try_from(transaction.timeout().as_millis()).unwrap_or(i32::MAX);
    TransactionState::default()
        .with_transaction_state(StrBytes::from_static_str(transaction.state().name()))
        .with_transaction_timeout_ms(timeout)
        .with_transaction_start_time_ms(transaction.started())
        .with_producer_id(ProducerId(transaction.identity().producer_id))
        .with_producer_epoch(transaction.identity().epoch)
        .with_topics(topics.collect())
}

/// Where Kafka would write the marker.
fn place(participant: &Participant) -> (TopicName, i32) {
    match participant {
        Participant::Partition(topic, index) => (topic.clone(), *index),
        Participant::Offsets(group) => {
            (TopicName(StrBytes::from_static_str(OFFSETS_TOPIC)), i32::try_from(slot(group)).unwrap_or(0))
        }
    }
}

/// The transactional ids that this broker coordinates.
pub(crate) async fn list_transactions(
    context: &Context,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let pattern = request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty());
    let pattern = match pattern.map(|pattern| Regex::new(&format!("^(?:{pattern})$"))).transpose() {
        Ok(pattern) => pattern,
        Err(_) => {
            let error = ResponseError::InvalidRegularExpression.code();
            return ListTransactionsResponse::default().with_error_code(error);
        }
    };
    let (wanted, unknown): (Vec<StrBytes>, Vec<StrBytes>) =
        request.state_filters.iter().cloned().partition(|state| State::NAMES.contains(&&**state));
    let ids = context.cluster.transactions.ids();
    let own = ids.into_iter().filter(|id| check_coordinator(context, id).is_ok());
    let listed =
        own.filter(|id| pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))).filter_map(|id| {
            let by_state = |transaction: &Transaction| {
                request.state_filters.is_empty()
                    || wanted.iter().any(|state| **state == *transaction.state().name())
            };
            let by_producer = |transaction: &Transaction| {
                let id = ProducerId(transaction.identity().producer_id);
                request.producer_id_filters.is_empty() || request.producer_id_filters.contains(&id)
            };
            let by_duration = |transaction: &Transaction, now: Now| {
                request.duration_filter < 0 || now.wall - transaction.started() > request.duration_filter
            };
            let state = context.cluster.transaction(&id, |transaction, now| {
                let all = by_state(transaction) && by_producer(transaction) && by_duration(transaction, now);
                all.then(|| {
                    list_transactions_response::TransactionState::default()
                        .with_producer_id(ProducerId(transaction.identity().producer_id))
                        .with_transaction_state(StrBytes::from_static_str(transaction.state().name()))
                })
            })??;
            Some(state.with_transactional_id(TransactionalId(id)))
        });
    ListTransactionsResponse::default()
        .with_error_code(NONE)
        .with_transaction_states(listed.collect())
        .with_unknown_state_filters(unknown)
}

pub(crate) async fn describe_producers(
    context: &Context,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let partitions =
            asked.partition_indexes.iter().map(|index| match active(context, &asked.name, *index) {
                Ok(producers) => PartitionResponse::default()
                    .with_partition_index(*index)
                    .with_error_code(NONE)
                    .with_active_producers(producers),
                Err(error) => PartitionResponse::default()
                    .with_partition_index(*index)
                    .with_error_code(error.code())
                    .with_error_message(text(error.to_string())),
            });
        let partitions = partitions.collect();
        TopicResponse::default().with_name(asked.name).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

/// The topic of a partition that is asked for.
fn known(context: &Context, name: &TopicName, index: i32) -> Result<Arc<Topic>, ResponseError> {
    find_topic(context, name, Uuid::nil(), false).map_err(|error| missing(context, name, index, error))
}

fn active(context: &Context, topic: &TopicName, index: i32) -> Result<Vec<ProducerState>, ResponseError> {
    let topic = known(context, topic, index)?;
    let state = find_partition(context, &topic, index)?.lock();
    check_replica(context, &state, -1)?;
    let producers = state.producers.all().map(|producer| {
        ProducerState::default()
            .with_producer_id(ProducerId(producer.by.producer_id))
            .with_producer_epoch(producer.by.epoch.into())
            .with_last_sequence(producer.last_sequence)
            .with_last_timestamp(producer.last_timestamp)
            .with_coordinator_epoch(producer.coordinator_epoch)
            .with_current_txn_start_offset(producer.open_from)
    });
    Ok(producers.collect())
}

pub(crate) async fn write_markers(
    context: &Context,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let markers = request.markers.iter().map(|asked| {
        let topics = asked.topics.iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                let written = write_marker(context, &topic.name, *index, asked);
                WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(*index)
                    .with_error_code(code(written))
            });
            let partitions = partitions.collect();
            WritableTxnMarkerTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions)
        });
        let topics = topics.collect();
        WritableTxnMarkerResult::default().with_producer_id(asked.producer_id).with_topics(topics)
    });
    WriteTxnMarkersResponse::default().with_markers(markers.collect())
}

fn write_marker(
    context: &Context,
    topic: &TopicName,
    index: i32,
    asked: &WritableTxnMarker,
) -> Result<(), ResponseError> {
    let topic = known(context, topic, index)?;
    let mut state = find_partition(context, &topic, index)?.lock();
    check_leader(context, &state, -1)?;
    let marker = EndMarker {
        ending: if asked.transaction_result { Ending::Commit } else { Ending::Abort },
        producer_id: asked.producer_id.0,
        producer_epoch: asked.producer_epoch,
        coordinator_epoch: asked.coordinator_epoch,
        timestamp: context.cluster.clock.wall_millis(),
    };
    state.append_marker(&topic.configs, &marker)
}

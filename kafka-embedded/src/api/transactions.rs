//! A producer's transactions: InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn.

use std::time::Duration;

use kafka_client::records::control::Ending;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{NONE, check_coordinator, code};
use crate::faults::allowed;
use crate::server::connection::Context;
use crate::topics::owned;
use crate::transaction::{Identity, Init, Now, Participant, Protocol, Transaction};

/// `transaction.max.timeout.ms`
const MAX_TIMEOUT_MS: i32 = 15 * 60 * 1000;

/// Runs `change` on a transactional id that a producer has initialised here.
pub(crate) fn with_transaction<T>(
    context: &Context,
    id: &str,
    change: impl FnOnce(&mut Transaction, Now) -> Result<T, ResponseError>,
) -> Result<T, ResponseError> {
    if id.is_empty() {
        return Err(ResponseError::InvalidRequest);
    }
    check_coordinator(context, id)?;
    run(context, id, change)
}

/// The same for a broker that needs not coordinate it, as one that asks the coordinator.
pub(crate) fn run<T>(
    context: &Context,
    id: &str,
    change: impl FnOnce(&mut Transaction, Now) -> Result<T, ResponseError>,
) -> Result<T, ResponseError> {
    context.cluster.transaction(id, change).unwrap_or(Err(ResponseError::InvalidProducerIdMapping))
}

/// PRODUCER_FENCED as versions before `known_from` spell it.
fn fenced(context: &Context, known_from: i16, error: ResponseError) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if context.version < known_from => ResponseError::InvalidProducerEpoch,
        other => other,
    }
}

pub(crate) async fn init(context: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match initialise(context, &request) {
        Ok(identity) => InitProducerIdResponse::default()
            .with_error_code(NONE)
            .with_producer_id(ProducerId(identity.producer_id))
            .with_producer_epoch(identity.epoch),
        Err(error) => InitProducerIdResponse::default()
            .with_error_code(fenced(context, 4, error).code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

fn initialise(context: &Context, request: &InitProducerIdRequest) -> Result<Identity, ResponseError> {
    let given = match (request.producer_id.0, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ResponseError::InvalidRequest),
        (producer_id, epoch) => Some(Identity { producer_id, epoch }),
    };
    let new_id = || context.cluster.new_producer_id();
    let Some(id) = &request.transactional_id else {
        return Ok(Identity { producer_id: new_id(), epoch: 0 });
    };
    if id.is_empty() {
        return Err(ResponseError::InvalidRequest);
    }
    if !(1..=MAX_TIMEOUT_MS).contains(&request.transaction_timeout_ms) {
        return Err(ResponseError::InvalidTransactionTimeout);
    }
    check_coordinator(context, id)?;
    let timeout = Duration::from_millis(request.transaction_timeout_ms.unsigned_abs().into());
    match context.cluster.transaction_or_new(id, |transaction, _| transaction.init(timeout, given, new_id))? {
        Init::Ready(identity) => Ok(identity),
        Init::Aborting => Err(ResponseError::ConcurrentTransactions),
    }
}

pub(crate) async fn add_partitions(
    context: &Context,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if context.version >= 4 {
        let results = request.transactions.into_iter().map(|asked| {
            let results = add(context, &asked);
            AddPartitionsToTxnResult::default()
                .with_transactional_id(asked.transactional_id)
                .with_topic_results(results)
        });
        return AddPartitionsToTxnResponse::default().with_results_by_transaction(results.collect());
    }
    let asked = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(request.v3_and_below_transactional_id)
        .with_producer_id(request.v3_and_below_producer_id)
        .with_producer_epoch(request.v3_and_below_producer_epoch)
        .with_topics(request.v3_and_below_topics);
    let results = add(context, &asked);
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
}

/// All partitions of one transaction: either each is added, or none.
fn add(context: &Context, asked: &AddPartitionsToTxnTransaction) -> Vec<AddPartitionsToTxnTopicResult> {
    let check = |topic: &AddPartitionsToTxnTopic, index: i32| {
        allowed(context, &topic.name, index)?;
        let found = context.cluster.topics.by_name(&topic.name);
        let found = found.is_some_and(|found| found.partition(index).is_some());
        if found { Ok(()) } else { Err(ResponseError::UnknownTopicOrPartition) }
    };
    let all_good =
        asked.topics.iter().all(|topic| topic.partitions.iter().all(|index| check(topic, *index).is_ok()));
    if !all_good {
        return respond(&asked.topics, |topic, index| {
            code(check(topic, index).and(Err(ResponseError::OperationNotAttempted)))
        });
    }
    let by = Identity { producer_id: asked.producer_id.0, epoch: asked.producer_epoch };
    let participants = || {
        let of = |topic: &AddPartitionsToTxnTopic| {
            let name = TopicName(owned(&topic.name));
            topic.partitions.iter().map(move |index| Participant::Partition(name.clone(), *index)).collect()
        };
        asked.topics.iter().flat_map(of as fn(&AddPartitionsToTxnTopic) -> Vec<Participant>)
    };
    if asked.verify_only {
        return respond(&asked.topics, |topic, index| {
            let participant = Participant::Partition(topic.name.clone(), index);
            code(with_transaction(context, &asked.transactional_id, |transaction, _| {
                transaction.verify(by, &participant)
            }))
        });
    }
    let added = with_transaction(context, &asked.transactional_id, |transaction, now| {
        transaction.add(by, participants(), now)
    });
    let result = code(added.map_err(|error| fenced(context, 2, error)));
    respond(&asked.topics, |_, _| result)
}

fn respond(
    topics: &[AddPartitionsToTxnTopic],
    code: impl Fn(&AddPartitionsToTxnTopic, i32) -> i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        let partitions = topic.partitions.iter().map(|index| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code(topic, *index))
        });
        let partitions = partitions.collect();
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions)
    };
    topics.iter().map(of_topic).collect()
}

pub(crate) async fn add_offsets(
    context: &Context,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let by = Identity { producer_id: request.producer_id.0, epoch: request.producer_epoch };
    let added = with_transaction(context, &request.transactional_id, |transaction, now| {
        transaction.add(by, [offsets_of(&request.group_id)], now)
    });
    let error = code(added.map_err(|error| fenced(context, 2, error)));
    AddOffsetsToTxnResponse::default().with_error_code(error)
}

/// The offsets of a group, as they take part in a transaction.
pub(crate) fn offsets_of(group: &StrBytes) -> Participant {
    Participant::Offsets(owned(group))
}

pub(crate) async fn end(context: &Context, request: EndTxnRequest) -> EndTxnResponse {
    let by = Identity { producer_id: request.producer_id.0, epoch: request.producer_epoch };
    let ending = if request.committed { Ending::Commit } else { Ending::Abort };
    let protocol = if context.version >= 5 { Protocol::Two } else { Protocol::One };
    let ended = with_transaction(context, &request.transactional_id, |transaction, _| {
        transaction.end(by, ending, protocol, || context.cluster.new_producer_id())
    });
    match ended {
        Ok(identity) => EndTxnResponse::default()
            .with_error_code(NONE)
            .with_producer_id(ProducerId(identity.producer_id))
            .with_producer_epoch(identity.epoch),
        Err(error) => EndTxnResponse::default()
            .with_error_code(fenced(context, 2, error).code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

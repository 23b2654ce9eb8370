//! Producer ids and transactions.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, TopicResponse};
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use super::{Named, See, Subject, ThrottleField};
use crate::server::connection::Context;

impl Subject for InitProducerIdRequest {
    fn names(&self, _: &Context, see: See<'_>) {
        if let Some(id) = &self.transactional_id {
            see(Named::TransactionalId(id));
        }
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<InitProducerIdResponse> {
        let response = InitProducerIdResponse::default().with_error_code(error.code());
        Some(response.with_producer_id(ProducerId(-1)).with_producer_epoch(-1))
    }
}

impl Subject for AddPartitionsToTxnRequest {
    const ASKS_PER_PARTITION: bool = true;

    fn names(&self, context: &Context, see: See<'_>) {
        let mut of = |id: &str, topics: &[AddPartitionsToTxnTopic]| {
            see(Named::TransactionalId(id));
            for topic in topics {
                topic.partitions.iter().for_each(|index| see(Named::Partition(&topic.name, *index)));
            }
        };
        if context.version < 4 {
            of(&self.v3_and_below_transactional_id, &self.v3_and_below_topics);
        }
        self.transactions.iter().for_each(|each| of(&each.transactional_id, &each.topics));
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<AddPartitionsToTxnResponse> {
        let results = |topics: &[AddPartitionsToTxnTopic]| {
            let topics = topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|index| {
                    AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(*index)
                        .with_partition_error_code(error.code())
                });
                AddPartitionsToTxnTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_results_by_partition(partitions.collect())
            });
            topics.collect::<Vec<_>>()
        };
        let transactions = self.transactions.iter().map(|each| {
            AddPartitionsToTxnResult::default()
                .with_transactional_id(each.transactional_id.clone())
                .with_topic_results(results(&each.topics))
        });
        let response = AddPartitionsToTxnResponse::default()
            .with_results_by_topic_v3_and_below(results(&self.v3_and_below_topics))
            .with_results_by_transaction(transactions.collect());
        Some(response)
    }
}

impl Subject for AddOffsetsToTxnRequest {
    fn names(&self, _: &Context, see: See<'_>) {
        see(Named::TransactionalId(&self.transactional_id));
        see(Named::Group(&self.group_id));
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<AddOffsetsToTxnResponse> {
        Some(AddOffsetsToTxnResponse::default().with_error_code(error.code()))
    }
}

impl Subject for EndTxnRequest {
    fn names(&self, _: &Context, see: See<'_>) {
        see(Named::TransactionalId(&self.transactional_id));
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<EndTxnResponse> {
        Some(EndTxnResponse::default().with_error_code(error.code()))
    }
}

impl Subject for TxnOffsetCommitRequest {
    const ASKS_PER_PARTITION: bool = true;

    fn names(&self, _: &Context, see: See<'_>) {
        see(Named::TransactionalId(&self.transactional_id));
        see(Named::Group(&self.group_id));
        see_partitions!(see, self.topics, name, partition_index);
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<TxnOffsetCommitResponse> {
        let topics = refused!(error in self.topics => TxnOffsetCommitResponseTopic, with_name(name), TxnOffsetCommitResponsePartition, with_partition_index(partition_index));
        Some(TxnOffsetCommitResponse::default().with_topics(topics))
    }
}

impl Subject for DescribeProducersRequest {
    const ASKS_PER_PARTITION: bool = true;

    fn names(&self, _: &Context, see: See<'_>) {
        for topic in &self.topics {
            topic.partition_indexes.iter().for_each(|index| see(Named::Partition(&topic.name, *index)));
        }
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<DescribeProducersResponse> {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                PartitionResponse::default().with_partition_index(*index).with_error_code(error.code())
            });
            TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        Some(DescribeProducersResponse::default().with_topics(topics.collect()))
    }
}

impl Subject for DescribeTransactionsRequest {
    fn names(&self, _: &Context, see: See<'_>) {
        self.transactional_ids.iter().for_each(|id| see(Named::TransactionalId(id)));
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<DescribeTransactionsResponse> {
        let states = self.transactional_ids.iter().map(|id| {
            TransactionState::default().with_transactional_id(id.clone()).with_error_code(error.code())
        });
        Some(DescribeTransactionsResponse::default().with_transaction_states(states.collect()))
    }
}

impl Subject for ListTransactionsRequest {
    fn names(&self, _: &Context, _: See<'_>) {}

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<ListTransactionsResponse> {
        Some(ListTransactionsResponse::default().with_error_code(error.code()))
    }
}

impl Subject for WriteTxnMarkersRequest {
    const ASKS_PER_PARTITION: bool = true;
    const THROTTLE: ThrottleField = ThrottleField::Elsewhere;

    fn names(&self, _: &Context, see: See<'_>) {
        for topic in self.markers.iter().flat_map(|marker| &marker.topics) {
            topic.partition_indexes.iter().for_each(|index| see(Named::Partition(&topic.name, *index)));
        }
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<WriteTxnMarkersResponse> {
        let markers = self.markers.iter().map(|marker| {
            let topics = marker.topics.iter().map(|topic| {
                let partitions = topic.partition_indexes.iter().map(|index| {
                    WritableTxnMarkerPartitionResult::default()
                        .with_partition_index(*index)
                        .with_error_code(error.code())
                });
                WritableTxnMarkerTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions.collect())
            });
            WritableTxnMarkerResult::default()
                .with_producer_id(marker.producer_id)
                .with_topics(topics.collect())
        });
        Some(WriteTxnMarkersResponse::default().with_markers(markers.collect()))
    }
}

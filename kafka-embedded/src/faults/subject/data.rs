//! Produce, Fetch, and the APIs about offsets in the log.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, FetchRequest, FetchResponse, ListOffsetsRequest,
    ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest,
    ProduceResponse,
};

use super::{Named, See, Subject, ThrottleField, partition};
use crate::server::connection::Context;

impl Subject for ProduceRequest {
    const ASKS_PER_PARTITION: bool = true;
    const THROTTLE: ThrottleField = ThrottleField::Last { flexible_from: 9 };

    fn names(&self, _: &Context, see: See<'_>) {
        if let Some(id) = &self.transactional_id {
            see(Named::TransactionalId(id));
        }
        for topic in &self.topic_data {
            topic
                .partition_data
                .iter()
                .for_each(|data| see(partition(&topic.name, topic.topic_id, data.index)));
        }
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<ProduceResponse> {
        let responses = self.topic_data.iter().map(|topic| {
            let partitions = topic.partition_data.iter().map(|data| {
                PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_error_code(error.code())
                    .with_base_offset(-1)
            });
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions.collect())
        });
        Some(ProduceResponse::default().with_responses(responses.collect()))
    }

    fn wants_answer(&self) -> bool {
        self.acks != 0
    }
}

impl Subject for FetchRequest {
    const ASKS_PER_PARTITION: bool = true;
    const THROTTLE: ThrottleField = ThrottleField::First { from: 1 };

    fn names(&self, context: &Context, see: See<'_>) {
        for topic in &self.topics {
            let parts = topic.partitions.iter();
            parts.for_each(|asked| see(partition(&topic.topic, topic.topic_id, asked.partition)));
        }
        // Of a session, the request names only what is new.
        context.cluster.sessions.names(context.node, self.session_id, see);
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<FetchResponse> {
        match error {
            // These are about the session as a whole.
            ResponseError::FetchSessionIdNotFound
            | ResponseError::InvalidFetchSessionEpoch
            | ResponseError::FetchSessionTopicIdError => {
                Some(FetchResponse::default().with_error_code(error.code()))
            }
            _ => None,
        }
    }
}

impl Subject for ListOffsetsRequest {
    const ASKS_PER_PARTITION: bool = true;
    const THROTTLE: ThrottleField = ThrottleField::First { from: 2 };

    fn names(&self, _: &Context, see: See<'_>) {
        see_partitions!(see, self.topics, name, partition_index);
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<ListOffsetsResponse> {
        let topics = refused!(error in self.topics => ListOffsetsTopicResponse, with_name(name), ListOffsetsPartitionResponse, with_partition_index(partition_index));
        Some(ListOffsetsResponse::default().with_topics(topics))
    }
}

impl Subject for OffsetForLeaderEpochRequest {
    const ASKS_PER_PARTITION: bool = true;

    fn names(&self, _: &Context, see: See<'_>) {
        see_partitions!(see, self.topics, topic, partition);
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<OffsetForLeaderEpochResponse> {
        let topics = refused!(error in self.topics => OffsetForLeaderTopicResult, with_topic(topic), EpochEndOffset, with_partition(partition));
        Some(OffsetForLeaderEpochResponse::default().with_topics(topics))
    }
}

impl Subject for DeleteRecordsRequest {
    const ASKS_PER_PARTITION: bool = true;

    fn names(&self, _: &Context, see: See<'_>) {
        see_partitions!(see, self.topics, name, partition_index);
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<DeleteRecordsResponse> {
        let topics = refused!(error in self.topics => DeleteRecordsTopicResult, with_name(name), DeleteRecordsPartitionResult, with_partition_index(partition_index), with_low_watermark(-1));
        Some(DeleteRecordsResponse::default().with_topics(topics))
    }
}

//! DescribeTopicPartitions (KIP-966): topics in pages, with the replicas that may still lead.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};

use super::NONE;
use crate::faults::allowed;
use crate::replicas::Replicas;
use crate::server::connection::Context;
use crate::topics::check_name;

/// `max.request.partition.size.limit`
const MAX_PARTITIONS: usize = 2000;

pub(crate) async fn describe(
    context: &Context,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let everything = request.topics.is_empty();
    let from = request.cursor.as_ref();
    let not_before = |name: &TopicName| from.is_none_or(|cursor| *name >= cursor.topic_name);
    let names: BTreeSet<TopicName> = match everything {
        true => {
            context.cluster.topics.all().iter().map(|topic| topic.name.clone()).filter(not_before).collect()
        }
        false => request.topics.iter().map(|topic| topic.name.clone()).filter(not_before).collect(),
    };
    if !everything && from.is_some_and(|cursor| !names.contains(&cursor.topic_name)) {
        let refused =
            request.topics.into_iter().map(|topic| failed(topic.name, ResponseError::InvalidRequest));
        return DescribeTopicPartitionsResponse::default().with_topics(refused.collect());
    }
    let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut page = Page { room: asked.min(MAX_PARTITIONS), topics: Vec::new(), next: None };
    for name in names {
        let begins =
            from.filter(|cursor| cursor.topic_name == name).map_or(0, |cursor| cursor.partition_index);
        if !page.add(context, name, begins, everything) {
            break;
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(page.topics).with_next_cursor(page.next)
}

/// An answer that is being filled.
struct Page {
    /// Partitions that still fit.
    room: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<Cursor>,
}

impl Page {
    /// Adds a topic from partition `begins` on; `false` once the page is full.
    fn add(&mut self, context: &Context, name: TopicName, begins: i32, everything: bool) -> bool {
        if self.room == 0 {
            self.next = Some(Cursor::default().with_topic_name(name).with_partition_index(0));
            return false;
        }
        if let Err(error) = allowed(context, &name, -1) {
            self.topics.push(failed(name, error));
            return true;
        }
        let Some(topic) = context.cluster.topics.by_name(&name) else {
            // One of all was deleted just now: then it is none of them.
            if !everything {
                let valid = check_name(&name).is_ok();
                let unknown = ResponseError::UnknownTopicOrPartition;
                self.topics
                    .push(failed(name, if valid { unknown } else { ResponseError::InvalidTopicException }));
            }
            return true;
        };
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let room = i32::try_from(self.room).unwrap_or(i32::MAX);
        let end = begins.max(0).saturating_add(room).min(count);
        let show = |index| Some(partition(context, index, &topic.partition(index)?.lock().replicas));
        let partitions: Vec<_> = (begins.max(0)..end).filter_map(show).collect();
        self.room -= partitions.len();
        let topic = DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(NONE)
            .with_name(Some(topic.name.clone()))
            .with_topic_id(topic.id)
            .with_partitions(partitions);
        self.topics.push(topic);
        if end < count {
            self.next = Some(Cursor::default().with_topic_name(name).with_partition_index(end));
        }
        end >= count
    }
}

fn partition(context: &Context, index: i32, replicas: &Replicas) -> DescribeTopicPartitionsResponsePartition {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(NONE)
        .with_partition_index(index)
        .with_leader_id(BrokerId(replicas.leader()))
        .with_leader_epoch(replicas.epoch())
        .with_replica_nodes(ids(replicas.all()))
        .with_isr_nodes(ids(replicas.in_sync()))
        .with_eligible_leader_replicas(Some(ids(replicas.eligible())))
        .with_last_known_elr(Some(ids(replicas.last_known())))
        .with_offline_replicas(ids(&context.cluster.offline(replicas)))
}

fn failed(name: TopicName, error: ResponseError) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default().with_name(Some(name)).with_error_code(error.code())
}

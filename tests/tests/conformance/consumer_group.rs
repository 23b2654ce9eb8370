//! A group of KIP-848, driven request by request.

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JoinGroupRequest, OffsetCommitRequest,
    OffsetFetchRequest,
};

use crate::asked::{group_id, text, topic_name};
use crate::kafka::{Kafka, Topic};
use crate::said;
use crate::wire::Wire;

/// A group of a row's own.
pub(crate) struct Group {
    pub(crate) kafka: Kafka,
    pub(crate) name: String,
    pub(crate) topic: Topic,
    pub(crate) wire: Wire,
}

impl Group {
    pub(crate) async fn new(kafka: Kafka) -> Self {
        let (name, topic) = (kafka.name("group"), kafka.topic(4).await);
        let wire = kafka.coordinator(&name).await;
        Self { kafka, name, topic, wire }
    }

    pub(crate) fn beat(&self, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(&self.name))
            .with_member_id(text(member))
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_topic_partitions(None)
    }

    pub(crate) fn join(&self, member: &str) -> ConsumerGroupHeartbeatRequest {
        self.beat(member, 0)
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_names(Some(vec![topic_name(&self.topic.name)]))
            .with_topic_partitions(Some(Vec::new()))
    }

    pub(crate) fn owns(&self, member: &str, epoch: i32, partitions: &[i32]) -> ConsumerGroupHeartbeatRequest {
        let owned =
            TopicPartitions::default().with_topic_id(self.topic.id).with_partitions(partitions.to_vec());
        self.beat(member, epoch).with_topic_partitions(Some(vec![owned]))
    }

    pub(crate) async fn ask(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let version = if (0..=1).contains(&self.kafka.version) { self.kafka.version } else { 1 };
        self.wire.ask(version, request).await
    }

    /// `2: 0 1`: the epoch, and what the member is to have where it is told.
    pub(crate) async fn told(&mut self, request: &ConsumerGroupHeartbeatRequest) -> String {
        let response = self.ask(request).await;
        if response.error_code != 0 {
            return said::error(response.error_code);
        }
        let assignment = response.assignment.map_or("as before".to_owned(), |assignment| {
            let partitions = assignment.topic_partitions.iter().flat_map(|topic| topic.partitions.clone());
            let mut partitions: Vec<i32> = partitions.collect();
            partitions.sort_unstable();
            partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        });
        format!("{}: {assignment}", response.member_epoch)
    }

    pub(crate) async fn all(&mut self, requests: &[ConsumerGroupHeartbeatRequest]) -> String {
        let mut said = Vec::new();
        for request in requests {
            said.push(self.told(request).await);
        }
        said.join("; ")
    }

    /// The error and the words.
    pub(crate) async fn refusals(&mut self, requests: &[ConsumerGroupHeartbeatRequest]) -> String {
        let mut all = Vec::new();
        for request in requests {
            let response = self.ask(request).await;
            let words =
                response.error_message.map(|words| words.replace(&self.name, "g")).unwrap_or_default();
            all.push(format!("{} {words}", said::error(response.error_code)));
        }
        all.join("; ")
    }

    pub(crate) async fn commit(&mut self, version: i16, member: &str, epoch: i32) -> String {
        let part = OffsetCommitRequestPartition::default().with_committed_offset(3);
        let part = OffsetCommitRequestTopic::default()
            .with_name(topic_name(&self.topic.name))
            .with_partitions(vec![part]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(&self.name))
            .with_member_id(text(member))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![part]);
        said::error(self.wire.ask(version, &request).await.topics[0].partitions[0].error_code)
    }

    pub(crate) async fn fetch(&mut self, member: Option<&str>, epoch: i32) -> String {
        let topics = OffsetFetchRequestTopics::default()
            .with_name(topic_name(&self.topic.name))
            .with_partition_indexes(vec![0]);
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(&self.name))
            .with_member_id(member.map(text))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topics]));
        let answer = self.wire.ask(9, &OffsetFetchRequest::default().with_groups(vec![asked])).await;
        said::error(answer.groups[0].error_code)
    }

    pub(crate) fn classic(&self, member: &str, protocol_type: &str, protocol: &str) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(protocol))
            .with_metadata(subscription(&self.topic.name));
        JoinGroupRequest::default()
            .with_group_id(group_id(&self.name))
            .with_member_id(text(member))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_protocol_type(text(protocol_type))
            .with_protocols(vec![protocol])
    }

    /// A classic member that leads alone: its id.
    pub(crate) async fn classic_alone(&mut self, protocol_type: &str) -> String {
        let asked = self.wire.ask(9, &self.classic("", protocol_type, "range")).await;
        let joined = self.wire.ask(9, &self.classic(&asked.member_id, protocol_type, "range")).await;
        assert_eq!(said::error(joined.error_code), "NONE");
        joined.member_id.to_string()
    }
}

/// A consumer's subscription, version 0.
fn subscription(topic: &str) -> bytes::Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.extend([0xff; 4]);
    bytes.into()
}

//! The requests of a member: what the state machine says as messages, and what was answered in its words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DescribeConfigsRequest, TopicName as WireName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Answer, LEAVE_FOR_A_WHILE, Report};
use crate::error::{Error, Result};
use crate::group::protocol::wire_name;
use crate::group::requests::{Requests, millis};
use crate::net::{COORDINATION_DEADLINE, Connection, Purpose, Retry};

const HEARTBEAT: &str = "ConsumerGroupHeartbeat";
/// DescribeConfigs' number of groups (KIP-848).
const GROUP: i8 = 32;
const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";

/// One member's requests to its coordinator.
#[derive(Debug, Clone)]
pub(in crate::group) struct Speaker {
    pub(in crate::group) requests: Requests,
    pub(in crate::group) member_id: String,
    /// `client.rack`
    pub(in crate::group) rack: Option<String>,
}

impl Speaker {
    /// With when it was sent.
    pub(super) async fn beat(&self, report: Report, patience: Duration) -> (Instant, Result<Answer>) {
        let request = self.report(report);
        let asked = async |connection: Arc<Connection>| {
            let answer = connection.call::<ConsumerGroupHeartbeatRequest>(patience, |_| request).await?.body;
            match self.refusal(&answer) {
                None => Ok(accepted(answer)),
                Some(error) => Err(error),
            }
        };
        let (sent, answer) = self.requests.over_a_connection(HEARTBEAT, patience, asked).await;
        (sent, answer.map_err(explained))
    }

    fn report(&self, report: Report) -> ConsumerGroupHeartbeatRequest {
        let group = &self.requests.group;
        let said = |text: &Option<String>| text.clone().map(StrBytes::from_string);
        let topics = report.topics.map(|topics| topics.into_iter().map(wire_name).collect::<Vec<WireName>>());
        let request = self
            .stamped(&self.member_id, report.epoch)
            .with_subscribed_topic_names(topics)
            .with_topic_partitions(report.held.map(by_topic));
        match report.introduces {
            false => request,
            true => request
                .with_rebalance_timeout_ms(millis(group.rebalance_timeout))
                .with_rack_id(said(&self.rack))
                .with_server_assignor(said(&group.remote_assignor)),
        }
    }

    fn stamped(&self, member_id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.requests.coordinator.group_id())
            .with_member_id(StrBytes::from_string(member_id.to_owned()))
            .with_member_epoch(epoch)
            .with_instance_id(self.requests.instance_id())
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_topic_partitions(None)
    }

    /// Leaves; tries again for as long as a request may take.
    pub(super) async fn goodbye(&self, epoch: i32) -> Result<()> {
        let cluster = self.requests.pool.cluster();
        let mut retry = Retry::within(cluster, cluster.config().request_timeout);
        loop {
            match self.goodbye_once(&self.member_id, epoch).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.requests.coordinator.heed(&error);
                    retry.after(error).await?;
                }
            }
        }
    }

    /// One goodbye, for this member or another one.
    pub(super) async fn goodbye_once(&self, member_id: &str, epoch: i32) -> Result<()> {
        let connection = self.requests.coordinator.connection(Purpose::Group).await?;
        let request = self.stamped(member_id, epoch);
        let answer =
            connection.call::<ConsumerGroupHeartbeatRequest>(COORDINATION_DEADLINE, |_| request).await?.body;
        let gone = |error: &Error| {
            // Whom the coordinator does not know is not there any more.
            matches!(
                error.code(),
                Some(
                    ResponseError::UnknownMemberId
                        | ResponseError::GroupIdNotFound
                        | ResponseError::FencedInstanceId
                )
            )
        };
        self.refusal(&answer).filter(|error| !gone(error)).map_or(Ok(()), Err)
    }

    /// Sends away who has our instance id: a predecessor that was killed, in whose place we are, would keep it until its
    /// session ends. If it still runs after all, it is fenced, as with the classic protocol.
    pub(super) async fn release(&self) -> Result<()> {
        let connection = self.requests.coordinator.connection(Purpose::Control).await?;
        let group = self.requests.coordinator.group_id();
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group]);
        let answer =
            connection.call::<ConsumerGroupDescribeRequest>(COORDINATION_DEADLINE, |_| request).await?.body;
        let own = self.requests.instance_id();
        for group in answer.groups {
            if let Some(code) = ResponseError::try_from_code(group.error_code) {
                return Err(self.requests.refused("ConsumerGroupDescribe", code));
            }
            for member in group.members.into_iter().filter(|member| member.instance_id == own) {
                tracing::info!(member = %*member.member_id, "taking over from the last holder of group.instance.id");
                self.goodbye_once(&member.member_id, LEAVE_FOR_A_WHILE).await?;
            }
        }
        Ok(())
    }

    /// The coordinator's session timeout for this group, where it tells; asks again while nobody answers.
    pub(super) async fn session(&self) -> Option<Duration> {
        let cluster = self.requests.pool.cluster();
        let mut retry = Retry::within(cluster, cluster.config().request_timeout);
        loop {
            match self.session_once().await {
                Ok(session) => return session,
                Err(error) => retry.after(error).await.ok()?,
            }
        }
    }

    async fn session_once(&self) -> Result<Option<Duration>> {
        let connection = self.requests.coordinator.connection(Purpose::Control).await?;
        let resource = DescribeConfigsResource::default()
            .with_resource_type(GROUP)
            .with_resource_name(self.requests.coordinator.group_id().0)
            .with_configuration_keys(Some(vec![StrBytes::from_static_str(SESSION_TIMEOUT)]));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer =
            connection.call::<DescribeConfigsRequest>(COORDINATION_DEADLINE, |_| request).await?.body;
        let configs = answer.results.first().map(|result| result.configs.as_slice()).unwrap_or_default();
        let told = configs.iter().find(|config| *config.name == *SESSION_TIMEOUT);
        let millis = told.and_then(|config| config.value.as_ref()?.parse().ok());
        Ok(millis.map(Duration::from_millis))
    }

    fn refusal(&self, answer: &ConsumerGroupHeartbeatResponse) -> Option<Error> {
        let code = ResponseError::try_from_code(answer.error_code)?;
        Some(Error::answered(
            HEARTBEAT,
            code,
            self.requests.coordinator.at(),
            answer.error_message.as_deref(),
        ))
    }
}

/// What to do about a broker that is too old, or has the protocol turned off.
fn explained(error: Error) -> Error {
    let broker = match &error {
        Error::Unsupported { broker, .. } => broker.clone(),
        other if other.code() == Some(ResponseError::UnsupportedVersion) => "the coordinator".to_owned(),
        _ => return error,
    };
    Error::Config(format!(
        "group.protocol consumer: {broker} does not speak it (Apache Kafka 4.0 does; 3.7 to 3.9 where it was enabled); \
         group.protocol classic works everywhere"
    ))
}

fn accepted(answer: ConsumerGroupHeartbeatResponse) -> Answer {
    let assignment = answer.assignment.map(|assignment| {
        let topics = assignment.topic_partitions.into_iter();
        topics
            .flat_map(|topic| {
                let id = topic.topic_id.as_u128();
                topic.partitions.into_iter().map(move |partition| (id, partition))
            })
            .collect()
    });
    Answer {
        epoch: answer.member_epoch,
        interval: Duration::from_millis(answer.heartbeat_interval_ms.max(1).unsigned_abs().into()),
        assignment,
    }
}

fn by_topic(partitions: Vec<(u128, i32)>) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<u128, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition);
    }
    let topic = |(id, partitions)| {
        TopicPartitions::default().with_topic_id(Uuid::from_u128(id)).with_partitions(partitions)
    };
    topics.into_iter().map(topic).collect()
}

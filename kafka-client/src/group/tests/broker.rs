//! Two brokers of a test, `b1:1` and `b2:2`; one of them coordinates. What they answer can be changed at any time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::find_coordinator_response::Coordinator as FoundCoordinator;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, MetadataRequest, MetadataResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::{Request, StrBytes};

use crate::cluster::Cluster;
use crate::config::{GroupConfig, Subscription};
use crate::group::protocol::wire_name;
use crate::group::{Coordinator, GroupEvent, Membership};
use crate::ids::TopicName;
use crate::net::Pool;
use crate::net::fake::{Asked, Fake, Reply, config};
use crate::wire;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// What the brokers know and do.
#[derive(Debug)]
pub(super) struct World {
    pub(super) coordinator: i32,
    pub(super) topics: HashMap<&'static str, i32>,
    pub(super) generation: i32,
    /// Codes to answer heartbeats with, the first one first; then none.
    pub(super) beats: Vec<ResponseError>,
    /// How long a join is held.
    pub(super) join_takes: Duration,
    /// The highest version of each API, where it is not this client's.
    pub(super) highest: HashMap<i16, i16>,
    /// Joins and goodbyes as they came.
    pub(super) joins: Vec<(i16, JoinGroupRequest)>,
    pub(super) goodbyes: Vec<(i16, LeaveGroupRequest)>,
    /// The connections that heartbeats and joins came through.
    pub(super) beat_connections: Vec<usize>,
    pub(super) join_connections: Vec<usize>,
    /// Connections end at their next request.
    is_down: bool,
    assignment: Bytes,
}

/// The brokers, and what is changed about them.
pub(super) struct Brokers {
    pub(super) fake: Arc<Fake>,
    pub(super) world: Arc<Mutex<World>>,
}

impl Brokers {
    /// With more to say than what a membership asks; `None` leaves it to the world.
    pub(super) fn with(extra: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let world = Arc::new(Mutex::new(World {
            coordinator: 1,
            topics: HashMap::from([("t", 3)]),
            generation: 0,
            beats: Vec::new(),
            join_takes: Duration::ZERO,
            highest: HashMap::new(),
            joins: Vec::new(),
            goodbyes: Vec::new(),
            beat_connections: Vec::new(),
            join_connections: Vec::new(),
            is_down: false,
            assignment: Bytes::new(),
        }));
        let shared = Arc::clone(&world);
        let fake =
            Fake::new(move |asked| extra(asked).unwrap_or_else(|| shared.lock().unwrap().answer(asked)));
        Self { fake, world }
    }

    pub(super) fn new() -> Self {
        Self::with(|_| None)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap());
    }

    pub(super) fn see<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.world.lock().unwrap())
    }

    pub(super) fn go_down(&self) {
        self.fake.take_down(&["b1:1", "b2:2"]);
        self.change(|world| world.is_down = true);
    }

    pub(super) fn come_up(&self) {
        self.fake.take_down(&[]);
        self.change(|world| world.is_down = false);
    }

    pub(super) fn coordinator(&self) -> (Arc<Pool>, Arc<Coordinator>) {
        let cluster = Cluster::new(config(&["b1:1", "b2:2"]), self.fake.seams());
        let pool = Arc::new(Pool::new(cluster, StrBytes::from_static_str("test")));
        let coordinator = Arc::new(Coordinator::new(Arc::clone(&pool), "g"));
        (pool, coordinator)
    }

    pub(super) fn member(&self, group: GroupConfig, topics: &[&str]) -> Membership {
        let (pool, coordinator) = self.coordinator();
        let topics = Subscription::Topics(topics.iter().map(ToString::to_string).collect());
        Membership::start(group, topics, pool, coordinator)
    }
}

/// The next event but problems.
pub(super) async fn event(membership: &mut Membership) -> GroupEvent {
    loop {
        match membership.events.recv().await.expect("the membership has ended") {
            GroupEvent::Problem(_) => {}
            event => return event,
        }
    }
}

impl World {
    fn answer(&mut self, asked: &Asked) -> Reply {
        match asked.api_key {
            _ if self.is_down => Reply::Close,
            ApiVersionsRequest::KEY => self.versions(asked),
            MetadataRequest::KEY => self.metadata(asked),
            FindCoordinatorRequest::KEY => {
                let broker = BrokerId(self.coordinator);
                let answer = FindCoordinatorResponse::default();
                asked.answer(&match asked.version {
                    0..=3 => answer.with_node_id(broker),
                    _ => answer.with_coordinators(vec![
                        FoundCoordinator::default()
                            .with_node_id(broker)
                            .with_key(StrBytes::from_static_str("g")),
                    ]),
                })
            }
            _ if !asked.peer.starts_with(&format!("b{}", self.coordinator)) => Self::refuse(asked),
            JoinGroupRequest::KEY => self.join(asked),
            SyncGroupRequest::KEY => {
                let request: SyncGroupRequest = asked.read();
                if let Some(assignment) = request.assignments.first() {
                    self.assignment = assignment.assignment.clone();
                }
                asked.answer(&SyncGroupResponse::default().with_assignment(self.assignment.clone()))
            }
            HeartbeatRequest::KEY => {
                self.beat_connections.push(asked.connection);
                let code = (!self.beats.is_empty()).then(|| self.beats.remove(0));
                let code = code.map_or(0, |code| code.code());
                asked.answer(&HeartbeatResponse::default().with_error_code(code))
            }
            LeaveGroupRequest::KEY => {
                self.goodbyes.push((asked.version, asked.read()));
                let members = if asked.version < 3 { vec![] } else { vec![MemberResponse::default()] };
                asked.answer(&LeaveGroupResponse::default().with_members(members))
            }
            _ => Reply::Close,
        }
    }

    /// The only member, and so the leader.
    fn join(&mut self, asked: &Asked) -> Reply {
        let request: JoinGroupRequest = asked.read();
        self.join_connections.push(asked.connection);
        self.joins.push((asked.version, request.clone()));
        let id = StrBytes::from_static_str("m-1");
        if request.member_id.is_empty() && asked.version >= 4 && request.group_instance_id.is_none() {
            let code = ResponseError::MemberIdRequired.code();
            return asked.answer(&JoinGroupResponse::default().with_error_code(code).with_member_id(id));
        }
        self.generation += 1;
        let chosen = &request.protocols[0];
        let member = JoinGroupResponseMember::default()
            .with_member_id(id.clone())
            .with_metadata(chosen.metadata.clone())
            .with_group_instance_id(request.group_instance_id.clone());
        let answer = JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_name(Some(chosen.name.clone()))
            .with_leader(id.clone())
            .with_member_id(id)
            .with_members(vec![member]);
        Reply::After(self.join_takes, Box::new(asked.answer(&answer)))
    }

    fn metadata(&self, asked: &Asked) -> Reply {
        let request: MetadataRequest = asked.read();
        let brokers = [(1, "b1"), (2, "b2")].map(|(id, host)| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id))
                .with_host(StrBytes::from_static_str(host))
                .with_port(id)
        });
        let names: Vec<TopicName> = match request.topics {
            Some(topics) => topics.iter().map(|topic| TopicName::new(topic.name.as_ref().unwrap())).collect(),
            None => self.topics.keys().map(|name| TopicName::new(name)).collect(),
        };
        let topics = names.into_iter().map(|name| {
            let topic = MetadataResponseTopic::default().with_name(Some(wire_name(name)));
            let Some(count) = self.topics.get(name.as_str()) else {
                return topic.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            };
            let partition = |index| {
                MetadataResponsePartition::default().with_partition_index(index).with_leader_id(BrokerId(1))
            };
            topic.with_partitions((0..*count).map(partition).collect())
        });
        let answer = MetadataResponse::default().with_brokers(brokers.to_vec()).with_topics(topics.collect());
        asked.answer(&answer)
    }

    fn versions(&self, asked: &Asked) -> Reply {
        let apis = (0..100i16).filter_map(|key| wire::supported(key).map(|range| (key, range))).map(
            |(key, range)| {
                let max = self.highest.get(&key).map_or(range.max, |max| range.max.min(*max));
                ApiVersion::default().with_api_key(key).with_min_version(range.min).with_max_version(max)
            },
        );
        asked.answer(&ApiVersionsResponse::default().with_api_keys(apis.collect()))
    }

    fn refuse(asked: &Asked) -> Reply {
        let code = ResponseError::NotCoordinator.code();
        match asked.api_key {
            JoinGroupRequest::KEY => asked.answer(&JoinGroupResponse::default().with_error_code(code)),
            SyncGroupRequest::KEY => asked.answer(&SyncGroupResponse::default().with_error_code(code)),
            HeartbeatRequest::KEY => asked.answer(&HeartbeatResponse::default().with_error_code(code)),
            LeaveGroupRequest::KEY => asked.answer(&LeaveGroupResponse::default().with_error_code(code)),
            _ => Reply::Close,
        }
    }
}

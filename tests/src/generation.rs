//! A group's generation, which no client is told of that is not a member.

use std::time::Duration;

use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, sleep};

use crate::{Cluster, Wire};

/// More than any group of a test has had.
const GENERATIONS: i32 = 50;
const LIMIT: Duration = Duration::from_secs(30);

impl Cluster {
    /// The generation of a group of either protocol (with KIP-848, its epoch): each rebalance raises it. `None` where nobody
    /// tells within half a minute.
    ///
    /// With the classic protocol it is the one in which the coordinator takes a heartbeat in the name of a member.
    pub async fn generation(&self, group: &str) -> Option<i32> {
        let group = GroupId(StrBytes::from_string(group.to_owned()));
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            if let Some(found) = self.coordinator(&group.0).await {
                let mut wire = Wire::connect(&format!("{}:{}", &*found.host, found.port)).await;
                let found = match epoch(&mut wire, &group).await {
                    Some(epoch) => Some(epoch),
                    None => taken(&mut wire, &group).await,
                };
                if found.is_some() {
                    return found;
                }
            }
            // It is being shared out, or nobody coordinates it.
            sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

async fn epoch(wire: &mut Wire, group: &GroupId) -> Option<i32> {
    let describe = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group.clone()]);
    let described = wire.ask(0, &describe).await.groups;
    described.into_iter().find(|group| group.error_code == 0).map(|group| group.group_epoch)
}

async fn taken(wire: &mut Wire, group: &GroupId) -> Option<i32> {
    let describe = DescribeGroupsRequest::default().with_groups(vec![group.clone()]);
    let described = wire.ask(5, &describe).await.groups;
    for member in described.into_iter().flat_map(|group| group.members) {
        let beat = HeartbeatRequest::default()
            .with_group_id(group.clone())
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id);
        for generation in 1..GENERATIONS {
            if wire.ask(4, &beat.clone().with_generation_id(generation)).await.error_code == 0 {
                return Some(generation);
            }
        }
    }
    None
}
